import { cloudLedger, retiredType } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { doOnce } from '../deeds/deed-record.ts'
import type { Deed } from '../deeds/deeds.ts'
import { ownLedgerIn } from '../deeds/own-ledger-postgres.ts'
import { readArchive, writeArchive } from './archive-file.ts'
import { isKept, keptSql, type Manifest, type ArchivedRange, Ranges } from './format.ts'
import { lockHistory, type OwnerSession, patiently, quoted } from './owner-postgres.ts'
import { beforePartition, type Retirable } from './partitions-postgres.ts'
import { rowsOf } from './rows-postgres.ts'

export interface ArchiveParts {
  owner: OwnerSession
  /** Where the archive is to lie. */
  folder: string
}

/** An archive that was written, read again, and found to be what is in its partition. */
export interface Archived {
  path: string
  manifest: Manifest
  /** What was stored when it was written: `pg_snapshot`, and the era. */
  snapshot: string
  era: number
  /** What goes when its partition does, and how many events stay. */
  ranges: readonly ArchivedRange[]
  kept: number
}

const momentSql = `select pg_current_snapshot()::text as snapshot, (select max(era) from tidegate.eras)::int as era`

/**
 * Archives a partition as it is at one moment, and changes nothing in the database. When it resolves the archive is on the disk, and was read
 * back from there.
 * @throws TidegateError `ARCHIVE_REFUSED`, `ARCHIVE_FILE`, `ARCHIVE_ALTERED`
 */
export async function archivePartition(
  { partition, from, until }: Retirable,
  { owner, folder }: ArchiveParts,
): Promise<Archived> {
  const { query, log } = owner
  await query('begin transaction isolation level repeatable read, read only')
  const [moment] = await query<{ snapshot: string; era: number }>(momentSql)
  const rows = rowsOf(owner, partition)
  const written = await writeArchive({ partition, from, until, rows, folder, log })
  await query('commit')
  const ranges = new Ranges()
  let kept = 0
  for await (const row of readArchive(written.path, written.manifest)) {
    if (isKept(row)) kept++
    else ranges.add(row)
  }
  log.debug({ step: 'archive verified' })
  return { ...written, ...(moment as { snapshot: string; era: number }), ranges: ranges.list, kept }
}

/** As the record of the deed has them. */
interface RetireRequest {
  partition: string
  file: string
  sha256: string
}

export interface Retired {
  /** Events that are in the archive, and of these those that stay in history as well. */
  events: number
  kept: number
}

/**
 * Puts on record who retires a partition, why, and where it is, and drops it: in one transaction (G8). What the rest of history rests on stays.
 * Others stand still for as long as that takes, which depends on how many ranges are in it, and not on how much.
 * @throws TidegateError `PARTITION_CHANGED`: something was stored in it since it was archived; `HISTORY_LOCKED`, `DEED_INVALID`
 */
export async function retirePartition(
  { manifest, snapshot, era, ranges, kept }: Archived,
  deed: Omit<Deed<unknown>, 'request'>,
  owner: OwnerSession,
): Promise<Retired> {
  const { partition, file, sha256, events } = manifest
  const request: RetireRequest = { partition, file, sha256 }
  return patiently(owner, () =>
    doOnce('retire', { ...deed, request }, owner, async (tx) => {
      await lockHistory(tx, partition)
      owner.log.debug({ step: 'retire: locked' })
      await refuseNewer(tx, partition, { snapshot, era })
      await drop(tx, partition, manifest)
      owner.log.debug({ step: 'retire: dropped' })
      await record(tx, deed.key, manifest, ranges, owner)
      owner.log.debug({ step: 'retire: recorded' })
      return { events, kept }
    }),
  )
}

// Rows are stored with the ID of their transaction: what was not to be seen then is new, however few of how many it is.
const newerSql = (partition: string): string => `
select from tidegate.${quoted(partition)} where era > $2
union all
select from tidegate.${quoted(partition)}
where era = $2 and tx >= pg_snapshot_xmin($1::pg_snapshot) and not pg_visible_in_snapshot(tx, $1::pg_snapshot) limit 1`

