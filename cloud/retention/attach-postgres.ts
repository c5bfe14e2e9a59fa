import { TidegateError } from '../../src/errors.ts'
import { parseText } from '../audit/event.ts'
import type { Transaction } from '../database/storage.ts'
import { doOnce } from '../deeds/deed-record.ts'
import type { Deed } from '../deeds/deeds.ts'
import { type TextColumns, textColumns } from '../history/record.ts'
import { readArchive, readManifest } from './archive-reading.ts'
import type { ArchivedRow, Manifest } from './format.ts'
import { lockTimeoutMs, type OwnerSession, patiently, quoted } from './owner-postgres.ts'

export interface Attached {
  archive: string
  /** All that are in it. */
  events: number
}

/** Who does it, and why. */
type Why = Omit<Deed<unknown>, 'request'>

/**
 * Makes an archive readable, as a partition of `tidegate.archived` (G8). It is read once: what was read is loaded into a table of its own, which becomes
 * that partition when all of it was verified, against its manifest and against what was retired here, or against a SHA-256 that the caller
 * knows. History is not touched: what was retired stays so, and what is delivered again is a repeat as before. Begun again after a crash it begins anew.
 * @throws TidegateError `ARCHIVE_FILE`, `ARCHIVE_ALTERED`, `ARCHIVE_UNKNOWN`, `ARCHIVE_ATTACHED`, `DEED_INVALID`
 */
export async function attachArchive(
  file: string,
  deed: Why,
  { owner, sha256: expected }: { owner: OwnerSession; sha256?: string | undefined },
): Promise<Attached> {
  const { query, log } = owner
  const { path, manifest } = await readManifest(file)
  const { sha256, events, partition } = manifest
  const retirement = await retirementOf(owner, manifest, expected)
  const archive = nameOf(manifest)
  const table = tableOf(archive)
  const [there] = await query<{ archive: string }>(thereSql, [archive, sha256, table])
  if (there) throw alreadyAttached(there.archive)
  await query(`drop table if exists ${table}`)
  // By this PostgreSQL knows without looking that it may be a partition.
  await query(
    `create table ${table} (like tidegate.archived, check (archive is not null and archive = '${archive}'))`,
  )
  await query(`comment on table ${table} is '${archive}'`)
  log.debug({ step: 'attach: table made' })
  for await (const rows of pagesOf(readArchive(path, manifest))) await load(owner, { table, archive, rows })
  log.debug({ step: 'attach: verified' })
  for (const on of indexes) await query(`create ${on.replace('$', table)}`)
  await query(`analyze ${table}`)
  const request = { retirement, archive, partition, sha256 }
  return doOnce('attach', { ...deed, request }, owner, async (tx) => {
    await tx.query(`alter table tidegate.archived attach partition ${table} for values in ('${archive}')`)
    await tx.query(
      'insert into tidegate.attachments (archive, partition, sha256, events, retirement) values ($1, $2, $3, $4, $5)',
      [archive, partition, sha256, events, retirement],
    )
    log.debug({ step: 'attach: recorded' })
    return { archive, events }
  })
}

/**
 * Drops what was attached, or begun to be. The file is the record, and is not touched.
 * @throws TidegateError `ARCHIVE_UNKNOWN`, `HISTORY_LOCKED`, `DEED_INVALID`
 */
export async function detachArchive(archive: string, deed: Why, owner: OwnerSession): Promise<void> {
  const table = /^events_\w{1,40}-[0-9a-f]{16}$/.test(archive) ? tableOf(archive) : undefined
  const [row] = await owner.query<{ there: boolean }>('select to_regclass($1) is not null as there', [table])
  if (table === undefined || row?.there !== true) throw notAttached(archive)
  await patiently(owner, () =>
    doOnce('detach', { ...deed, request: { archive } }, owner, async (tx) => {
      await tx.query(`set local lock_timeout = ${lockTimeoutMs}`)
      await tx.query(`drop table ${table}`)
      await tx.query('delete from tidegate.attachments where archive = $1', [archive])
      return { archive }
    }),
  )
}

/** Of the partition and the SHA-256: the name of its file, whatever that is called now. */
function nameOf({ partition, sha256 }: Manifest): string {
  return `${partition}-${sha256.slice(0, 16)}`
}

function tableOf(archive: string): string {
  return `tidegate.${quoted(`archived_${archive.slice(-16)}`)}`
}

// A table that is a partition is never dropped for another one that would have its name.
const thereSql = `
select archive from tidegate.attachments where archive = $1 or sha256 = $2
union all
select obj_description(oid) from pg_class where oid = to_regclass($3) and relispartition`

const retirementSql = `
select retirement::text as retirement, partition = $2 and events = $3 as same from tidegate.retirements
where sha256 = $1 order by partition = $2 and events = $3 desc, retired_at desc limit 1`

