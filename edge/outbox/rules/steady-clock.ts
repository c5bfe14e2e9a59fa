import type { Clock } from '../../../src/clock.ts'

/** The wall clock was moved by `offsetMs` against the monotonic clock. */
export interface ClockJump {
  offsetMs: number
}

/**
 * Gateway time for ages and deadlines: it only grows, never jumps, and goes on counting through power-off.
 *
 * - While running it follows the monotonic clock, whatever the wall clock does.
 * - Across a restart it takes the wall clock's word for how long it was off, but only after the wall clock has
 *   stood still against the monotonic one for `settleMs` and reads later than when we stopped (a boot in 1970 waits
 *   for NTP, however long that takes), and never more than `offMsMax`. Until then the time off counts as nothing:
 *   an event may live a little longer, but none expires because a clock was wrong.
 */
export interface SteadyClock {
  now(): number
  /**
   * The wall clock that goes with `now()`, ms since the Unix epoch, to be resumed from: while the wall clock is not
   * believed yet, what the last run's would read had there been no time off; for a day after it was set back, what
   * it would read had it not been: if it is set forward again while we are off, that was no time that passed.
   */
  wallMs(): number
  /** Compares the clocks; call it about once a second. Returns a jump if there was one since the last call. */
  check(): ClockJump | undefined
  /** Time spent powered off that `check` has added, ms; undefined until it is believed. */
  readonly creditMs: number | undefined
}

export interface SteadyClockOptions {
  clock: Clock
  /** Where the last run stopped; absent on a new outbox. */
  resume: { steadyMs: number; wallMs: number } | undefined
  settleMs?: number
  offMsMax?: number
  /** Differences up to this are slewing, not jumps. */
  jumpMsMin?: number
}

const day = 86_400_000
/** A wall clock that says it was longer than this is wrong. */
export const believableOffMs = 400 * day

export function createSteadyClock(options: SteadyClockOptions): SteadyClock {
  const { clock, resume, settleMs = 60_000, offMsMax = believableOffMs, jumpMsMin = 2000 } = options
  const baseMs = resume?.steadyMs ?? 0
  const startedMs = clock.monotonicMs()
  let creditMs = 0
  let settled = resume === undefined
  let stableSinceMs = startedMs
  let driftMs = clock.now() - startedMs
  /** How much later the wall clock read before it was set back. */
  let setBackMs = 0

  const now = (): number => Math.floor(baseMs + creditMs + clock.monotonicMs() - startedMs)

  return {
    now,
    wallMs() {
      const monotonicMs = clock.monotonicMs()
      if (!settled && resume) return resume.wallMs + monotonicMs - startedMs
      const unseenMs = clock.now() - monotonicMs - driftMs
      return clock.now() + Math.max(0, setBackMs - unseenMs)
    },
    get creditMs() {
      return settled ? creditMs : undefined
    },
    check() {
      const monotonicMs = clock.monotonicMs()
      const offsetMs = clock.now() - monotonicMs - driftMs
      driftMs += offsetMs
      const jumped = Math.abs(offsetMs) >= jumpMsMin
      if (jumped) {
        stableSinceMs = monotonicMs
        setBackMs = Math.max(0, setBackMs - offsetMs)
      } else if (monotonicMs - stableSinceMs > day) setBackMs = 0
      if (!settled && resume && monotonicMs - stableSinceMs >= settleMs) {
        const offMs = clock.now() - (monotonicMs - startedMs) - resume.wallMs
        // Earlier than when we stopped: certainly wrong, so go on waiting for it to be corrected.
        settled = offMs >= 0
        if (settled && offMs <= offMsMax) creditMs = offMs
      }
      return jumped ? { offsetMs: Math.round(offsetMs) } : undefined
    },
  }
}
