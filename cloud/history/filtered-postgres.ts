import type { Database } from '../database/database-postgres.ts'
import { compareCursors, type Cursor, cursorAheadIn, cursorFault, isCursor } from './reader.ts'

export interface Filter {
  /** Absent: all. */
  types?: readonly string[] | undefined
  /** Absent: all. */
  source?: string | undefined
  /** What the event says of its time: at or after, and before, ms since the Unix epoch. */
  fromMs?: number | undefined
  untilMs?: number | undefined
  /** Patterns of types, as a group has them: sorted out here is what none of them can mean. Absent: nothing is. */
  patterns?: readonly string[] | undefined
}

export interface FilteredEvent {
  cursor: Cursor
  position: number
  storedAt: Date
  recordedAt: Date
  disposition: string
  gateway: string
  epoch: string
  sequence: number
  source: string
  id: string
  type: string
  /** The wire text, verbatim. */
  text: string
}

export interface FilteredPage {
  events: FilteredEvent[]
  /** Where to go on; what is not of the filter is passed over as well. */
  next: Cursor
  /** There may be more by now, also after a page without any. */
  more: boolean
}

interface Row {
  horizon: string
  scanned: number
  last: string | null
  matches: number | null
  cursor: string | null
  position: number
  stored_time: Date
  recorded_time: Date
  disposition: string
  gateway: string
  epoch: string
  sequence: number
  source: string
  id: string
  type: string
  text: string
}

/** So many events are looked at for a page, however few are of the filter (G7). */
const scannedMax = 20_000
const scannedAtOnce = 5_000
const scannedFirst = 500
/** What has more comes in more pages (G7); one event always fits. */
const pageBytesMax = 8 * 1024 * 1024

/**
 * One statement: the horizon is that of what it reads, and is asked once.
 * $1 cursor, $2 types, $3 how many are looked at, $4 source, $5 from, $6 until (ms), $7 how many are given, $8 what types must match.
 */
export const pageSql = `
with scan as materialized (
  select row_number() over () as n, e.* from tidegate.read_events($1, $2::text[], $3::int) as e),
matching as (
  select s.*, count(*) over () as matches, sum(octet_length(s.body::text)) over (order by s.n) as bytes, row_number() over (order by s.n) as nth
  from scan as s
  where ($4::text is null or s.source = $4) and ($5::float8 is null or s.time >= to_timestamp($5::float8 / 1000))
    and ($6::float8 is null or s.time < to_timestamp($6::float8 / 1000)) and ($8::text is null or s.type ~ $8))
select (select tidegate.horizon()) as horizon, a.scanned, a.last, m.matches::int as matches, m.cursor, m.position::float8 as position,
  m.stored_time, m.recorded_time, m.disposition, m.gateway, m.epoch, m.sequence::float8 as sequence, m.source, m.id, m.type, m.body::text as text
from (select count(*)::int as scanned, (array_agg(cursor order by n desc))[1] as last from scan) as a
left join matching as m on m.nth = 1 or (m.nth <= $7::int and m.bytes <= ${pageBytesMax})
order by m.n`

/**
 * Events after a cursor, of a filter, in the order in which none is skipped. Work and bytes of a page are bounded: with a filter that little is of,
 * a page may be empty and there is more nevertheless.
 * @throws TidegateError `CURSOR_INVALID`, `CURSOR_AHEAD`, `DATABASE_*`
 */
export async function readFiltered(
  query: Database['query'],
  after: Cursor,
  { types, source, fromMs, untilMs, patterns }: Filter,
  max: number,
): Promise<FilteredPage> {
  if (!isCursor(after)) throw cursorFault()
  const hasConditions = source !== undefined || fromMs !== undefined || untilMs !== undefined
  // However few are asked for, as at a rate of one a second: what is not meant is passed over in large steps.
  let atOnce = hasConditions ? scannedAtOnce : Math.max(max, patterns ? scannedFirst : 0)
  let next = after
  for (
    let looked = 0, scanned = 0;
    looked < scannedMax;
    looked += scanned, atOnce = patterns ? scannedAtOnce : atOnce
  ) {
    scanned = atOnce
    const values = [
      next,
      types ?? null,
      atOnce,
      source ?? null,
      fromMs ?? null,
      untilMs ?? null,
      max,
      typeRegex(patterns),
    ]
    const rows = await query<Row>(pageSql, values).catch((error: unknown) => {
      throw cursorAheadIn(error)
    })
    const events = rows.flatMap(eventIn)
    const { horizon = '', scanned: found = 0, last = null, matches = 0 } = rows[0] ?? {}
    const isCut = (matches ?? 0) > events.length
    const more = isCut || found >= atOnce
    if (isCut) next = events.at(-1)?.cursor ?? next
    else if (more) next = last ?? next
    else next = compareCursors(horizon, last ?? next) < 0 ? (last ?? next) : horizon
    if (events.length > 0 || !more) return { events, next, more }
  }
  return { events: [], next, more: true }
}

/** Whatever a pattern means matches it, and some more: around a `#` the points are not looked at. */
function typeRegex(patterns: readonly string[] | undefined): string | null {
  if (patterns === undefined || patterns.includes('#')) return null
  const each = patterns.map((pattern) =>
    pattern
      .replaceAll(/[^A-Za-z0-9_.*#-]/g, '*')
      .replaceAll(/\.?#\.?/g, '#')
      .replaceAll('.', '[.]')
      .replaceAll('*', '[^.]*')
      .replaceAll('#', '.*'),
  )
  return `^(${each.join('|')})$`
}

function eventIn({ cursor, ...row }: Row): FilteredEvent[] {
  if (cursor === null) return []
  const {
    position,
    stored_time: storedAt,
    recorded_time: recordedAt,
    disposition,
    gateway,
    epoch,
    sequence,
    source,
    id,
    type,
    text,
  } = row
  return [
    { cursor, position, storedAt, recordedAt, disposition, gateway, epoch, sequence, source, id, type, text },
  ]
}
