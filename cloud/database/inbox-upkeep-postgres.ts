import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from './database-postgres.ts'

export interface InboxUpkeepOptions {
  database: Database
  /** A repeat that comes longer after its event was processed has its effect again in groups that rely on the inbox; history does not. */
  retentionMs: number
  everyMs: number
  clock: Clock
  log: Logger
}

/**
 * Makes the weeks to come, forgets those whose last claim is older than the retention, and drops what was forgotten a day ago.
 * @returns the tables that were made, and those that were dropped.
 */
export async function keepInbox(
  database: Database,
  retentionMs: number,
): Promise<{ made: string[]; dropped: string[] }> {
  const [prepared] = await database.query<{ made: string[] }>('select tidegate.prepare_inbox() as made')
  const [forgotten] = await database.query<{ dropped: string[] }>(
    `select tidegate.forget_inbox(make_interval(secs => $1::float8 / 1000)) as dropped`,
    [retentionMs],
  )
  return { made: prepared?.made ?? [], dropped: forgotten?.dropped ?? [] }
}

/** Does that at the start and then every so often, until closed. A database that is down is tried again later. */
export function startInboxUpkeep(options: InboxUpkeepOptions): { close(): Promise<void> } {
  const { database, retentionMs, everyMs, clock, log } = options
  const stopping = new AbortController()
  const { signal } = stopping

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const { made, dropped } = await keepInbox(database, retentionMs)
        if (made.length + dropped.length > 0) log.info({ made, dropped }, 'kept the weeks of the inbox')
      } catch (error) {
        if (!isAbort(error))
          log.warn({ code: codeOf(error) }, `could not keep the weeks of the inbox: ${messageOf(error)}`)
      }
      await clock.sleep(everyMs, signal).catch(() => {})
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
