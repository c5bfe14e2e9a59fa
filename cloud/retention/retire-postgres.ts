import { isDeepStrictEqual } from 'node:util'
import { cloudLedger, retiredType } from '../../src/contract/event.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { placeText } from '../audit/event.ts'
import type { Transaction } from '../database/storage.ts'
import { doOnce } from '../deeds/deed-record.ts'
import type { Deed } from '../deeds/deeds.ts'
import { ownLedgerIn } from '../deeds/own-ledger-postgres.ts'
import { altered, refuseOther, removeArchive, stampOf, writeArchive } from './archive-file.ts'
import { readArchive, readManifest } from './archive-reading.ts'
import { drop, keepAcceptances, keepSettledAcceptances } from './drop-postgres.ts'
import {
  type ArchivedRange,
  type Examined,
  type Faulty,
  faultyMax,
  isKept,
  type Manifest,
  placeKey,
  Ranges,
} from './format.ts'
import { lockHistory, type OwnerSession, patiently, quoted } from './owner-postgres.ts'
import type { Retirable } from './partitions-postgres.ts'
import {
  forgetGathered,
  gatheredRepeats,
  gatherMore,
  gatherRepeats,
  recordRepeats,
  type Repeats,
} from './repeats-postgres.ts'
import { type Moment, readMoment, rowsOf } from './rows-postgres.ts'

export interface ArchiveParts {
  owner: OwnerSession
  /** Where the archive is to lie. */
  folder: string
  /** Archive a partition in which something is not as it was written: those events stay in history, where the audit names them. */
  keepFaulty: boolean
}

/** An archive that was written, read again, and found to be what is in its partition. */
export interface Archived {
  path: string
  manifest: Manifest
  /** What was stored then is in it. */
  moment: Moment
  /** What goes when its partition does, and how many events stay. */
  ranges: readonly ArchivedRange[]
  kept: number
  /** Of its files, as they were when they were read back. */
  stamp: string
  /** It was not there before. */
  isNew: boolean
}

/**
 * Archives a partition as it is at one moment, and changes nothing in the database. When it resolves the archive is on the disk, and was read
 * back, and so was its manifest.
 * @throws TidegateError `ARCHIVE_REFUSED`: something is not as it was written; `ARCHIVE_FILE`, `ARCHIVE_ALTERED`: the archive or its manifest on
 *   the disk is not what was written
 */
export async function archivePartition(
  { partition, from, until }: Retirable,
  { owner, folder, keepFaulty }: ArchiveParts,
): Promise<Archived> {
  const { query, log } = owner
  const moment = await readMoment(query)
  const rows = refusingFaulty(rowsOf(owner, partition, moment), keepFaulty ? faultyMax : 0)
  const written = await writeArchive({ partition, from, until, rows, folder, log })
  const faulty = new Set(written.manifest.faulty.map(placeKey))
  const stamp = await stampOf(written.path)
  const { manifest } = await readManifest(written.path)
  if (!isDeepStrictEqual(manifest, written.manifest))
    throw altered(written.path, 'its manifest is not what was written')
  const ranges = new Ranges()
  let kept = 0
  for await (const examined of readArchive(written.path, written.manifest)) {
    if (isKept(examined.row) || faulty.has(placeKey(examined.row))) kept++
    else ranges.add(examined)
  }
  log.debug({ step: 'archive verified' })
  await refuseOther(written.path, stamp)
  return { ...written, moment, ranges: ranges.list, kept, stamp }
}

/** What is not as it was written makes no archive that says so of it as if it were. */
async function* refusingFaulty(rows: AsyncIterable<Examined>, max: number): AsyncGenerator<Examined> {
  let count = 0
  for await (const examined of rows) {
    const { row, fault } = examined
    if (fault !== undefined && ++count > max) throw refused({ ...row, detail: fault.detail }, max)
    yield examined
  }
}

