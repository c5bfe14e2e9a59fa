import { defineProjection, type ProjectedEvent, type Projection } from '../definition.ts'
import { eventTimeMs } from './event-time.ts'

/** Of a device that invents types the first of the alphabet are kept (G7): the same ones in whatever order they come. */
const typesMax = 64

const tables = `
create table devices (
  device     text collate "C" primary key,
  first_seen timestamptz not null,
  last_seen  timestamptz not null,
  types      text[] collate "C" not null,
  events     bigint not null
) with (fillfactor = 50);
comment on table devices is 'Each device, when it was seen first and last, and what it sends.';
comment on column devices.last_seen is 'By the clock of the device, unless it was far off; then of the gateway.';
comment on column devices.types is 'Of its events, in the order of the alphabet: ${typesMax} at most.';
`

const upsertSql = `
insert into devices as d (device, first_seen, last_seen, types, events)
select device, to_timestamp(first_ms / 1000), to_timestamp(last_ms / 1000), string_to_array(types, ' '), events
from unnest($1::text[], $2::float8[], $3::float8[], $4::text[], $5::bigint[]) as e (device, first_ms, last_ms, types, events)
on conflict (device) do update set
  first_seen = least(d.first_seen, excluded.first_seen),
  last_seen = greatest(d.last_seen, excluded.last_seen),
  events = d.events + excluded.events,
  types = case when excluded.types <@ d.types then d.types else (
    select (array_agg(distinct type order by type))[1:${typesMax}] from unnest(d.types || excluded.types) as type) end`

/** Which devices there are: what a dashboard's list is filled with. One row each, however long history is. */
export const devices: Projection = defineProjection({
  name: 'devices',
  version: 1,
  events: ['#'],
  tables,
  async apply(events, { tx }) {
    const seen = [...seenIn(events)]
    await tx.query(upsertSql, [
      seen.map(([device]) => device),
      seen.map(([, { firstMs }]) => firstMs),
      seen.map(([, { lastMs }]) => lastMs),
      seen.map(([, { types }]) => [...types].toSorted().slice(0, typesMax).join(' ')),
      seen.map(([, { events }]) => events),
    ])
  },
})

interface Seen {
  firstMs: number
  lastMs: number
  types: Set<string>
  events: number
}

function seenIn(events: readonly ProjectedEvent[]): Map<string, Seen> {
  const seen = new Map<string, Seen>()
  for (const event of events) {
    const atMs = eventTimeMs(event)
    const known = seen.get(event.partitionkey)
    if (known === undefined) {
      const types = new Set([event.type])
      seen.set(event.partitionkey, { firstMs: atMs, lastMs: atMs, types, events: 1 })
      continue
    }
    known.firstMs = Math.min(known.firstMs, atMs)
    known.lastMs = Math.max(known.lastMs, atMs)
    known.types.add(event.type)
    known.events += 1
  }
  return seen
}
