import { matchesTopic } from '../../../src/contract/wire.ts'
import { defineProjection, type ProjectedEvent, type Projection } from '../definition.ts'
import { eventTimeMs } from './event-time.ts'
import { numericFields } from './numeric-fields.ts'

/** UTC. */
export const rollupWidths = ['minute', 'hour', 'day'] as const
export type RollupWidth = (typeof rollupWidths)[number]

/** What is rolled up, of which version. */
export interface RollupsOptions {
  version: number
  /** Event type patterns. */
  types: readonly string[]
  /** Patterns of dotted paths inside `data`, as those of types: `battery.*`, `#`. */
  fields: readonly string[]
  widths: readonly RollupWidth[]
  /** The version of its schema that each of these types is read as: numbers of one field are to be of one unit. Others: as they were recorded. */
  versions?: Readonly<Record<string, number>>
  /** Of a width, ms: buckets that are older, counted from the day on which something newer of the series was stored, go. Absent: for good. */
  keepMs: Readonly<Partial<Record<RollupWidth, number>>>
}

/** What has been rolled up always. */
export const rollupsDefault: RollupsOptions = {
  version: 1,
  types: ['#'],
  fields: ['#'],
  widths: ['minute', 'hour'],
  keepMs: {},
}

const dayLengthMs = 86_400_000
const widthSeconds: Readonly<Record<RollupWidth, number>> = { minute: 60, hour: 3600, day: 86_400 }

// What is set is in the comment: a version that is configured otherwise is another definition, and is to have another number.
function tablesOf(
  { types, fields, versions = {}, keepMs }: RollupsOptions,
  widths: readonly RollupWidth[],
  isBounded: boolean,
): string {
  const kept = widths.map(
    (width) => `${width}: ${keepMs[width] === undefined ? 'for good' : `${keepMs[width]} ms`}`,
  )
  const read = Object.entries(versions).map(([type, version]) => ` ${type} as version ${version}.`)
  const about = `Fields ${fields.join(' ')} of ${types.join(' ')}; ${kept.join(', ')}.${read.join('')}`
  return `
create table buckets (
  device    text collate "C" not null,
  type      text collate "C" not null,
  field     text collate "C" not null,
  width     text collate "C" not null,
  bucket    timestamptz not null,
  count     bigint not null,
  min       double precision not null,
  max       double precision not null,
  sum       numeric not null,
  last      double precision not null,
  last_time timestamptz not null,
  primary key (device, type, field, width, bucket)
) with (fillfactor = 80);
comment on column buckets.sum is 'Of decimal numbers, each as it is written: the same in whatever batches they came.';
create view rollups as
  select device, type, field, width, bucket, count, min, max, case when abs(sum) < 1e-290 then 0 else sum end::double precision as sum,
    case when abs(sum) < 1e-290 then 0 else sum / count end::double precision as mean, last, last_time
  from buckets;
comment on view rollups is '${about.replaceAll("'", "''")}';
${
  isBounded
    ? `create table stored_days (
  device text collate "C" not null,
  type   text collate "C" not null,
  field  text collate "C" not null,
  day    timestamptz not null,
  primary key (device, type, field)
) with (fillfactor = 80);
comment on table stored_days is 'The last day on which something of a series was stored: how long buckets are kept is counted from it.';`
    : ''
}`
}

// By one connection, in order: nobody else locks these rows. Of one time, the later in history is last.
const mergeSql = `
insert into buckets as r (device, type, field, width, bucket, count, min, max, sum, last, last_time)
select device, type, field, width, to_timestamp(bucket), count(*), min(value), max(value), sum(value::text::numeric),
  (array_agg(value order by ms desc, n desc))[1], to_timestamp(max(ms) / 1000)
from unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[]) with ordinality as p (device, type, field, ms, value, n)
cross join unnest($6::text[], $7::float8[]) as w (width, seconds)
cross join lateral (select floor(ms / 1000 / seconds) * seconds as bucket) as b
group by device, type, field, width, bucket
on conflict (device, type, field, width, bucket) do update set
  count = r.count + excluded.count,
  min = least(r.min, excluded.min),
  max = greatest(r.max, excluded.max),
  sum = r.sum + excluded.sum,
  last = case when excluded.last_time >= r.last_time then excluded.last else r.last end,
  last_time = greatest(r.last_time, excluded.last_time)`

