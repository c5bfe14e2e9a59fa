import { setTimeout as delay } from 'node:timers/promises'

/** Time as an argument, so that a day can pass in a test and a run can be replayed from a seed. */
export interface Clock {
  /** Wall clock, ms since the Unix epoch. May jump, may be wrong (a boot in 1970). */
  now(): number
  /** Monotonic clock, ms since an arbitrary point of this boot. Never goes back. */
  monotonicMs(): number
  /** Resolves after `delayMs`; rejects with an AbortError as soon as `signal` is aborted. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
  /** Runs `task` after `delayMs` unless cancelled; does not keep the process alive. */
  after(delayMs: number, task: () => void): { cancel(): void }
}

/** The longest that Node's timers wait, 24.8 days; told to wait longer, they fire after 1 ms. */
const timerMsMax = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(delayMs, signal) {
    let leftMs = delayMs
    for (; leftMs > timerMsMax; leftMs -= timerMsMax) await delay(timerMsMax, undefined, signal && { signal })
    await delay(leftMs, undefined, signal && { signal })
  },
  after(delayMs, task) {
    let timer: NodeJS.Timeout
    const wait = (leftMs: number): void => {
      timer = setTimeout(
        () => (leftMs > timerMsMax ? wait(leftMs - timerMsMax) : task()),
        Math.min(leftMs, timerMsMax),
      )
      timer.unref()
    }
    wait(delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Chance as an argument: a number in [0, 1). */
export type Random = () => number
