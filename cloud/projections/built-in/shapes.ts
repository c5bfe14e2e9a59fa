import { versionNamed } from '../../../src/schemas/fitting.ts'
import type { Queryable } from '../../database/storage.ts'
import { defineProjection, type ProjectedEvent, type Projection } from '../definition.ts'
import { shapeKinds, type ShapeRow, type ShapeScalar } from './shape-row.ts'
import { placesIn, placesMax, Shape } from './shape.ts'

/** Versions are what gateways say: of a type in a week so many have a shape (G7), and events of others have none. */
const versionsMax = 64
/** Shapes that are in memory at a time, each of 200 places and 64 Ki of values at most (G7). */
const shapesMax = 8
const weekLengthMs = 7 * 86_400_000
/** A Monday, ms: weeks are those of partitions. */
const mondayMs = 4 * 86_400_000

const tables = `
create table shapes (
  type            text collate "C" not null,
  version         integer not null,
  week            timestamptz not null,
  pointer         text collate "C" not null,
  nulls           bigint not null,
  booleans        bigint not null,
  integers        bigint not null,
  fractions       bigint not null,
  strings         bigint not null,
  arrays          bigint not null,
  objects         bigint not null,
  least           double precision,
  greatest        double precision,
  least_length    double precision,
  greatest_length double precision,
  least_items     double precision,
  greatest_items  double precision,
  formats         text collate "C" not null,
  "values"        jsonb,
  is_open         boolean not null,
  is_strange      boolean not null,
  first_cursor    text collate "C" not null,
  last_cursor     text collate "C" not null,
  primary key (type, week, version, pointer)
) with (fillfactor = 70);
comment on table shapes is 'What the data of each type and version of it was in each week, by JSON Pointer: what a new version is held against first.';
comment on column shapes.version is 'That the event names; 0: it names none of its type.';
comment on column shapes.week is 'Its Monday, UTC, of the time at which the gateway recorded it.';
comment on column shapes.pointer is 'A part * is any item of an array; a member that is called * is written ~2.';
comment on column shapes.formats is 'Formats of JSON Schema that every text was of, of those that are looked for.';
comment on column shapes."values" is 'All that were neither arrays nor objects, up to 50; null: there were more, or longer ones.';
comment on column shapes.is_open is 'There was more below it than is listed.';
comment on column shapes.is_strange is 'There was a number too large for a double, to which no bound applies.';
`

/** The columns of a shape by its row: as they are read and written. */
const columns: readonly (readonly [column: string, kind: string, of: (row: ShapeRow) => unknown])[] = [
  ['pointer', 'text', ({ pointer }) => pointer],
  ...shapeKinds.map((kind) => [kind, 'bigint', (row: ShapeRow) => row[kind]] as const),
  ['least', 'float8', ({ least }) => least],
  ['greatest', 'float8', ({ greatest }) => greatest],
  ['least_length', 'float8', ({ leastLength }) => leastLength],
  ['greatest_length', 'float8', ({ greatestLength }) => greatestLength],
  ['least_items', 'float8', ({ leastItems }) => leastItems],
  ['greatest_items', 'float8', ({ greatestItems }) => greatestItems],
  ['formats', 'text', ({ formats }) => formats.join(' ')],
  ['"values"', 'text', ({ values }) => values && JSON.stringify(values)],
  ['is_open', 'boolean', ({ isOpen }) => isOpen],
  ['is_strange', 'boolean', ({ isStrange }) => isStrange],
  ['first_cursor', 'text', ({ first }) => first],
  ['last_cursor', 'text', ({ last }) => last],
]
const names = columns.map(([column]) => column)

const upsertSql = `
insert into shapes as s (type, version, week, ${names.join(', ')})
select type, version, to_timestamp(week_ms / 1000), ${names.map((name) => (name === '"values"' ? '"values"::jsonb' : name)).join(', ')}
from unnest($1::text[], $2::integer[], $3::float8[], ${columns.map(([, kind], index) => `$${index + 4}::${kind}[]`).join(', ')})
  as e (type, version, week_ms, ${names.join(', ')})
on conflict (type, week, version, pointer) do update set ${names
  .filter((name) => name !== 'pointer' && name !== 'first_cursor')
  .map((name) => `${name} = excluded.${name}`)
  .join(', ')}`

/** What shapes are read as, wherever they are read. */
export const shapeColumnsSql = `type, version, (extract(epoch from week) * 1000)::float8 as "weekMs", pointer,
  ${shapeKinds.map((kind) => `${kind}::float8 as ${kind}`).join(', ')}, least, greatest, least_length as "leastLength",
  greatest_length as "greatestLength", least_items as "leastItems", greatest_items as "greatestItems",
  string_to_array(formats, ' ') as formats, "values", is_open as "isOpen",
  is_strange as "isStrange", first_cursor as first, last_cursor as last`

const loadSql = `
select ${shapeColumnsSql} from shapes
where (type, week, version) in (select type, to_timestamp(week_ms / 1000), version
  from unnest($1::text[], $2::float8[], $3::integer[]) as k (type, week_ms, version))`

