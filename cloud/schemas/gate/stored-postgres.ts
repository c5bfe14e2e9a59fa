import type { Event } from '../../../src/contract/event.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { Database, Session } from '../../database/database-postgres.ts'
import { compareCursors } from '../../history/reader.ts'
import { shapeKinds } from '../../projections/built-in/shape-row.ts'
import { shapeColumnsSql, shapesVersion, type StoredShapeRow } from '../../projections/built-in/shapes.ts'
import { editedEvent } from '../../replays/letter-to-send.ts'
import type { LetterEdit } from '../../replays/replays.ts'
import type {
  Part,
  PartReading,
  ShapeTop,
  Standing,
  Stored,
  StoredLetter,
  StoredShapes,
  StoredText,
} from './stored.ts'

/** Whoever judges a page does nothing else meanwhile: some 25 ms. */
const pageMax = 1000
/** Whether events are large is seen by the first page: texts beyond a page are fetched by PostgreSQL for nothing. */
const pageFirst = 100
/** Text of a page, and one event more. */
const pageBytesMax = 8 * 1024 ** 2
const lettersMax = 50
const rest = 'events_other'

const partsSql = `
select partition, (extract(epoch from from_time) * 1000)::float8 as "fromMs", (extract(epoch from until_time) * 1000)::float8 as "untilMs"
from tidegate.list_partitions() order by from_time, until_time`

// By what it is, whatever it is called.
const unindexedSql = `
select p.partition from tidegate.list_partitions() as p
where not exists (select from pg_index as x where x.indrelid = ('tidegate.' || quote_ident(p.partition))::regclass and x.indisvalid
  and replace(pg_get_indexdef(x.indexrelid), '"', '') like '%(type, era, tx, position)')
order by p.from_time`

const shapesSql = `
select v.version, v.cursor, cardinality(v.skipped) as skipped, v.state
from tidegate.projections as p join tidegate.projection_versions as v on v.name = p.name and v.version = p.active
where p.name = 'shapes'`

const topsSql = `
select type, version, (extract(epoch from week) * 1000)::float8 as "weekMs", (${shapeKinds.join(' + ')})::float8 as events
from projection.shapes where type = any($1::text[]) and pointer = ''`

const shapeSql = `
select ${shapeColumnsSql} from projection.shapes where type = $1 and version = $2 and week = to_timestamp($3::float8 / 1000)`

// Bounds of recorded_time lead to one partition, and its index has the order: (type, era, tx, position).
const within = `type = $1 and recorded_time >= to_timestamp($2::float8 / 1000) and recorded_time < to_timestamp($3::float8 / 1000)
  and (era, tx, position) <= (split_part($4, '.', 1)::integer, split_part($4, '.', 2)::xid8, split_part($4, '.', 3)::bigint)`

const countSql = `
select ((select count(*) from tidegate.events where ${within})
  - (select count(*) from tidegate.events where ${within} and disposition <> 'accepted'))::float8 as count`

// What is looked at is bounded, however little of it is wanted: of the rest there is its place alone.
const pageSql = `
select cursor, position, source, id, "recordedTime", case when is_wanted then body::text end as text
from (
  select s.*, coalesce(sum(octet_length(body::text)) filter (where is_wanted) over (order by n rows between unbounded preceding and 1 preceding), 0) as before
  from (
    select row_number() over (order by era, tx, position) as n, era || '.' || tx || '.' || position as cursor, position::float8 as position, source, id,
      to_char(recorded_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "recordedTime", body,
      disposition = 'accepted' and (dataschema is null or dataschema = any($6::text[]) or not (starts_with(dataschema, type || '/')
        and substr(dataschema, length(type) + 2) ~ '^[1-9][0-9]{0,5}$')) as is_wanted
    from (
      select * from tidegate.events
      where ${within} and (era, tx, position) > (split_part($5, '.', 1)::integer, split_part($5, '.', 2)::xid8, split_part($5, '.', 3)::bigint)
      order by era, tx, position limit $7) as e) as s) as p
where before < ${pageBytesMax} order by n`

const lettersSql = `
select l.letter::text as letter, code, body, edit from tidegate.dead_letters as l
where type = $1 and state in ('open', 'replaying') and l.letter > $2 order by l.letter limit ${lettersMax}`

const beginning = '0.0.0'

/** Reads by a connection of its own; whoever may read history may do it. */
export function postgresStored(database: Database, session: Session): Stored {
  return {
    standing: (types) => database.snapshot((query) => standingIn(query, types)),
    shape: ({ type, version, weekMs }) => session.query<StoredShapeRow>(shapeSql, [type, version, weekMs]),
    async count({ type, part, upTo }) {
      const [row] = await session.query<{ count: number }>(countSql, [...spanOf(part, type), upTo])
      return row?.count ?? 0
    },
    read: (reading) => pagesOf(session, reading),
    letters: (type) => lettersOf(session, type),
  }
}

