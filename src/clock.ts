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

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (delayMs, signal) => delay(delayMs, undefined, signal ? { signal } : {}),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Chance as an argument: a number in [0, 1). */
export type Random = () => number
