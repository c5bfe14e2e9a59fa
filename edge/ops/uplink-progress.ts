import type { Clock } from '../../src/clock.ts'

export interface UplinkProgressOptions {
  clock: Clock
  /** Down for as long, the uplink is down; for less, it may be on its way from one exchange session to the next. */
  downAfterMs: number
}

/**
 * For how long the uplink has been there without getting anywhere. Being down is no fault: it counts only between
 * exchange sessions that proved nothing, for those are what an uplink that flaps looks like.
 */
export interface UplinkProgress {
  changed(up: boolean): void
  proved(): void
  stalledMs(eventsToSend: number): number
}

export function createUplinkProgress({ clock, downAfterMs }: UplinkProgressOptions): UplinkProgress {
  let up = false
  let changedAtMs = clock.monotonicMs()
  /** From when on the uplink was up and proved nothing; undefined: it is down, and did what it could before. */
  let sinceMs: number | undefined
  let fruitful = false

  function forgetIfDown(): void {
    if (!up && clock.monotonicMs() - changedAtMs >= downAfterMs) sinceMs = undefined
  }

  return {
    changed(now) {
      forgetIfDown()
      if (now) sinceMs ??= clock.monotonicMs()
      else if (fruitful) sinceMs = undefined
      fruitful = false
      up = now
      changedAtMs = clock.monotonicMs()
    },
    proved() {
      fruitful = true
      sinceMs = up ? clock.monotonicMs() : undefined
    },
    stalledMs(eventsToSend) {
      forgetIfDown()
      // With nothing to send there is nothing to prove.
      if (eventsToSend === 0) {
        sinceMs = up ? clock.monotonicMs() : undefined
        fruitful = up
      }
      return sinceMs === undefined ? 0 : (up ? clock.monotonicMs() : changedAtMs) - sinceMs
    },
  }
}
