import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'

/** A missed one does no harm: weeks are made long before they begin, and what belongs to none has a partition of its own. */
const everyMs = 3_600_000

export interface PreparingOptions {
  database: Database
  clock: Clock
  log: Logger
}

export interface PartitionsStanding {
  /** Weeks to come that have a partition. */
  weeksAhead: number
  /** Events stored in the last day that belonged to no week. */
  otherEvents: number
}

export interface Preparing {
  /** As it was when it was last looked at, up to an hour ago; undefined: not yet. */
  readonly standing: () => PartitionsStanding | undefined
  close(): Promise<void>
}

const standingSql = `
select weeks_ahead as "weeksAhead", other_events::float8 as "otherEvents" from tidegate.partitions_standing()`

/** Makes the weeks to come, from now on and until closed, and looks at how they stand. */
export function startPreparing({ database, clock, log }: PreparingOptions): Preparing {
  const stopping = new AbortController()
  const { signal } = stopping
  let standing: PartitionsStanding | undefined

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const [row] = await database.query<{ made: string[] }>('select tidegate.prepare_partitions() as made')
        const made = row?.made ?? []
        if (made.length > 0) {
          log.info({ made }, 'made partitions of history')
          // Each in a transaction of its own: readers wait for as long as one lasts.
          for (const partition of [...made, null])
            await database.query('select tidegate.analyze_events($1)', [partition])
        }
        standing = (await database.query<PartitionsStanding>(standingSql))[0]
      } catch (error) {
        if (!isAbort(error))
          log.warn({ code: codeOf(error) }, `could not make partitions of history: ${messageOf(error)}`)
      }
      await clock.sleep(everyMs, signal).catch(() => {})
    }
  }

  const running = run()
  return {
    standing: () => standing,
    close() {
      stopping.abort()
      return running
    },
  }
}
