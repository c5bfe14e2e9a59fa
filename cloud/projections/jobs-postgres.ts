import { TidegateError } from '../../src/errors.ts'
import { deviceSource } from '../../src/contract/event.ts'
import type { Transaction } from '../database/storage.ts'
import type { Cursor } from '../history/reader.ts'
import { type Applicable, applyEvents, eventsFor, readFor, type ToApply } from './applying.ts'
import type { LoadedProjection, ProjectedEvent } from './definition.ts'
import { enterSchema, quoted, schemaOf, tablesOf } from './schema-postgres.ts'
import { makeScratch } from './tables-postgres.ts'
import type { Job } from './versions.ts'

const pageMax = 1000
/** Of the first page, whose size is not known: so many events of the largest there are. */
const pageMin = 32
/** Text of a page, as that of the one before was. */
const pageBytes = 8 * 1024 ** 2
const sampleDefault = 20
/** What differs is told of so many. */
const differingMax = 50

/**
 * Does a job within the transaction that has the version to itself, so that it is of one moment: as far as `upTo`. What fails is thrown,
 * and the transaction is to be rolled back.
 */
export async function runJob(tx: Transaction, job: Job, upTo: Cursor, applying: ToApply): Promise<object> {
  if (job.kind === 'rebuild-device') return rebuildDevice(tx, job.device ?? '', upTo, applying)
  await tx.query('savepoint compared')
  const outcome = await compare(tx, job, upTo, applying)
  await tx.query('rollback to savepoint compared')
  return outcome
}

async function rebuildDevice(tx: Transaction, key: string, upTo: Cursor, applying: ToApply): Promise<object> {
  const { projection } = applying
  const { keyColumn } = projection
  const tables = await tablesOf(tx, schemaOf(projection), keyColumn)
  const without = tables.filter(({ hasKey }) => !hasKey).map(({ name }) => name)
  if (without.length > 0) throw keyless(projection, without)
  await enterSchema(tx, schemaOf(projection))
  let removed = 0
  for (const { name } of tables)
    removed += (await tx.query(`delete from ${quoted(name)} where ${quoted(keyColumn)} = $1`, [key])).rowCount
  return { removed, applied: await applyAgain(tx, key, upTo, applying) }
}

interface Differing {
  key: string
  table: string
  /** Rows that are there and not again, and the other way round. */
  beside: number
  missing: number
}

async function compare(tx: Transaction, job: Job, upTo: Cursor, applying: ToApply): Promise<object> {
  const { projection } = applying
  const own = schemaOf(projection)
  const tables = await tablesOf(tx, own, projection.keyColumn)
  const counted = await countRows(tx, projection, tables)
  const keyed = tables.filter(({ hasKey }) => hasKey).map(({ name }) => name)
  if (keyed.length === 0)
    throw keyless(
      projection,
      tables.map(({ name }) => name),
    )
  const keys = await sampleKeys(tx, projection, keyed, job)
  await makeScratch(tx, projection)
  const differing: Differing[] = []
  for (const key of keys) {
    await applyAgain(tx, key, upTo, applying)
    for (const table of keyed) {
      const found = await compareKey(tx, projection, table, key)
      if (found.beside + found.missing > 0) differing.push({ key, table, ...found })
    }
  }
  return {
    tables: counted,
    sampled: keys.length,
    differing: differing.slice(0, differingMax),
    // Where there was nothing to compare, nothing is said.
    same: keys.length === 0 ? null : differing.length === 0,
  }
}

/** Applies what there is of a key, from the beginning, where the transaction is. */
async function applyAgain(tx: Transaction, key: string, upTo: Cursor, applying: ToApply): Promise<number> {
  const { projection, signal } = applying
  const skipped = await skippedOf(tx, projection)
  let applied = 0
  for await (const page of historyOf(tx, key, upTo, projection)) {
    signal.throwIfAborted()
    const events = eventsFor(page, projection).filter(
      (event) => !skipped.includes(event.cursor) && keyOf(event, applying) === key,
    )
    await applyEvents(events, tx, applying)
    applied += events.length
  }
  return applied
}

/** Whose rows it changes: of the event as the projection reads it. */
function keyOf(event: ProjectedEvent, applying: ToApply): string {
  const { key } = applying.projection
  return key === undefined ? event.partitionkey : key(readFor(event, applying))
}

/** What somebody has left out stays out. */
async function skippedOf(tx: Transaction, { name, version }: LoadedProjection): Promise<string[]> {
  const sql = 'select skipped from tidegate.projection_versions where name = $1 and version = $2'
  return (await tx.query<{ skipped: string[] }>(sql, [name, version])).rows[0]?.skipped ?? []
}

