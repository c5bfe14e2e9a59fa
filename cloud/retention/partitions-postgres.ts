import { TidegateError } from '../../src/errors.ts'
import { keptSql } from './format.ts'
import { indexesOf } from './indexes-postgres.ts'
import { type OwnerSession, type Query, quoted } from './owner-postgres.ts'

/** The partition of what belongs to no other, and that of what was recorded before there were partitions, or by a clock in 1970. */
export const otherPartition = 'events_other'
export const beforePartition = 'events_before'

/** A partition of history, as `tidegate history partitions` tells of it. */
export interface PartitionStanding {
  partition: string
  /** RFC 3339; null: without an end on that side. */
  from: string | null
  until: string | null
  /** How many, and whether they were counted, or are as of the last analysis of the table. */
  events: number
  isCounted: boolean
  /** With indexes. */
  bytes: number
  /** When the newest was stored; null: none is. */
  newestStored: string | null
  /** When the oldest and the newest were recorded; null: not counted, or none. */
  oldestRecorded: string | null
  newestRecorded: string | null
  missingIndexes: string[]
  /** All that is in it stayed when it was retired before. */
  isLeftOver: boolean
}

/** One that has an end. */
export type Retirable = PartitionStanding & { until: string }

const timeText = (time: string): string =>
  `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const partitionsSql = `
select p.partition, case when isfinite(p.from_time) then ${timeText('p.from_time')} end as "from",
       case when isfinite(p.until_time) then ${timeText('p.until_time')} end as until,
       p.about_events::float8 as events, p.bytes::float8 as bytes
from tidegate.partitions as p order by p.from_time, p.until_time`

const newestSql = (partition: string): string => `
select ${timeText('stored_time')} as stored from tidegate.${quoted(partition)} order by era desc, tx desc, position desc limit 1`

// What stayed has the time at which it was stored; its types are known.
const newSinceSql = `
select from tidegate.${beforePartition}
where not ${keptSql} and stored_time > coalesce(
  (select max(retired_at) from tidegate.retirements where partition = '${beforePartition}'), '-infinity') limit 1`

const countSql = (partition: string): string => `
select count(*)::float8 as events, ${timeText('min(recorded_time)')} as oldest, ${timeText('max(recorded_time)')} as newest
from tidegate.${quoted(partition)}`

/**
 * All partitions, the oldest first. `events_other` is counted, for little should be in it; the others where it is asked for, which reads
 * them whole.
 */
export async function listPartitions(
  query: Query,
  { count }: { count: boolean },
): Promise<PartitionStanding[]> {
  const listed: PartitionStanding[] = []
  for (const row of await query<Listed>(partitionsSql)) {
    const { partition } = row
    const missingIndexes = (await indexesOf(query, partition)).missing.map(({ name }) => name)
    // Without its order it would be read whole.
    const isOrdered = !missingIndexes.includes(`${partition}_order`)
    const [newest] = isOrdered ? await query<{ stored: string }>(newestSql(partition)) : []
    const isCounted = count || partition === otherPartition
    const [counted] = isCounted ? await query<Counted>(countSql(partition)) : []
    listed.push({
      ...row,
      events: counted?.events ?? row.events,
      isCounted,
      newestStored: newest?.stored ?? null,
      oldestRecorded: counted?.oldest ?? null,
      newestRecorded: counted?.newest ?? null,
      missingIndexes,
      isLeftOver: partition === beforePartition && (await query(newSinceSql)).length === 0,
    })
  }
  return listed
}

type Listed = Pick<PartitionStanding, 'partition' | 'from' | 'until' | 'events' | 'bytes'>

interface Counted {
  events: number
  oldest: string | null
  newest: string | null
}

/** The time of the database: that of whoever asks may be wrong, and something would be due that is not. */
export async function nowOf(query: Query): Promise<number> {
  const [row] = await query<{ nowMs: number }>(
    'select extract(epoch from clock_timestamp())::float8 * 1000 as "nowMs"',
  )
  return row?.nowMs ?? NaN
}

const clocksApartMaxMs = 3_600_000
const idleMaxMs = 30 * 24 * 3_600_000

/**
 * By which something is due: the time of the database, if it is near that of whoever asks, and history is not much older than that. One
 * clock that is ahead would make all of history due.
 * @param listed all partitions, as `listPartitions` tells of them
 * @throws TidegateError `CLOCK_DOUBTED`
 */
export async function dueTime(
  { query, clock }: Pick<OwnerSession, 'query' | 'clock'>,
  listed: readonly PartitionStanding[],
): Promise<number> {
  const nowMs = await nowOf(query)
  const at = new Date(nowMs).toISOString()
  if (!(Math.abs(nowMs - clock.now()) <= clocksApartMaxMs))
    throw doubted(`it is ${at} by the clock of the database, and ${new Date(clock.now()).toISOString()} here`)
  const stored = listed.map(({ newestStored }) => Date.parse(newestStored ?? '')).filter((ms) => ms > 0)
  const newestMs = Math.max(...stored)
  if (stored.length > 0 && newestMs < nowMs - idleMaxMs)
    throw doubted(
      `it is ${at} by the clock of the database, and the newest event was stored ${new Date(newestMs).toISOString()}`,
    )
  return nowMs
}

function doubted(message: string): TidegateError {
  return new TidegateError('CLOCK_DOUBTED', {
    message,
    retryable: false,
    hint: 'put the clock right that is wrong; if none is, and nothing has come for so long, name each partition with --partition: nothing was archived or dropped',
  })
}

/** An archive that can be read in `tidegate.archived`, or whose attaching was broken off. */
export interface Attachment {
  archive: string
  events: number
  /** null: it was broken off; attach it again, or detach it. */
  attached: string | null
  /** Of a partition that was retired here. */
  isOurs: boolean
}

const attachmentsSql = `
select a.archive, a.events::float8 as events, ${timeText('a.attached_at')} as attached, a.retirement is not null as "isOurs"
from tidegate.attachments as a
union all
select obj_description(c.oid), greatest(c.reltuples, 0)::float8, null, false from pg_class as c
where c.relnamespace = 'tidegate'::regnamespace and c.relname like 'archived\\_%' and c.relkind = 'r' and not c.relispartition
order by archive`

export function listAttachments(query: Query): Promise<Attachment[]> {
  return query<Attachment>(attachmentsSql)
}

/** Why events are in `events_other`, and how many of each kind. */
export interface OtherEvents {
  /** What the rest of history rests on stays when its partition goes. */
  kept: number
  /** Recorded in a time whose partition was retired, and stored since. */
  late: number
  /** Recorded by a clock that is ahead of the weeks that are prepared. */
  ahead: number
}

const othersSql = `
with bounds as (select max(until_time) as until from tidegate.partitions where partition <> '${otherPartition}')
select count(*) filter (where recorded_time >= until)::float8 as ahead,
       count(*) filter (where recorded_time < until and ${keptSql})::float8 as kept,
       count(*) filter (where recorded_time < until and not ${keptSql})::float8 as late
