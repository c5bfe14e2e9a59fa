import { attachedType, cloudLedger } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { doOnce } from '../deeds/deed-record.ts'
import type { Deed } from '../deeds/deeds.ts'
import { ownLedgerIn } from '../deeds/own-ledger-postgres.ts'
import { textColumns } from '../history/record.ts'
import { readArchive, readManifest, verifyArchive } from './archive-file.ts'
import type { ArchivedRow, Manifest } from './format.ts'
import { lockHistory, type OwnerSession, patiently, quoted } from './owner-postgres.ts'
import { otherPartition } from './partitions-postgres.ts'
import { columns } from './retire-postgres.ts'

export interface Attached {
  partition: string
  /** In the archive; all of them are in history again. */
  events: number
}

/**
 * Brings an archive back (G8): verified first, from its beginning to its end, and against what the cloud's own ledger says was retired. Its rows are stored
 * as they were, in several transactions that each leave history true: what is not there yet is still retired. Begun again after a crash it
 * goes on. It ends with a deed on record, from which on the events have to be there.
 * @throws TidegateError `ARCHIVE_FILE`, `ARCHIVE_ALTERED`, `ARCHIVE_UNKNOWN`, `ARCHIVE_CONFLICT`, `PARTITION_CLASH`, `HISTORY_LOCKED`, `DEED_INVALID`
 */
export async function attachArchive(
  file: string,
  deed: Omit<Deed<unknown>, 'request'>,
  owner: OwnerSession,
): Promise<Attached> {
  const { storage, log, clock, random, signal } = owner
  const { path, manifest } = await readManifest(file)
  await verifyArchive(path, manifest)
  const retirement = await retirementOf(owner, manifest)
  log.debug({ step: 'attach: verified' })
  await makePlace(owner, manifest)
  log.debug({ step: 'attach: place made' })
  for await (const rows of pagesOf(readArchive(path, manifest))) {
    await storage.transaction((tx) => bringBack(tx, manifest.partition, rows), signal)
    log.debug({ step: 'attach: some are back' })
  }
  const { partition, sha256, events } = manifest
  const request = { retirement, partition, sha256 }
  return doOnce('attach', { ...deed, request }, owner, async (tx) => {
    await tx.query('insert into tidegate.attachments (attachment, retirement) values ($1, $2)', [
      deed.key,
      retirement,
    ])
    const nowMs = clock.now()
    await ownLedgerIn(tx, random).append(nowMs, [
      {
        id: `attached-${deed.key}`,
        source: `/gateways/${cloudLedger}`,
        partitionkey: cloudLedger,
        type: attachedType,
        time: new Date(nowMs).toISOString(),
        data: { deed: deed.key, retirement, partition, sha256, events },
      },
    ])
    log.debug({ step: 'attach: recorded' })
    return { partition, events }
  })
}

const retirementSql = `
select r.retirement::text as retirement from tidegate.retirements as r
where r.sha256 = $1 and not exists (select from tidegate.attachments as a where a.retirement = r.retirement)
order by r.retired_at desc limit 1`

async function retirementOf({ query }: OwnerSession, { file, sha256 }: Manifest): Promise<string> {
  const [row] = await query<{ retirement: string }>(retirementSql, [sha256])
  if (row) return row.retirement
  throw new TidegateError('ARCHIVE_UNKNOWN', {
    message: `no partition is retired to ${file} with the SHA-256 ${sha256}`,
    retryable: false,
    hint: 'it was altered together with its manifest, is of another database, was never dropped here, or was brought back already: see tidegate.retirements and tidegate.attachments',
  })
}

const overlappingSql = `
select partition, from_time = coalesce($1::timestamptz, '-infinity') and until_time = $2::timestamptz as same
from tidegate.partitions
where partition <> '${otherPartition}' and from_time < $2::timestamptz and until_time > coalesce($1::timestamptz, '-infinity')`