function refused(faulty: Faulty, max: number): TidegateError {
  const many = max === 0 ? '' : `more than ${max} events are not as they were written, and so is `
  return new TidegateError('ARCHIVE_REFUSED', {
    message: `${many}${placeText(faulty)} is not as it was written: ${faulty.detail}`,
    retryable: false,
    hint: 'see what tidegate audit says of this ledger, and restore the event from a backup; if that cannot be: --keep-faulty archives the rest, and what is faulty stays in history; nothing was archived or dropped',
  })
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
 * @throws TidegateError `PARTITION_CHANGED`: something was stored in it since it was archived; `PARTITION_DEPENDED`: something else rests on it;
 *   `ARCHIVE_FILE`, `ARCHIVE_ALTERED`: the archive is not the one that was verified; `HISTORY_LOCKED`, `HISTORY_SLOW`, `DEED_INVALID`
 */
export async function retirePartition(
  archived: Archived,
  deed: Omit<Deed<unknown>, 'request'>,
  owner: OwnerSession,
): Promise<Retired> {
  const { path, manifest, ranges, kept, stamp } = archived
  const { partition, file, sha256, events } = manifest
  const request: RetireRequest = { partition, file, sha256 }
  // What is asked while others wait is asked of an index, and as little of it as can be.
  await owner.query(`analyze tidegate.${quoted(partition)}`)
  await keepSettledAcceptances(owner, ranges)
  const since = await gatherRepeats(owner, partition)
  const retire = async (tx: Transaction): Promise<Retired> => {
    await lockHistory(tx, partition)
    owner.log.debug({ step: 'retire: locked' })
    for (const setting of whileLocked) await tx.query(`set local ${setting}`)
    await refuseNewer(tx, archived)
    await refuseOther(path, stamp)
    await keepAcceptances(tx, ranges)
    await gatherMore(tx, partition, since)
    const repeats = await gatheredRepeats(tx)
    await drop(tx, manifest)
    owner.log.debug({ step: 'retire: dropped' })
    await record(tx, { deed: deed.key, manifest, repeats, ranges }, owner)
    owner.log.debug({ step: 'retire: recorded' })
    return { events, kept }
  }
  try {
    return await patiently(owner, () => doOnce('retire', { ...deed, request }, owner, retire))
  } catch (error) {
    throw refusal(error, partition) ?? error
  } finally {
    // A connection that is gone says so itself.
    await forgetGathered(owner.query).catch(() => {})
  }
}

/** Others wait: what would read much of a table, or take its time to be compiled, is not chosen, and what hangs ends. */
export const whileLocked = ['enable_seqscan = off', 'jit = off', `statement_timeout = '20s'`] as const

/** SQLSTATE. */
const dependentObjects = '2BP01'
const queryCanceled = '57014'

function refusal(error: unknown, partition: string): TidegateError | undefined {
  const code = codeOf(error)
  if (code === dependentObjects) {
    const { detail = '' } = error as { detail?: string }
    return new TidegateError('PARTITION_DEPENDED', {
      message: `${partition} is not dropped, for something rests on it: ${detail.split('\n').join('; ')}`,
      retryable: false,
      hint: 'drop that, or let it read tidegate.events, and archive the partition again; nothing was dropped',
      cause: error,
    })
  }
  if (code !== queryCanceled) return undefined
  return new TidegateError('HISTORY_SLOW', {
    message: `${partition} is not dropped: it took longer than others are to wait for that`,
    retryable: true,
    hint: 'run it again when PostgreSQL has less to do; nothing was dropped',
    cause: error,
  })
}

// Rows are stored with the ID of their transaction: what was not to be seen then is new, however few of how many it is.
const newerSql = (partition: string): string => `
select from tidegate.${quoted(partition)} where era > $2
union all
select from tidegate.${quoted(partition)}
where era = $2 and tx >= pg_snapshot_xmin($1::pg_snapshot) and not pg_visible_in_snapshot(tx, $1::pg_snapshot) limit 1`

async function refuseNewer(
  tx: Transaction,
  { path, isNew, manifest: { partition }, moment: { snapshot, era } }: Archived,
): Promise<void> {
  const { rowCount } = await tx.query(newerSql(partition), [snapshot, era])
  if (rowCount === 0) return
  // It would lie beside the one that comes to be valid. One that was there before is somebody's.
  if (isNew) await removeArchive(path)
  throw new TidegateError('PARTITION_CHANGED', {
    message: `something was stored in ${partition} after it was archived: nothing was dropped`,
    retryable: true,
    hint: 'archive it again, when what was late has come in',
  })
}

const retirementSql = `
insert into tidegate.retirements (retirement, partition, from_time, until_time, file, sha256, events, repeats, repeats_sha256)
values ($1, $2, coalesce($3::timestamptz, '-infinity'), $4, $5, $6, $7, $8, $9)`

const rangesSql = `
insert into tidegate.retired (retirement, gateway, epoch, from_sequence, to_sequence, chain_before, chain, event_epoch, event_sequence)
select $1, gateway, epoch, from_sequence, to_sequence, chain_before, chain, $2, $3
from unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
  as s (gateway, epoch, from_sequence, to_sequence, chain_before, chain)`

/** So that an event of the ledger stays small: some 100 KB, 140 at the most. */
const rangesPerEvent = 500

interface ToRecord {
  deed: string
  manifest: Manifest
  repeats: Repeats
  ranges: readonly ArchivedRange[]
}

async function record(
  tx: Transaction,
  { deed, manifest, repeats, ranges }: ToRecord,
  { clock, random }: Pick<OwnerSession, 'clock' | 'random'>,
): Promise<void> {
  const { partition, from, until, file, sha256, events, faulty } = manifest
  const counted = [repeats.count, repeats.sha256]
  await tx.query(retirementSql, [deed, partition, from, until, file, sha256, events, ...counted])
  await recordRepeats(tx, deed)
  const said = { deed, partition, from, until, file, sha256, events, faulty: faulty.length, repeats }
  const partsCount = Math.max(1, Math.ceil(ranges.length / rangesPerEvent))
  for (let part = 0; part < partsCount; part++) {
    const some = ranges.slice(part * rangesPerEvent, (part + 1) * rangesPerEvent)
    const nowMs = clock.now()
    const [written] = await ownLedgerIn(tx, random).append(nowMs, [
      {
        id: `retired-${deed}-${part + 1}`,
        source: `/gateways/${cloudLedger}`,
        partitionkey: cloudLedger,
        type: retiredType,
        time: new Date(nowMs).toISOString(),
        data: { ...said, part: part + 1, parts: partsCount, ranges: some },
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
      some.map(({ before }) => before),
      some.map(({ chain }) => chain),
    ])
  }
}