from tidegate.${otherPartition} cross join bounds`

export async function otherEvents(query: Query): Promise<OtherEvents> {
  const [row] = await query<OtherEvents>(othersSql)
  return row ?? { kept: 0, late: 0, ahead: 0 }
}

/**
 * Whether a partition may be retired: nothing was recorded or stored in it for `olderThanMs`. `events_other` never is: what is in it
 * may be from a clock that is wrong, and its age says nothing.
 */
export function isDue(
  standing: PartitionStanding,
  { nowMs, olderThanMs }: { nowMs: number; olderThanMs: number },
): standing is Retirable {
  const { partition, until, newestStored, missingIndexes, isLeftOver } = standing
  const isOld = (time: string | null): boolean => time === null || Date.parse(time) < nowMs - olderThanMs
  // What is not indexed is not known to be old.
  if (partition === otherPartition || until === null || missingIndexes.length > 0) return false
  // One that is always there has nothing to be retired for if nothing is in it.
  if (isLeftOver) return false
  return isOld(until) && isOld(newestStored)
}

/** @throws TidegateError `PARTITION_UNKNOWN`, `PARTITION_UNINDEXED`: this one cannot be retired */
export function retirable(
  partition: string,
  partitions: readonly PartitionStanding[],
  nowMs: number,
): Retirable {
  const standing = partitions.find((one) => one.partition === partition)
  if (standing === undefined) throw unfit(`there is no partition ${partition}`)
  const { until, missingIndexes } = standing
  if (partition === otherPartition || until === null)
    throw unfit(`${partition} is never retired: what is in it belongs to no week`)
  if (Date.parse(until) > nowMs) throw unfit(`${partition} still takes what is recorded until ${until}`)
  if (missingIndexes.length > 0) {
    throw new TidegateError('PARTITION_UNINDEXED', {
      message: `${partition} lacks indexes: ${missingIndexes.join(', ')}`,
      retryable: false,
      hint: 'run tidegate history index first',
    })
  }
  return { ...standing, until }
}

function unfit(message: string): TidegateError {
  return new TidegateError('PARTITION_UNKNOWN', {
    message,
    retryable: false,
    hint: 'tidegate history partitions lists those there are',
  })
}
