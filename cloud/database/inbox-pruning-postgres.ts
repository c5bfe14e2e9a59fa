import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from './database-postgres.ts'
import { postgresStorage } from './storage-postgres.ts'
import type { Transaction } from './storage.ts'

/** Small, so that no pruning holds locks that a claim waits for. */
const rowsMax = 5_000

/**
 * By the index on age, from where the last chunk ended: entries of rows that are gone lie there until the next vacuum, and would be
 * read again by each chunk.
 */
export const pruneSql = `
with gone as (
  delete from tidegate.inbox where ctid = any (array(
    select ctid from tidegate.inbox
    where processed_at < now() - make_interval(secs => $1::float8 / 1000) and processed_at >= $2::timestamptz
    order by processed_at
    limit $3 for update skip locked))
  returning processed_at)
select count(*)::int as removed, max(processed_at)::text as newest from gone`

/**
 * Without statistics, as on a table that nobody has analysed yet, PostgreSQL would gather all that is too old, and sort it, for each
 * chunk. Our own statements are short: one that takes longer than that has met a server that hangs.
 */
const planSql = `
set local enable_sort = off;
set local enable_bitmapscan = off;
set local statement_timeout = '30s'`

/** Does what pruning does, planned as that is, in a transaction. */
export function inPruning<T>(
  database: Database,
  signal: AbortSignal,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return postgresStorage(database).transaction(async (tx) => {
    await tx.query(planSql)
    return await work(tx)
  }, signal)
}

/**
 * Forgets what was processed longer than `retentionMs` ago, the oldest first, in small chunks. A repeat that comes later than that
 * would have its effect again in groups that rely on the inbox; history does not. What somebody has locked is left for the next time.
 * @returns how many rows were removed.
 */
export async function pruneInbox(
  database: Database,
  options: { retentionMs: number; clock: Clock; signal: AbortSignal },
): Promise<number> {
  let total = 0
  let from = '-infinity'
  for (;;) {
    const values = [options.retentionMs, from, rowsMax]
    const { rows } = await inPruning(database, options.signal, (tx) => tx.query<Pruned>(pruneSql, values))
    const { removed, newest } = rows[0] ?? nothing
    total += removed
    if (removed < rowsMax || newest === null) return total
    from = newest
    await options.clock.sleep(20, options.signal)
  }
}

interface Pruned {
  removed: number
  /** In PostgreSQL's words, which are more exact than a Date. */
  newest: string | null
}

const nothing: Pruned = { removed: 0, newest: null }

export interface PruningOptions {
  database: Database
  retentionMs: number
  everyMs: number
  clock: Clock
  log: Logger
}

/** Prunes at the start and then every so often, until closed. A database that is down is tried again later. */
export function startPruning(options: PruningOptions): { close(): Promise<void> } {
  const { database, retentionMs, clock, log } = options
  const stopping = new AbortController()
  const { signal } = stopping

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const removed = await pruneInbox(database, { retentionMs, clock, signal })
        if (removed > 0) log.info({ removed }, 'pruned the inbox')
      } catch (error) {
        if (!isAbort(error))
          log.warn({ code: codeOf(error) }, `could not prune the inbox: ${messageOf(error)}`)
      }
      await clock.sleep(options.everyMs, signal).catch(() => {})
    }
  }

  const running = run()
  return {
    close() {
      stopping.abort()
      return running
    },
  }
}
