import { defineProjection, type ProjectedEvent, type Projection } from '../definition.ts'
import { eventTimeMs } from './event-time.ts'

const tables = `
create table latest (
  device text collate "C" not null,
  type   text collate "C" not null,
  time   timestamptz not null,
  data   jsonb not null,
  cursor text collate "C" not null,
  primary key (device, type)
) with (fillfactor = 70);
comment on table latest is 'The last event of each device and type by its time; of one time, the later in history.';
comment on column latest.time is 'Of the device, unless its clock was far off; then of the gateway.';
create index on latest (type, time);
`

const upsertSql = `
insert into latest as l (device, type, time, data, cursor)
select device, type, to_timestamp(time_ms / 1000), data::jsonb, cursor
from unnest($1::text[], $2::text[], $3::float8[], $4::text[], $5::text[]) as e (device, type, time_ms, data, cursor)
on conflict (device, type) do update set time = excluded.time, data = excluded.data, cursor = excluded.cursor
where excluded.time >= l.time`

/** The last event of each device and type: what a dashboard asks first. */
export const latest: Projection = defineProjection({
  name: 'latest',
  version: 1,
  events: ['#'],
  tables,
  async apply(events, { tx }) {
    const newest = [...newestOf(events).values()]
    await tx.query(upsertSql, [
      newest.map((event) => event.partitionkey),
      newest.map((event) => event.type),
      newest.map(eventTimeMs),
      newest.map((event) => storable(event.data)),
      newest.map((event) => event.cursor),
    ])
  },
})

function newestOf(events: readonly ProjectedEvent[]): Map<string, ProjectedEvent> {
  const newest = new Map<string, ProjectedEvent>()
  for (const event of events) {
    const key = `${event.partitionkey}\n${event.type}`
    const known = newest.get(key)
    if (known === undefined || eventTimeMs(event) >= eventTimeMs(known)) newest.set(key, event)
  }
  return newest
}

/**
 * As jsonb can hold it, which has no U+0000 and no half of a surrogate pair, in names either: who sends them is not to stop the
 * projection. `JSON.stringify` writes both as escapes, and nothing else that begins with `\u0000` or `\ud`.
 */
function storable(data: unknown): string {
  return JSON.stringify(data ?? null).replace(/\\(u0000|ud[89a-f][0-9a-f]{2}|.)/g, (escape) =>
    escape.length > 2 ? '\u{fffd}' : escape,
  )
}
