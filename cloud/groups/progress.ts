import type { Clock } from '../../src/clock.ts'

/**
 * Readiness by progress: ready means moving, not merely connected. A part reports how much work waits and when
 * something last moved; it is stuck when there was work all along and nothing moved for `stallMs`.
 */
export interface Progress {
  /** Something moved: an event was confirmed, a delivery was settled. */
  moved(): void
  check(waiting: number): ProgressState
}

export interface ProgressState {
  ok: boolean
  waiting: number
  /** How long there has been work without movement, ms; 0 when idle or moving. */
  stalledMs: number
}

export function createProgress(clock: Clock, stallMs: number): Progress {
  let idleOrMovedAtMs = clock.monotonicMs()
  return {
    moved() {
      idleOrMovedAtMs = clock.monotonicMs()
    },
    check(waiting) {
      if (waiting === 0) idleOrMovedAtMs = clock.monotonicMs()
      const stalledMs = Math.round(clock.monotonicMs() - idleOrMovedAtMs)
      return { ok: stalledMs < stallMs, waiting, stalledMs: waiting === 0 ? 0 : stalledMs }
    },
  }
}
