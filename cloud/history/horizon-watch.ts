import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottledWarn } from '../../src/throttle.ts'
import type { Held, Holder } from './horizon-postgres.ts'

export interface HorizonWatchOptions {
  /** @throws TidegateError `DATABASE_*` */
  read: () => Promise<Held>
  clock: Clock
  log: Logger
}

/**
 * How long readers of history have been held up by a transaction that does not end: any that writes, in whichever database of the cluster.
 * They skip nothing for it; they wait.
 */
export interface HorizonWatch {
  /** How long the oldest transaction has been seen by now, ms; 0: none is under way. */
  ageMs(): number
  /** Who holds it, once that has lasted for longer than it may. */
  readonly heldBy: string | undefined
  close(): Promise<void>
}

const lookEveryMs = 5_000
export const heldTooLongMs = 30_000
const warnEveryMs = 300_000

export function watchHorizon({ read, clock, log }: HorizonWatchOptions): HorizonWatch {
  const stopping = new AbortController()
  const { signal } = stopping
  const warn = createThrottledWarn(log, clock, warnEveryMs)
  let oldest: string | undefined
  let sinceMs = 0
  let heldBy: string | undefined

  const ageMs = (): number => (oldest === undefined ? 0 : clock.monotonicMs() - sinceMs)

  function see(held: Held): void {
    if (held.oldest !== oldest) {
      if (heldBy !== undefined)
        log.info({ heldMs: ageMs() }, 'readers of history go on: the horizon has moved')
      oldest = held.oldest
      sinceMs = clock.monotonicMs()
      heldBy = undefined
    }
    if (ageMs() < heldTooLongMs) return
    heldBy = holderText(held.holder)
    const about = { code: 'HORIZON_HELD', heldMs: ageMs(), heldBy, transaction: oldest, ...held.holder }
    warn(oldest ?? '', 'readers of history wait: a transaction does not end', about)
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        see(await read())
      } catch (error) {
        if (!isAbort(error))
          warn(codeOf(error), `cannot see how far history can be read: ${messageOf(error)}`, {
            code: codeOf(error),
          })
      }
      await clock.sleep(lookEveryMs, signal).catch(() => {})
    }
  }

  const running = run()
  return {
    ageMs,
    get heldBy() {
      return heldBy
    },
    close() {
      stopping.abort()
      return running
    },
  }
}

/** `PID 4711 (psql) of ann in shop, idle in transaction since 2026-11-27T08:00:00.000Z` */
function holderText(holder: Holder | undefined): string {
  if (holder === undefined) return 'nobody who shows: a session that has just ended, or a standby’s'
  const { pid, application, user, database, state, since } = holder
  const who = pid === undefined ? `the prepared transaction ${application}` : `PID ${pid} (${application})`
  const how = state ?? 'which only pg_read_all_stats may see more of'
  return `${who} of ${user} in ${database}, ${how}${since === undefined ? '' : ` since ${since.toISOString()}`}`
}
