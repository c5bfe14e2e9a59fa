import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottledWarn } from '../../src/throttle.ts'
import { compareCursors, type Cursor } from './reader.ts'

export interface TideOptions {
  /** The last event that can be read. @throws TidegateError `DATABASE_*` */
  horizon: () => Promise<Cursor>
  clock: Clock
  log: Logger
}

/** Tells those who have read to the end that there is more. */
export interface Tide {
  /** Resolves as soon as there is an event beyond the cursor, or after `withinMs`, or when aborted. Never throws. */
  beyond(cursor: Cursor, withinMs: number, signal: AbortSignal): Promise<void>
}

const lookEveryMs = 100
const afterFaultMs = 1_000
const warnEveryMs = 60_000

/** One look every 100 ms for all who wait, and none while nobody does. */
export function createTide({ horizon, clock, log }: TideOptions): Tide {
  const warn = createThrottledWarn(log, clock, warnEveryMs)
  const waiting = new Map<() => void, Cursor>()
  let looking = false

  async function look(): Promise<void> {
    looking = true
    while (waiting.size > 0) {
      try {
        const level = await horizon()
        for (const [wake, cursor] of waiting) if (compareCursors(level, cursor) > 0) wake()
        if (waiting.size > 0) await clock.sleep(lookEveryMs)
      } catch (error) {
        if (!isAbort(error)) warn(codeOf(error), `cannot look for events: ${messageOf(error)}`, {})
        await clock.sleep(afterFaultMs)
      }
    }
    looking = false
  }

  return {
    beyond: (cursor, withinMs, signal) =>
      new Promise((resolve) => {
        const wake = (): void => {
          waiting.delete(wake)
          timer.cancel()
          signal.removeEventListener('abort', wake)
          resolve()
        }
        const timer = clock.after(withinMs, wake)
        if (signal.aborted) return wake()
        signal.addEventListener('abort', wake, { once: true })
        waiting.set(wake, cursor)
        if (!looking) void look()
      }),
  }
}
