import type { Clock } from '../src/clock.ts'
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
