import { acceptanceType, cloudLedger, retiredType } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { doOnce } from '../deeds/deed-record.ts'
import type { Deed } from '../deeds/deeds.ts'
import { ownLedgerIn } from '../deeds/own-ledger-postgres.ts'
import { readArchive, removeArchive, writeArchive } from './archive-file.ts'
import {
  type ArchivedRange,
  type Examined,
  type Faulty,
  faultyMax,
  isKept,
  keptSql,
  type Manifest,
  placeKey,
  Ranges,
} from './format.ts'
import { lockHistory, type OwnerSession, patiently, quoted } from './owner-postgres.ts'
import { beforePartition, type Retirable } from './partitions-postgres.ts'
import { both, type Repeats, repeatsIn } from './repeats-postgres.ts'
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
  /** Of those that had been noted; what was noted since then may not have been looked at, by the clock of the database. */
  repeats: Repeats | undefined
  repeatsSince: string
}

/**
 * Archives a partition as it is at one moment, and changes nothing in the database. When it resolves the archive is on the disk, and was read
 * back.
 * @throws TidegateError `ARCHIVE_REFUSED`, `ARCHIVE_FILE`, `ARCHIVE_ALTERED`
 */
export async function archivePartition(
  { partition, from, until }: Retirable,
  { owner, folder, keepFaulty }: ArchiveParts,
): Promise<Archived> {
  const { query, storage, log, signal } = owner
  const moment = await readMoment(query)
  const rows = refusingFaulty(rowsOf(owner, partition, moment), keepFaulty ? faultyMax : 0)
  const written = await writeArchive({ partition, from, until, rows, folder, log })
  const faulty = new Set(written.manifest.faulty.map(placeKey))
  const ranges = new Ranges()
  let kept = 0
  for await (const examined of readArchive(written.path, written.manifest)) {
    if (isKept(examined.row) || faulty.has(placeKey(examined.row))) kept++
    else ranges.add(examined)
  }
  log.debug({ step: 'archive verified' })
  const [now] = await query<{ since: string }>(sinceSql)
  const repeats = await storage.transaction((tx) => repeatsIn(tx, partition, '-infinity'), signal)
  return { ...written, moment, ranges: ranges.list, kept, repeats, repeatsSince: now?.since ?? '-infinity' }
}

// A note is dated in its transaction, which may be committed later: none lasts as long as this.
const sinceSql = `select (clock_timestamp() - interval '1 hour')::text as since`

/** What is not as it was written makes no archive that says so of it as if it were. */
async function* refusingFaulty(rows: AsyncIterable<Examined>, max: number): AsyncGenerator<Examined> {
  let count = 0
  for await (const examined of rows) {
    const { row, fault } = examined
    if (fault !== undefined && ++count > max) throw refused({ ...row, detail: fault.detail }, max)
    yield examined
  }
}