const versionsSql = `
select type, (extract(epoch from week) * 1000)::float8 as "weekMs", count(*)::int as count from shapes
where (type, week) in (select type, to_timestamp(week_ms / 1000) from unnest($1::text[], $2::float8[]) as k (type, week_ms)) and pointer = ''
group by type, week`

/** Of whose data a shape is. */
export interface ShapeKey {
  type: string
  /** 0: none that is of the type. */
  version: number
  weekMs: number
}

export type StoredShapeRow = ShapeKey & ShapeRow & { values: ShapeScalar[] | null }

export const shapesVersion = 1

/**
 * What data looks like that was stored: so that whoever holds a schema against history knows where nothing can break it, without reading. It is exact of the events
 * that it has counted; events that do not fit (`versionsMax`), or that have no data, are not counted at all, which shows in the count of `pointer = ''`.
 */
export const shapes: Projection = {
  ...defineProjection({
    name: 'shapes',
    version: shapesVersion,
    events: ['#'],
    tables,
    key: ({ type }) => type,
    keyColumn: 'type',
    async apply(events, { tx }) {
      const batches = [...batchesOf(events)]
      for (let at = 0; at < batches.length; at += shapesMax)
        await addTo(tx, new Map(batches.slice(at, at + shapesMax)))
    },
  }),
  // The first of a shape has it read, whatever the event is.
  weigh() {
    const read = new Set<string>()
    return (event) => {
      const { data } = event
      const key = keyOf(event)
      if (data === undefined || key === undefined) return 1
      const name = nameOf(key)
      if (read.has(name)) return placesIn(data)
      read.add(name)
      return placesMax
    }
  },
}

async function addTo(tx: Queryable, batches: ReadonlyMap<string, Batch>): Promise<void> {
  const known = await load(tx, [...batches.values()])
  const changed: (ShapeKey & ShapeRow)[] = []
  for (const [name, { events, ...key }] of await fitting(tx, batches, known)) {
    const shape = Shape.of(known.get(name) ?? [])
    for (const { data, cursor } of events) shape.add(data, cursor)
    for (const row of shape.changed()) changed.push({ ...key, ...row })
  }
  if (changed.length === 0) return
  const keys = [
    changed.map(({ type }) => type),
    changed.map(({ version }) => version),
    changed.map(({ weekMs }) => weekMs),
  ]
  await tx.query(upsertSql, [...keys, ...columns.map(([, , of]) => changed.map(of))])
}

type Batch = ShapeKey & { events: ProjectedEvent[] }

const nameOf = ({ type, version, weekMs }: ShapeKey): string => `${type}\n${version}\n${weekMs}`

/** The Monday of a time, ms since the Unix epoch. */
export function weekOf(timeMs: number): number {
  return Math.floor((timeMs - mondayMs) / weekLengthMs) * weekLengthMs + mondayMs
}

/** Undefined: it was recorded at no time. */
function keyOf({
  type,
  dataschema,
  recordedtime,
}: Pick<ProjectedEvent, 'type' | 'dataschema' | 'recordedtime'>): ShapeKey | undefined {
  const weekMs = weekOf(Date.parse(recordedtime))
  return Number.isNaN(weekMs) ? undefined : { type, version: versionNamed(type, dataschema) ?? 0, weekMs }
}

function batchesOf(events: readonly ProjectedEvent[]): Map<string, Batch> {
  const batches = new Map<string, Batch>()
  for (const event of events) {
    const key = keyOf(event)
    if (event.data === undefined || key === undefined) continue
    const name = nameOf(key)
    const batch = batches.get(name)
    if (batch) batch.events.push(event)
    else batches.set(name, { ...key, events: [event] })
  }
  return batches
}

async function load(tx: Queryable, keys: readonly ShapeKey[]): Promise<Map<string, StoredShapeRow[]>> {
  const { rows } = await tx.query<StoredShapeRow>(loadSql, [
    keys.map(({ type }) => type),
    keys.map(({ weekMs }) => weekMs),
    keys.map(({ version }) => version),
  ])
  const known = new Map<string, StoredShapeRow[]>()
  for (const row of rows) {
    const name = nameOf(row)
    const own = known.get(name)
    if (own) own.push(row)
    else known.set(name, [row])
  }
  return known
}

/** Those that have a shape already, and new ones as far as there is room: in the order in which they came, however they come in batches. */
async function fitting(
  tx: Queryable,
  batches: ReadonlyMap<string, Batch>,
  known: ReadonlyMap<string, unknown>,
): Promise<[string, Batch][]> {
  const added = [...batches].filter(([name]) => !known.has(name)).map(([, batch]) => batch)
  if (added.length === 0) return [...batches]
  const { rows } = await tx.query<{ type: string; weekMs: number; count: number }>(versionsSql, [
    added.map(({ type }) => type),
    added.map(({ weekMs }) => weekMs),
  ])
  const counts = new Map(rows.map(({ type, weekMs, count }) => [`${type}\n${weekMs}`, count]))
  return [...batches].filter(([name, { type, weekMs }]) => {
    if (known.has(name)) return true
    const week = `${type}\n${weekMs}`
    const count = counts.get(week) ?? 0
    if (count >= versionsMax) return false
    counts.set(week, count + 1)
    return true
  })
}