/** What it was made of here; null: it is another database's, and the caller knows it. */
async function retirementOf(
  { query }: OwnerSession,
  { file, sha256, partition, events }: Manifest,
  expected: string | undefined,
): Promise<string | null> {
  const values = [sha256, partition, events]
  const [row] = await query<{ retirement: string; same: boolean }>(retirementSql, values)
  // One that is ours is what it was retired as, whoever knows its SHA-256.
  const isKnown = row !== undefined || (expected !== undefined && sha256 === expected.toLowerCase())
  const isExpected = expected === undefined || sha256 === expected.toLowerCase()
  if (isKnown && isExpected && row?.same !== false) return row?.retirement ?? null
  throw new TidegateError('ARCHIVE_UNKNOWN', {
    message: isExpected
      ? `no ${partition} of ${events} events is retired here to ${file} with the SHA-256 ${sha256}`
      : `the SHA-256 of ${file} is to be ${expected}, and its manifest says ${sha256}`,
    retryable: false,
    hint: 'it was altered together with its manifest, is of another database, or was never dropped here (tidegate.retirements); if you know its SHA-256 from elsewhere: --sha256',
  })
}

const indexes = [
  'unique index on $ (gateway, epoch, sequence)',
  'index on $ (id, source)',
  'index on $ (source, time)',
  'index on $ (type, era, tx, position)',
]

const pageRows = 1_000
/** In characters: an event may be a third of a megabyte. */
const pageLength = 4_000_000

async function* pagesOf(rows: AsyncIterable<{ row: ArchivedRow }>): AsyncGenerator<ArchivedRow[]> {
  let page: ArchivedRow[] = []
  let length = 0
  for await (const { row } of rows) {
    page.push(row)
    length += row.text.length
    if (page.length < pageRows && length < pageLength) continue
    yield page
    page = []
    length = 0
  }
  if (page.length > 0) yield page
}

// The columns that say again what the text says are made of it, as they were when it was stored.
const insertSql = (table: string): string => `
insert into ${table}
  (archive, gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time, disposition, reason, body, era, tx, position, stored_time)
select $18, gateway, epoch, sequence, source, id, type, subject, dataschema, to_timestamp(time_ms / 1000), to_timestamp(recorded_ms / 1000),
       disposition, reason, body::json, era, tx::xid8, position, stored_time::timestamptz
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[], $10::float8[],
            $11::text[], $12::text[], $13::text[], $14::int[], $15::text[], $16::bigint[], $17::text[])
  as u (gateway, epoch, sequence, source, id, type, subject, dataschema, time_ms, recorded_ms, disposition, reason, body, era, tx, position, stored_time)`

// In the order of the parameters.
const placed = ['gateway', 'epoch', 'sequence'] as const
const saidAgain = ['source', 'id', 'type', 'subject', 'dataschema', 'timeMs', 'recordedMs'] as const
const asStored = ['disposition', 'reason', 'text', 'era', 'tx', 'position', 'stored'] as const

/** A page in a transaction: one for all of them would hold back whoever reads history by cursor. */
async function load(
  { storage, log, signal }: OwnerSession,
  { table, archive, rows }: { table: string; archive: string; rows: readonly ArchivedRow[] },
): Promise<void> {
  const texts = rows.map(columnsOf)
  const of = (key: keyof ArchivedRow): unknown[] => rows.map((row) => row[key])
  const said = (key: keyof TextColumns): unknown[] => texts.map((text) => text[key])
  await storage.transaction(async (tx: Transaction) => {
    // What is lost of it in a crash is loaded anew.
    await tx.query('set local synchronous_commit = off')
    await tx.query(insertSql(table), [
      ...placed.map(of),
      ...saidAgain.map(said),
      ...asStored.map(of),
      archive,
    ])
  }, signal)
  log.debug({ step: 'attach: some are loaded' })
}

/** Of a text that says nothing the times are when it was stored: a column has one. */
function columnsOf({ text, stored }: ArchivedRow): TextColumns {
  const columns = textColumns(parseText(text) ?? {})
  const orStored = (ms: number): number => (Number.isFinite(ms) ? ms : Date.parse(stored))
  return { ...columns, timeMs: orStored(columns.timeMs), recordedMs: orStored(columns.recordedMs) }
}

function alreadyAttached(archive: string): TidegateError {
  return new TidegateError('ARCHIVE_ATTACHED', {
    message: `${archive} is attached`,
    retryable: false,
    hint: 'its events are in tidegate.archived; tidegate history detach takes them away again',
  })
}

function notAttached(archive: string): TidegateError {
  return new TidegateError('ARCHIVE_UNKNOWN', {
    message: `no archive ${archive} is attached`,
    retryable: false,
    hint: 'tidegate history partitions lists those that are',
  })
}