function refused({ gateway, epoch, sequence, detail }: Faulty, max: number): TidegateError {
  const many = max === 0 ? '' : `more than ${max} events are not as they were written, and so is `
  return new TidegateError('ARCHIVE_REFUSED', {
    message: `${many}${gateway}/${epoch}/${sequence} is not as it was written: ${detail}`,
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
 * @throws TidegateError `PARTITION_CHANGED`: something was stored in it since it was archived; `HISTORY_LOCKED`, `DEED_INVALID`
 */
export async function retirePartition(
  archived: Archived,
  deed: Omit<Deed<unknown>, 'request'>,
  owner: OwnerSession,
): Promise<Retired> {
  const { manifest, ranges, kept } = archived
  const { partition, file, sha256, events } = manifest
  const request: RetireRequest = { partition, file, sha256 }
  // What is asked while others wait is asked of an index.
  await owner.query(`analyze tidegate.${quoted(partition)}`)
  return patiently(owner, () =>
    doOnce('retire', { ...deed, request }, owner, async (tx) => {
      await lockHistory(tx, partition)
      owner.log.debug({ step: 'retire: locked' })
      await tx.query('set local enable_seqscan = off')
      await refuseNewer(tx, archived)
      await keepAcceptances(tx, ranges)
      const repeats = both(archived.repeats, await repeatsIn(tx, partition, archived.repeatsSince))
      await drop(tx, manifest)
      owner.log.debug({ step: 'retire: dropped' })
      await record(tx, { deed: deed.key, manifest, repeats: repeats ?? null, ranges }, owner)
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
  { path, manifest: { partition }, moment: { snapshot, era } }: Archived,
): Promise<void> {
  const { rowCount } = await tx.query(newerSql(partition), [snapshot, era])
  if (rowCount === 0) return
  // It would lie beside the one that comes to be valid.
  await removeArchive(path)
  throw new TidegateError('PARTITION_CHANGED', {
    message: `something was stored in ${partition} after it was archived: nothing was dropped`,
    retryable: true,
    hint: 'archive it again, when what was late has come in',
  })
}

// What is asked of an acceptance is asked once, and what was answered is not answered otherwise.
const acceptancesSql = `
insert into tidegate.accepted_through (event_epoch, event_sequence, reached)
select a.epoch, a.sequence, known.reached
from tidegate.events as a
join (select distinct * from unnest($1::text[], $2::text[])) as l (gateway, epoch)
  on l.gateway = a.body -> 'data' ->> 'gateway' and l.epoch = a.body -> 'data' ->> 'epoch'
cross join lateral (
  select sequence as reached from tidegate.events as e
  where e.gateway = l.gateway and e.epoch = l.epoch and e.stored_time <= a.stored_time order by e.sequence desc limit 1) as known
where a.gateway = '${cloudLedger}' and a.type = '${acceptanceType}'
on conflict do nothing`

/** How far a ledger was known when a loss of it was accepted is shown by events that go now. */
async function keepAcceptances(tx: Transaction, ranges: readonly ArchivedRange[]): Promise<void> {
  await tx.query(acceptancesSql, [ranges.map(({ gateway }) => gateway), ranges.map(({ epoch }) => epoch)])
}

const columns = [
  'position', 'gateway', 'epoch', 'sequence', 'source', 'id', 'type', 'subject', 'dataschema', 'time',
  'recorded_time', 'stored_time', 'disposition', 'reason', 'body', 'era', 'tx',
].join(', ') // prettier-ignore

async function drop(tx: Transaction, { partition, until, faulty }: Manifest): Promise<void> {
  const table = `tidegate.${quoted(partition)}`
  await tx.query(`create table tidegate.kept_of_retired (like tidegate.events)`)
  const of = (key: keyof Faulty): unknown[] => faulty.map((one) => one[key])
  await tx.query(
    `insert into tidegate.kept_of_retired (${columns}) select ${columns} from ${table}
     where ${keptSql} or (gateway, epoch, sequence) in (select * from unnest($1::text[], $2::text[], $3::bigint[]))`,
    [of('gateway'), of('epoch'), of('sequence')],
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
insert into tidegate.retirements (retirement, partition, from_time, until_time, file, sha256, events, repeats_from, repeats_until)
values ($1, $2, coalesce($3::timestamptz, '-infinity'), $4, $5, $6, $7, $8, $9)`

const rangesSql = `
insert into tidegate.retired (retirement, gateway, epoch, from_sequence, to_sequence, chain_before, chain, event_epoch, event_sequence)
select $1, gateway, epoch, from_sequence, to_sequence, chain_before, chain, $2, $3
from unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
  as s (gateway, epoch, from_sequence, to_sequence, chain_before, chain)`

/** So that an event of the ledger stays below 100 KB. */
const rangesPerEvent = 500

interface ToRecord {
  deed: string
  manifest: Manifest
  repeats: Repeats | null
  ranges: readonly ArchivedRange[]
}

async function record(
  tx: Transaction,
  { deed, manifest, repeats, ranges }: ToRecord,
  { clock, random }: Pick<OwnerSession, 'clock' | 'random'>,
): Promise<void> {
  const { partition, from, until, file, sha256, events, faulty } = manifest
  const span = [repeats?.from ?? null, repeats?.until ?? null]
  await tx.query(retirementSql, [deed, partition, from, until, file, sha256, events, ...span])
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