const daysSql = `
insert into stored_days as s (device, type, field, day)
select device, type, field, max(to_timestamp(stored_ms / 1000)) as day
from unnest($1::text[], $2::text[], $3::text[], $4::float8[]) as p (device, type, field, stored_ms)
where not exists (select from stored_days as known where known.device = p.device and known.type = p.type and known.field = p.field
  and known.day >= to_timestamp(p.stored_ms / 1000))
group by device, type, field
on conflict (device, type, field) do update set day = excluded.day
returning device, type, field`

// By prefixes of the primary key. What was too old when it came goes again with it.
const pruneSql = `
delete from buckets as b using unnest($1::text[], $2::text[], $3::text[]) as p (device, type, field),
  unnest($4::text[], $5::float8[]) as k (width, seconds), stored_days as s
where s.device = p.device and s.type = p.type and s.field = p.field
  and b.device = p.device and b.type = p.type and b.field = p.field and b.width = k.width
  and b.bucket < s.day - make_interval(secs => k.seconds)`

/** Count, min, max, sum and last of numeric fields, per device, type and span of event time. What is no number is left out. */
export function rollups(options: RollupsOptions = rollupsDefault): Projection {
  const { version, types, fields, keepMs } = options
  const widths = rollupWidths.filter((width) => options.widths.includes(width))
  const kept = widths.filter((width) => keepMs[width] !== undefined)
  const wants = fields.includes('#')
    ? () => true
    : (path: string) => fields.some((one) => matchesTopic(one, path))
  const fieldsOf = memoizedFields(wants)
  const { versions = {} } = options
  const wanted = new Map(Object.entries(versions))
  const defined = defineProjection({
    name: 'rollups',
    version,
    events: types,
    tables: tablesOf(options, widths, kept.length > 0),
    async apply(events, { tx }) {
      const points = pointsOf(events, fieldsOf)
      if (points.device.length === 0) return
      const { device, type, field, ms, value, dayMs } = points
      const seconds = widths.map((width) => widthSeconds[width])
      await tx.query(mergeSql, [device, type, field, ms, value, widths, seconds])
      if (kept.length === 0) return
      const series = [device, type, field]
      const keepSeconds = kept.map((width) => (keepMs[width] ?? 0) / 1000)
      await tx.query(daysSql, [...series, dayMs])
      await tx.query(pruneSql, [...distinct(points), kept, keepSeconds])
    },
  })
  return {
    ...defined,
    wantedVersion: (type) => wanted.get(type),
    versions,
    weigh: () => (event) => fieldsOf(event).length,
  }
}

type FieldsOf = (event: ProjectedEvent) => readonly [path: string, value: number][]

/** Once of each event: for what it weighs, and for what it says. */
function memoizedFields(wants: (path: string) => boolean): FieldsOf {
  const known = new WeakMap<ProjectedEvent, readonly [string, number][]>()
  return (event) => {
    let fields = known.get(event)
    if (fields === undefined)
      known.set(event, (fields = numericFields(event.data).filter(([path]) => wants(path))))
    return fields
  }
}

/** A number of an event each, in order. */
interface Points {
  device: string[]
  type: string[]
  field: string[]
  ms: number[]
  value: number[]
  /** When the day began on which it was stored, by PostgreSQL's clock: gateways and devices may be years ahead. */
  dayMs: number[]
}

function pointsOf(events: readonly ProjectedEvent[], fieldsOf: FieldsOf): Points {
  const points: Points = { device: [], type: [], field: [], ms: [], value: [], dayMs: [] }
  for (const event of events) {
    const ms = eventTimeMs(event)
    const dayMs = Math.floor(Date.parse(event.storedtime) / dayLengthMs) * dayLengthMs
    for (const [path, value] of fieldsOf(event)) {
      points.device.push(event.partitionkey)
      points.type.push(event.type)
      points.field.push(path)
      points.ms.push(ms)
      points.value.push(value)
      points.dayMs.push(dayMs)
    }
  }
  return points
}

/** The field comes last: it alone may hold a newline. */
function distinct({ device, type, field }: Points): [devices: string[], types: string[], fields: string[]] {
  const seen = new Set<string>()
  const series: [string[], string[], string[]] = [[], [], []]
  for (const [index, path] of field.entries()) {
    const parts = [device[index] ?? '', type[index] ?? '', path] as const
    const key = parts.join('\n')
    if (seen.has(key)) continue
    seen.add(key)
    for (const [column, part] of parts.entries()) series[column]?.push(part)
  }
  return series
}
