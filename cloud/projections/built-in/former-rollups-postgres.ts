import { codeOf } from '../../../src/errors.ts'
import type { Clock } from '../../../src/clock.ts'
import type { Logger } from '../../../src/log.ts'
import type { Storage, Transaction } from '../../database/storage.ts'

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

// By index, whatever the plan is made of: a table that is read whole for each step takes days where there are many buckets.
const byIndexSql = `
select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true)`

// Whoever else is at it has the row, and is not to be waited for.
const placeSql = `
select device, type, field, width, bucket::text as bucket from tidegate.former_rollups where done_at is null for update skip locked`

const liveSql = `
select exists (select from tidegate.projections as p join tidegate.projection_versions as v on v.name = p.name and v.version = p.active
  where p.name = 'rollups' and v.live_at is not null) as live`

const stepSql = `
with next as materialized (
  select device, type, field, width, bucket, count, min, max from tidegate.rollup_buckets as b
  where $1::text is null or (b.device, b.type, b.field, b.width, b.bucket) > ($1, $2, $3, $4, $5::timestamptz)
  order by device, type, field, width, bucket limit $6),
gone as (
  delete from tidegate.rollup_buckets as b using next as n join projection.rollups as p using (device, type, field, width, bucket)
  where (b.device, b.type, b.field, b.width, b.bucket) = (n.device, n.type, n.field, n.width, n.bucket)
    and p.count >= n.count and p.min <= n.min and p.max >= n.max
  returning b.device),
sums as (select (select count(*) from next) as compared, (select count(*) from gone) as let_go),
last as (select device, type, field, width, bucket from next order by device desc, type desc, field desc, width desc, bucket desc limit 1)
update tidegate.former_rollups as f
set device = coalesce(l.device, f.device), type = coalesce(l.type, f.type), field = coalesce(l.field, f.field),
  width = coalesce(l.width, f.width), bucket = coalesce(l.bucket, f.bucket),
  compared = f.compared + s.compared, let_go = f.let_go + s.let_go,
  done_at = case when s.compared < $6 then clock_timestamp() end
from sums as s left join last as l on true
returning f.compared::float8 as compared, f.let_go::float8 as "letGo", f.done_at is not null as done`

interface Step {
  compared: number
  letGo: number
  done: boolean
}

/**
 * Compares what was counted before rollups were a projection with what the projection has counted, bucket by bucket, once it has come to
 * the end of history, and lets go what that has as well. The rest stays, and is shown: history has its events no more. Each step is one
 * transaction, so that whoever is killed goes on where the last one ended.
 */
export function startLettingGo({ storage, clock, log }: LettingGoOptions): { close(): Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const step = await storage.transaction(lettingGo, signal)
        if (step === 'nothing') return
        if (step !== 'later' && step.done) return tell(step)
        await clock.sleep(step === 'later' ? lookEveryMs : pauseMs, signal)
      } catch (error) {
        if (signal.aborted) return
        log.warn({ code: codeOf(error) }, 'rollups of before are compared later')
        await clock.sleep(lookEveryMs, signal).catch(() => {})
      }
    }
  }
  function tell({ compared, letGo }: Step): void {
    log.info(
      { compared, letGo, kept: compared - letGo },
      'rollups of before are compared with those of history: what those have as well is let go',
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

/** One step, in a transaction. `later`: the projection has not come to the end of history, or another instance is at it. */
export async function lettingGo(tx: Transaction): Promise<Step | 'later' | 'nothing'> {
  const sql = 'select from tidegate.former_rollups where done_at is null'
  if ((await tx.query(sql)).rowCount === 0) return 'nothing'
  if ((await tx.query<{ live: boolean }>(liveSql)).rows[0]?.live !== true) return 'later'
  const { rows } =
    await tx.query<Record<'device' | 'type' | 'field' | 'width' | 'bucket', string | null>>(placeSql)
  const [place] = rows
  if (place === undefined) return 'later'
  const { device, type, field, width, bucket } = place
  await tx.query(byIndexSql)
  const step = await tx.query<Step>(stepSql, [device, type, field, width, bucket, bucketsMax])
  return step.rows[0] ?? 'later'
}