/** A connection on which pages come by the index of their order, whatever the statistics say. */
export async function openGateSession(database: Database): Promise<Session> {
  const session = await database.session()
  for (const setting of ['enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'jit'])
    await session.query(`set ${setting} = off`)
  return session
}

async function standingIn(query: Database['query'], types: readonly string[]): Promise<Standing> {
  const unindexed = await query<{ partition: string }>(unindexedSql)
  if (unindexed.length > 0) throw lacksIndexes(unindexed.map(({ partition }) => partition))
  const [horizon] = await query<{ upTo: string }>('select tidegate.horizon() as "upTo"')
  const partitions = await query<{ partition: string; fromMs: number; untilMs: number }>(partsSql)
  return {
    upTo: horizon?.upTo || beginning,
    parts: partsOf(partitions.map(({ partition, ...span }) => ({ name: partition, ...span }))),
    shapes: await shapesIn(query, types),
  }
}

function lacksIndexes(partitions: readonly string[]): TidegateError {
  return new TidegateError('PARTITION_UNINDEXED', {
    message: `what is stored cannot be looked at: ${partitions.join(', ')}: there is no index by type, and each page would be a reading of all of it`,
    retryable: false,
    hint: 'run tidegate history index first; it works while everything else does',
  })
}

/** The partitions, and between them the spans whose events lie in the partition of what belongs to none. */
export function partsOf(partitions: readonly Part[]): Part[] {
  const parts: Part[] = []
  let atMs = -Infinity
  for (const part of partitions.filter(({ name }) => name !== rest)) {
    if (part.fromMs > atMs) parts.push({ name: rest, fromMs: atMs, untilMs: part.fromMs })
    parts.push(part)
    atMs = part.untilMs
  }
  if (atMs < Infinity) parts.push({ name: rest, fromMs: atMs, untilMs: Infinity })
  return parts
}

async function shapesIn(query: Database['query'], types: readonly string[]): Promise<StoredShapes> {
  const [found] = await query<{ version: number; cursor: string; skipped: number; state: string }>(shapesSql)
  if (found === undefined) return { why: 'the projection shapes is not there: add shapes to projections' }
  const { version, cursor, skipped, state } = found
  if (version !== shapesVersion)
    return { why: `version ${version} of shapes is read, and this is for ${shapesVersion}` }
  if (state === 'new' || cursor === '') return { why: 'the projection shapes has not begun yet' }
  if (skipped > 0) return { why: 'events were left out of the projection shapes' }
  const tops = await query<ShapeTop>(topsSql, [types])
  return { upTo: cursor, tops, ...(state !== 'live' && { state }) }
}

function spanOf({ fromMs, untilMs }: Part, type: string): [string, number, number] {
  return [type, fromMs, untilMs]
}

type Row = Omit<StoredText, 'text'> & { text: string | null }

/** The next page is asked for while one is looked at. */
async function* pagesOf(
  session: Session,
  { type, part, after, upTo, versions }: PartReading,
): AsyncGenerator<StoredText[]> {
  const names = versions.map((version) => `${type}/${version}`)
  let at = after || beginning
  if (compareCursors(at, upTo) >= 0) return
  let limit = pageFirst
  const ask = (): Promise<Row[]> =>
    session.query<Row>(pageSql, [...spanOf(part, type), upTo, at, names, limit])
  let next = ask()
  for (;;) {
    const rows = await next
    const last = rows.at(-1)
    if (last === undefined) return
    at = last.cursor
    limit = Math.min(pageMax, rows.length * 2)
    next = ask()
    // It is awaited in the next turn, unless whoever reads has enough.
    next.catch(() => {})
    yield rows.flatMap(({ text, ...row }) => (text === null ? [] : [{ ...row, text }]))
  }
}

interface LetterRow {
  letter: string
  code: string
  body: Buffer
  edit: LetterEdit | null
}

async function* lettersOf(session: Session, type: string): AsyncGenerator<StoredLetter[]> {
  let at = '0'
  for (;;) {
    const rows = await session.query<LetterRow>(lettersSql, [type, at])
    const last = rows.at(-1)
    if (last === undefined) return
    at = last.letter
    yield rows.map(({ code, body, edit }) => ({ code, text: textOf(body, edit) }))
  }
}

function textOf(body: Buffer, edit: LetterEdit | null): string {
  const text = body.toString('utf8')
  if (edit === null) return text
  try {
    return JSON.stringify(editedEvent(JSON.parse(text) as Event, edit))
  } catch {
    // No replay would send that either.
    return text
  }
}
