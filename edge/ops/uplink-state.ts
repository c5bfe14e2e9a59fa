import type { Clock } from '../../src/clock.ts'
import { createRate } from './rate.ts'

/** State of the uplink and the pace at which it moves, kept for metrics and readiness alike. */
export interface UplinkState {
  readonly up: boolean
  /** How long the uplink has been down, ms; 0 while it is up. */
  offlineMs(): number
  /** Events published and not confirmed yet. */
  readonly unconfirmed: number
  /** How long the one that has waited longest for its confirm has waited, ms. */
  oldestUnconfirmedMs(): number
  /** How long until none of `events` is left at the present pace, with what comes in meanwhile; undefined: never. */
  drainMs(events: number): number | undefined
}

export interface UplinkFollower extends UplinkState {
  changed(up: boolean): void
  awaits(unconfirmed: number, oldestSentAtMs: number | undefined): void
  /** Events that have come into the outbox. */
  admitted(events: number): void
  forwarded(events: number): void
}

const perSecondMin = 0.01

/** Follows the uplink by what the forwarder reports. */
export function createUplinkState(clock: Clock): UplinkFollower {
  let up = false
  let changedAtMs = clock.monotonicMs()
  let unconfirmed = 0
  let oldestSentAtMs: number | undefined
  const leaving = createRate(clock)
  const coming = createRate(clock)

  return {
    get up() {
      return up
    },
    offlineMs: () => (up ? 0 : clock.monotonicMs() - changedAtMs),
    get unconfirmed() {
      return unconfirmed
    },
    oldestUnconfirmedMs: () => (oldestSentAtMs === undefined ? 0 : clock.monotonicMs() - oldestSentAtMs),
    drainMs(events) {
      if (events === 0) return 0
      const perSecond = leaving.perSecond()
      // What leaves within a second is on its way, and no backlog, whatever follows it.
      const netPerSecond = events <= perSecond ? perSecond : perSecond - coming.perSecond()
      return up && netPerSecond > perSecondMin ? (events / netPerSecond) * 1000 : undefined
    },
    changed(now) {
      if (up !== now) changedAtMs = clock.monotonicMs()
      up = now
      leaving.reset()
      coming.reset()
    },
    awaits(events, oldestMs) {
      unconfirmed = events
      oldestSentAtMs = oldestMs
    },
    admitted: (events) => coming.add(events),
    forwarded: (events) => leaving.add(events),
  }
}