/** A partition of those bounds, empty but for what is in history of that time. */
async function makePlace(owner: OwnerSession, manifest: Manifest): Promise<void> {
  const { query, storage, signal } = owner
  const { partition, from, until } = manifest
  const overlapping = await query<{ partition: string; same: boolean }>(overlappingSql, [from, until])
  if (overlapping.length === 1 && overlapping[0]?.partition === partition && overlapping[0].same) return
  const [other] = overlapping
  if (other) throw clash(manifest, other.partition)
  const table = `tidegate.${quoted(partition)}`
  await patiently(owner, () =>
    storage.transaction(async (tx) => {
      await lockHistory(tx)
      await tx.query('select tidegate.make_partition($1)', [partition])
      await tx.query(`alter table tidegate.${otherPartition} disable trigger append_only`)
      await tx.query(
        `with these as (delete from tidegate.${otherPartition} where recorded_time >= $1 and recorded_time < $2 returning *)
         insert into ${table} (${columns}) select ${columns} from these`,
        [from, until],
      )
      await tx.query(`alter table tidegate.${otherPartition} enable trigger append_only`)
      await tx.query(
        `alter table tidegate.events attach partition ${table} for values from ('${from}') to ('${until}')`,
      )
    }, signal),
  )
}

function clash({ partition, from, until }: Manifest, other: string): TidegateError {
  return new TidegateError('PARTITION_CLASH', {
    message: `${partition} reaches from ${from ?? 'whenever'} until ${until}, and so does ${other} in part`,
    retryable: false,
    hint: 'archive and drop that one first, or bring this archive back into another database',
  })
}

const pageRows = 200

async function* pagesOf(rows: AsyncIterable<ArchivedRow>): AsyncGenerator<ArchivedRow[]> {
  let page: ArchivedRow[] = []
  for await (const row of rows) {
    page.push(row)
    if (page.length < pageRows) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
}

// The columns that say again what the text says are made of it, as they were when it was stored.
const insertSql = (partition: string): string => `
insert into tidegate.${quoted(partition)}
  (gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time, disposition, reason, body, era, tx, position, stored_time)
select gateway, epoch, sequence, source, id, type, subject, dataschema, to_timestamp(time_ms / 1000), to_timestamp(recorded_ms / 1000),
       disposition, reason, body::json, era::smallint, tx::xid8, position, stored_time::timestamptz
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[], $10::float8[],
            $11::text[], $12::text[], $13::text[], $14::int[], $15::text[], $16::bigint[], $17::text[])
  as u (gateway, epoch, sequence, source, id, type, subject, dataschema, time_ms, recorded_ms, disposition, reason, body, era, tx, position, stored_time)
on conflict do nothing`

const missingSql = (partition: string): string => `
select u.gateway || '/' || u.epoch || '/' || u.sequence as place
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::bigint[]) as u (gateway, epoch, sequence, body, era, tx, position)
where not exists (
  select from tidegate.${quoted(partition)} as e
  where e.gateway = u.gateway and e.epoch = u.epoch and e.sequence = u.sequence
    and e.body::text = u.body and e.era = u.era and e.tx = u.tx::xid8 and e.position = u.position) limit 1`

/** What is there already stays; it has to be the same. */
async function bringBack(tx: Transaction, partition: string, rows: readonly ArchivedRow[]): Promise<void> {
  const texts = rows.map(({ text }) => textColumns(JSON.parse(text) as object))
  const of = (key: keyof ArchivedRow): unknown[] => rows.map((row) => row[key])
  const said = (key: keyof (typeof texts)[number]): unknown[] => texts.map((text) => text[key])
  const places = [of('gateway'), of('epoch'), of('sequence')]
  await tx.query(`set local tidegate.attaching = 'on'`)
  await tx.query(insertSql(partition), [
    ...places,
    said('source'),
    said('id'),
    said('type'),
    said('subject'),
    said('dataschema'),
    said('timeMs'),
    said('recordedMs'),
    of('disposition'),
    of('reason'),
    of('text'),
    of('era'),
    of('tx'),
    of('position'),
    of('stored'),
  ])
  const { rows: missing } = await tx.query<{ place: string }>(missingSql(partition), [
    ...places,
    of('text'),
    of('era'),
    of('tx'),
    of('position'),
  ])
  const [first] = missing
  if (first) throw conflict(partition, first.place)
}

function conflict(partition: string, place: string): TidegateError {
  return new TidegateError('ARCHIVE_CONFLICT', {
    message: `${place} cannot be brought back: ${partition} has another event in its place, or with its source and ID`,
    retryable: false,
    hint: 'compare the two; bring this archive back into another database if both are to be read',
  })
}
