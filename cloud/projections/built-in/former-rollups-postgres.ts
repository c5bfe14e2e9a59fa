import { codeOf } from '../../../src/errors.ts'
import type { Clock } from '../../../src/clock.ts'
import type { Logger } from '../../../src/log.ts'
import type { Database } from '../../database/database-postgres.ts'
import type { Storage, Transaction } from '../../database/storage.ts'
import { showRollups } from '../view-postgres.ts'

export interface LettingGoOptions {
  storage: Storage
  clock: Clock
  log: Logger
}

/** Of one transaction: readers of history wait for as long as one takes. */
const bucketsMax = 2_000
const pauseMs = 50
/** The projection is built meanwhile, or the database is away. */
const lookEveryMs = 10_000
/** What is covered is kept for days. */
const keepLookEveryMs = 600_000

// By index, whatever the plan is made of: a table that is read whole for each step takes days where there are many buckets.
const byIndexSql = `
select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true)`

// Whoever else is at it has the row, and is not to be waited for.
const placeSql = `
select device, type, field, width, bucket::text as bucket from tidegate.former_rollups where done_at is null for update skip locked`

// Instances of the version before count there still.
const othersSql = `
select exists (select from tidegate.members where consumer_group = 'rollups' and seen_at > clock_timestamp() - interval '1 minute') as there`

const liveSql = `
select p.active as version from tidegate.projections as p join tidegate.projection_versions as v on v.name = p.name and v.version = p.active
where p.name = 'rollups' and v.live_at is not null`

const stepSql = `
with next as materialized (
  select device, type, field, width, bucket from tidegate.rollup_buckets as b
  where $1::text is null or (b.device, b.type, b.field, b.width, b.bucket) > ($1, $2, $3, $4, $5::timestamptz)
  order by device, type, field, width, bucket limit $6),
gone as (
  delete from tidegate.rollup_buckets as b using next as n join projection.rollups as p using (device, type, field, width, bucket)
  where (b.device, b.type, b.field, b.width, b.bucket) = (n.device, n.type, n.field, n.width, n.bucket)
    and p.count >= b.count and p.min <= b.min and p.max >= b.max
  returning b.device, b.type, b.field, b.width, b.bucket, b.count, b.min, b.max, b.sum, b.last, b.last_time),
kept as (
  insert into tidegate.covered_rollups (device, type, field, width, bucket, count, min, max, sum, last, last_time) select * from gone),
sums as (select (select count(*) from next) as compared, (select count(*) from gone) as let_go),
last as (select device, type, field, width, bucket from next order by device desc, type desc, field desc, width desc, bucket desc limit 1)
update tidegate.former_rollups as f
set device = coalesce(l.device, f.device), type = coalesce(l.type, f.type), field = coalesce(l.field, f.field),
  width = coalesce(l.width, f.width), bucket = coalesce(l.bucket, f.bucket),
  compared = f.compared + s.compared, let_go = f.let_go + s.let_go,
  done_at = case when s.compared < $6 then clock_timestamp() end,
  keep_until = case when s.compared < $6 then coalesce(f.keep_until, clock_timestamp() + interval '30 days') else f.keep_until end
from sums as s left join last as l on true
returning f.compared::float8 as compared, f.let_go::float8 as "letGo", f.done_at is not null as done`

// In the order in which they were put there: none is looked for.
const forgetSql = `
with old as (delete from tidegate.covered_rollups where ctid = any(array(select ctid from tidegate.covered_rollups limit $1)) returning device),
forgotten as (select count(*) as rows from old)
update tidegate.former_rollups set kept = (select rows from forgotten) = $1 returning kept`

interface Step {
  compared: number
  letGo: number
  done: boolean
}

/**
 * Compares what was counted before rollups were a projection with what the projection has counted, bucket by bucket, once it has come to
 * the end of history, and sets aside what that has as well: it is kept for 30 days, for who goes back. The rest stays, and is shown: history
 * has its events no more. Each step is one transaction, so that whoever is killed goes on where the last one ended.
 */
export function startLettingGo({ storage, clock, log }: LettingGoOptions): { close(): Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const step = await storage.transaction(lettingGo, signal)
        if (step === 'nothing') return
        if (typeof step === 'object' && step.done) tell(step)
        await clock.sleep(waitMsAfter(step), signal)
      } catch (error) {
        if (signal.aborted) return
        log.warn({ code: codeOf(error) }, 'rollups of before are compared later')
        await clock.sleep(lookEveryMs, signal).catch(() => {})
      }
    }
  }
  function tell({ compared, letGo }: Step): void {
    log.info(
      { compared, covered: letGo, kept: compared - letGo },
      'rollups of before are compared with those of history: what those have as well is shown from there, and kept for 30 days',
    )
  }
  const running = run()
  return {
    close() {
      stopping.abort()
      return running
    },
  }
}

type Stepped = Step | 'later' | 'kept' | 'forgetting' | 'nothing'

function waitMsAfter(step: Stepped): number {
  if (step === 'later') return lookEveryMs
  return step === 'kept' ? keepLookEveryMs : pauseMs
}

/** Whether this installation has rollups, of whatever version. */
export async function hadRollups(database: Pick<Database, 'query'>): Promise<boolean> {
  const sql = `select from tidegate.former_rollups union all select from tidegate.projections where name = 'rollups'`
  return (await database.query(sql)).length > 0
}

interface Former {
  isDone: boolean
  isKept: boolean
  isOld: boolean
}

const formerSql = `
select done_at is not null as "isDone", kept as "isKept", coalesce(keep_until < clock_timestamp(), false) as "isOld" from tidegate.former_rollups`

/**
 * One step, in a transaction. `later`: the projection has not come to the end of history, instances of before are at work, or another one
 * is at it. `kept`: all is compared, and what is covered is kept for a while.
 * @throws TidegateError `PROJECTION_IN_USE`
 */
export async function lettingGo(tx: Transaction): Promise<Stepped> {
  const [former] = (await tx.query<Former>(formerSql)).rows
  if (former === undefined || (former.isDone && !former.isKept)) return 'nothing'
  if (former.isDone) return former.isOld ? forget(tx) : 'kept'
  const [live] = (await tx.query<{ version: number }>(liveSql)).rows
  if (live === undefined || (await tx.query<{ there: boolean }>(othersSql)).rows[0]?.there !== false)
    return 'later'
  const { rows } =
    await tx.query<Record<'device' | 'type' | 'field' | 'width' | 'bucket', string | null>>(placeSql)
  const [place] = rows
  if (place === undefined) return 'later'
  const { device, type, field, width, bucket } = place
  await tx.query(byIndexSql)
  const step = await tx.query<Step>(stepSql, [device, type, field, width, bucket, bucketsMax])
  if (step.rows[0]?.done) await showRollups(tx, live.version)
  return step.rows[0] ?? 'later'
}

async function forget(tx: Transaction): Promise<Stepped> {
  const sql = 'select from tidegate.former_rollups where kept for update skip locked'
  if ((await tx.query(sql)).rowCount === 0) return 'kept'
  await tx.query(forgetSql, [bucketsMax])
  return 'forgetting'
}
