import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from './database-postgres.ts'

/** Small, so that no pruning holds locks that a claim waits for. */
const rowsMax = 5_000

const pruneSql = `
delete from tidegate.inbox where ctid = any (array(
  select ctid from tidegate.inbox
  where processed_at < now() - make_interval(secs => $1::float8 / 1000)
  limit $2 for update skip locked))
returning 1`

/**
 * Forgets what was processed longer than `retentionMs` ago, in small chunks. A repeat that comes later than that
 * would have its effect again in groups that rely on the inbox; history does not.
 * @returns how many rows were removed.
 */
export async function pruneInbox(
  database: Database,
  options: { retentionMs: number; clock: Clock; signal: AbortSignal },
): Promise<number> {
  let removed = 0
  for (;;) {
    const rows = await database.query(pruneSql, [options.retentionMs, rowsMax])
    removed += rows.length
    if (rows.length < rowsMax) return removed
    await options.clock.sleep(20, options.signal)
  }
}

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