/** Of a key that is not the device every event may be. */
async function* historyOf(
  tx: Transaction,
  key: string,
  upTo: Cursor,
  { key: keyOf, types }: LoadedProjection,
): AsyncGenerator<Applicable[]> {
  const [era = '0', transaction = '0', position = '0'] = upTo.split('.').map((part) => part || '0')
  const values: unknown[] = [era, transaction, position, types ?? null]
  if (keyOf === undefined) values.push([deviceSource(key), `/gateways/${key}`])
  await tx.query(
    `declare again no scroll cursor for
     select body::text as text, era || '.' || tx || '.' || position as cursor, (extract(epoch from stored_time) * 1000)::float8 as "storedMs",
       disposition, type from tidegate.events
     where (era, tx, position) <= ($1::integer, $2::text::xid8, $3::bigint) and disposition = 'accepted'
       and ($4::text[] is null or type = any($4)) ${keyOf === undefined ? 'and source = any($5::text[])' : ''}
     order by era, tx, position`,
    values,
  )
  let page = pageMin
  for (;;) {
    const { rows } = await tx.query<Applicable>(`fetch ${page} from again`)
    if (rows.length > 0) yield rows
    if (rows.length < page) break
    const longest = Math.max(...rows.map(({ text }) => text.length))
    page = Math.max(pageMin, Math.min(pageMax, page * 2, Math.floor(pageBytes / longest)))
  }
  await tx.query('close again')
}

async function activeSchema(
  tx: Transaction,
  { name, version }: LoadedProjection,
): Promise<string | undefined> {
  const { rows } = await tx.query<{ active: number }>(
    'select active from tidegate.projections where name = $1',
    [name],
  )
  const active = rows[0]?.active
  return active === undefined || active === version ? undefined : schemaOf({ name, version: active })
}

async function countRows(tx: Transaction, projection: LoadedProjection, tables: readonly { name: string }[]) {
  const beside = await activeSchema(tx, projection)
  const others = beside === undefined ? [] : await tablesOf(tx, beside, projection.keyColumn)
  const count = async (schema: string, name: string): Promise<number> => {
    const sql = `select count(*)::float8 as rows from ${schema}.${quoted(name)}`
    return (await tx.query<{ rows: number }>(sql)).rows[0]?.rows ?? 0
  }
  const counted: { table: string; rows: number; activeRows: number | null }[] = []
  for (const { name } of tables) {
    const isThere = beside !== undefined && others.some((other) => other.name === name)
    counted.push({
      table: name,
      rows: await count(schemaOf(projection), name),
      activeRows: isThere ? await count(beside, name) : null,
    })
  }
  return counted
}

/** Some of the keys that there are here or in the active version, others at each job. */
async function sampleKeys(
  tx: Transaction,
  projection: LoadedProjection,
  tables: readonly string[],
  { job, sample = sampleDefault }: Job,
): Promise<string[]> {
  const { keyColumn } = projection
  const beside = await activeSchema(tx, projection)
  const others = beside === undefined ? [] : await tablesOf(tx, beside, keyColumn)
  const all = [
    ...tables.map((name) => `${schemaOf(projection)}.${quoted(name)}`),
    ...others.filter(({ hasKey }) => hasKey).map(({ name }) => `${beside}.${quoted(name)}`),
  ]
  if (all.length === 0) return []
  const union = all.map((table) => `select ${quoted(keyColumn)}::text as key from ${table}`).join(' union ')
  const { rows } = await tx.query<{ key: string }>(
    `select key from (select distinct key from (${union}) as each) as keys where key is not null order by md5(key || $1) limit $2`,
    [job, sample],
  )
  return rows.map(({ key }) => key)
}

async function compareKey(tx: Transaction, projection: LoadedProjection, table: string, key: string) {
  const rowsIn = (schema: string): string =>
    `(select t::text as row from ${schema}.${quoted(table)} as t where t.${quoted(projection.keyColumn)} = $1)`
  const here = rowsIn(schemaOf(projection))
  const again = rowsIn(schemaOf(projection, true))
  const { rows } = await tx.query<{ beside: number; missing: number }>(
    `select (select count(*) from (${here} except all ${again}) as a)::float8 as beside,
            (select count(*) from (${again} except all ${here}) as b)::float8 as missing`,
    [key],
  )
  return rows[0] ?? { beside: 0, missing: 0 }
}

function keyless({ name, version, keyColumn }: LoadedProjection, tables: readonly string[]): TidegateError {
  return new TidegateError('PROJECTION_KEYLESS', {
    message: `projection ${name} ${version} cannot be taken apart: ${tables.join(', ')} has no column ${keyColumn}`,
    retryable: false,
    hint: 'build another version beside it, and switch; or give each table that column (keyColumn)',
  })
}
