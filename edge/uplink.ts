import type { Clock } from '../src/clock.ts'

/** State of the uplink and the pace at which it moves, kept for metrics and readiness alike. */
export interface Uplink {
  readonly up: boolean
  /** How long it has been down, ms; 0 while it is up. */
  offlineMs(): number
  /** Events published and not confirmed yet. */
  readonly unconfirmed: number
  /** How long the one that has waited longest for its confirm has waited, ms. */
  oldestUnconfirmedMs(): number
  /** Events proven per second, smoothed over about half a minute. */
  eventsPerSecond(): number
}

const smoothingMs = 30_000

export interface UplinkFollower extends Uplink {
  changed(up: boolean): void
  awaits(unconfirmed: number, oldestSentAtMs: number | undefined): void
  forwarded(events: number): void
}

/** Follows the uplink by what the forwarder reports. */
export function createUplink(clock: Clock): UplinkFollower {
  let up = false
  let changedAtMs = clock.monotonicMs()
  let unconfirmed = 0
  let oldestSentAtMs: number | undefined
  let pace = 0
  let paceAtMs = changedAtMs

  function decay(): void {
    const nowMs = clock.monotonicMs()
    pace *= Math.exp((paceAtMs - nowMs) / smoothingMs)
    paceAtMs = nowMs
  }
  return {
    get up() {
      return up
    },
    offlineMs: () => (up ? 0 : clock.monotonicMs() - changedAtMs),
    get unconfirmed() {
      return unconfirmed
    },
    oldestUnconfirmedMs: () => (oldestSentAtMs === undefined ? 0 : clock.monotonicMs() - oldestSentAtMs),
    eventsPerSecond() {
      decay()
      return pace
    },
    changed(now) {
      if (up !== now) changedAtMs = clock.monotonicMs()
      up = now
    },
    awaits(events, oldestMs) {
      unconfirmed = events
      oldestSentAtMs = oldestMs
    },
    forwarded(events) {
      decay()
      pace += events / (smoothingMs / 1000)
    },
  }
}