async function refuseNewer(
  tx: Transaction,
  partition: string,
  { snapshot, era }: Pick<Archived, 'snapshot' | 'era'>,
): Promise<void> {
  const { rowCount } = await tx.query(newerSql(partition), [snapshot, era])
  if (rowCount === 0) return
  throw new TidegateError('PARTITION_CHANGED', {
    message: `something was stored in ${partition} after it was archived: nothing was dropped`,
    retryable: true,
    hint: 'archive it again, when what was late has come in',
  })
}

export const columns = [
  'position', 'gateway', 'epoch', 'sequence', 'source', 'id', 'type', 'subject', 'dataschema', 'time',
  'recorded_time', 'stored_time', 'disposition', 'reason', 'body', 'era', 'tx',
].join(', ') // prettier-ignore

async function drop(tx: Transaction, partition: string, { until }: Manifest): Promise<void> {
  const table = `tidegate.${quoted(partition)}`
  await tx.query(`create table tidegate.kept_of_retired (like tidegate.events)`)
  await tx.query(
    `insert into tidegate.kept_of_retired (${columns}) select ${columns} from ${table} where ${keptSql}`,
  )
  await tx.query(`drop table ${table}`)
  if (partition === beforePartition) {
    // Clocks that begin in 1970 have a place, always.
    await tx.query('select tidegate.make_partition($1)', [partition])
    await tx.query(
      `alter table tidegate.events attach partition ${table} for values from (minvalue) to ('${until}')`,
    )
    await tx.query(
      `create trigger skip_retired before insert on ${table} for each row execute function tidegate.skip_retired()`,
    )
  }
  // Into the partition that has what belongs to no other, or into that one.
  await tx.query(`insert into tidegate.events (${columns}) select ${columns} from tidegate.kept_of_retired`)
  await tx.query('drop table tidegate.kept_of_retired')
}

const retirementSql = `
insert into tidegate.retirements (retirement, partition, from_time, until_time, file, sha256, events)
values ($1, $2, coalesce($3::timestamptz, '-infinity'), $4, $5, $6, $7)`

const rangesSql = `
insert into tidegate.retired (retirement, gateway, epoch, from_sequence, to_sequence, chain, event_epoch, event_sequence)
select $1, gateway, epoch, from_sequence, to_sequence, chain, $2, $3
from unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]) as s (gateway, epoch, from_sequence, to_sequence, chain)`

/** So that an event of the ledger stays below 100 KB. */
const rangesPerEvent = 500

async function record(
  tx: Transaction,
  deed: string,
  { partition, from, until, file, sha256, events }: Manifest,
  ranges: readonly ArchivedRange[],
  { clock, random }: Pick<OwnerSession, 'clock' | 'random'>,
): Promise<void> {
  await tx.query(retirementSql, [deed, partition, from, until, file, sha256, events])
  const partsCount = Math.max(1, Math.ceil(ranges.length / rangesPerEvent))
  for (let part = 0; part < partsCount; part++) {
    const some = ranges.slice(part * rangesPerEvent, (part + 1) * rangesPerEvent)
    const nowMs = clock.now()
    const named = some.map(({ gateway, epoch, from, to, chain }) => ({ gateway, epoch, from, to, chain }))
    const about = { deed, partition, from, until, file, sha256, events, part: part + 1, parts: partsCount }
    const [written] = await ownLedgerIn(tx, random).append(nowMs, [
      {
        id: `retired-${deed}-${part + 1}`,
        source: `/gateways/${cloudLedger}`,
        partitionkey: cloudLedger,
        type: retiredType,
        time: new Date(nowMs).toISOString(),
        data: { ...about, ranges: named },
      },
    ])
    if (!written) throw new Error('nothing was written')
    await tx.query(rangesSql, [
      deed,
      written.event.epoch,
      written.event.sequence,
      some.map(({ gateway }) => gateway),
      some.map(({ epoch }) => epoch),
      some.map((range) => range.from),
      some.map((range) => range.to),
      some.map(({ chain }) => chain),
    ])
  }
}
