import type { Scope } from '../src/lifecycle.ts'
import type { CloudConfig } from './config.ts'
import { backoffMs } from '../src/backoff.ts'
import type { Clock, Random } from '../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import type { Logger } from '../src/log.ts'

export interface StartupOptions {
  timeoutMs: number
  clock: Clock
  random: Random
  log: Logger
  signal: AbortSignal
}

/** What a start is made with. */
export interface Start extends StartupOptions {
  config: CloudConfig
  /** Owns what is opened. */
  scope: Scope
}

/** A pool that was sized for less: what is to be done waits for connections, beginning with the heartbeat. */
export function tellSmallPool(log: Logger, poolMax: number | undefined, needed: number): void {
  if (poolMax === undefined || poolMax >= needed) return
  const hint =
    'raise database.poolMax, or leave it out; or have fewer lanes (batch.lanes) and fewer parked devices tried at a time (parking.concurrency)'
  log.warn(
    { code: 'DATABASE_POOL_SMALL', poolMax, needed, hint },
    `database.poolMax is ${poolMax}, and ${needed} transactions may be open at the same time: they wait for each other`,
  )
}

const backoff = { delayMsMin: 200, delayMsMax: 3_000 }

/**
 * Opens something that may not be up yet: tries again for `timeoutMs` while the error is retryable, then throws the
 * last one. After the start, outages are waited out for as long as they last.
 */
export async function untilReachable<T>(open: () => Promise<T>, options: StartupOptions): Promise<T> {
  const { clock, log, signal } = options
  const deadlineMs = clock.monotonicMs() + options.timeoutMs
  for (let attempt = 1; ; attempt++) {
    try {
      return await open()
    } catch (error) {
      const delayMs = backoffMs(attempt, backoff, options.random)
      const temporary = error instanceof TidegateError && error.retryable
      if (!temporary || clock.monotonicMs() + delayMs > deadlineMs) throw error
      if (attempt === 1) {
        log.info({ code: codeOf(error), timeoutMs: options.timeoutMs }, `not yet: ${messageOf(error)}`)
      }
      await clock.sleep(delayMs, signal)
    }
  }
}
