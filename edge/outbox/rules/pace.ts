import type { Clock } from '../../../src/clock.ts'
import type { PaceOptions } from '../options.ts'

export interface Allowance {
  events: number
  bytes: number
}

/** Two token buckets, one second deep: the backlog's pace behind live events. */
export interface Pace {
  /** What may go now, up to the event that takes the last of the bytes: so one large event always passes. */
  allowance(): Allowance
  spend(events: number, bytes: number): void
  /** How long until at least one event may go again, ms. */
  waitMs(): number
}

export function createPace(clock: Clock, options: PaceOptions): Pace {
  const { eventsPerSecond = Infinity, bytesPerSecond = Infinity } = options
  let eventTokens = eventsPerSecond
  let byteTokens = bytesPerSecond
  let refilledAtMs = clock.monotonicMs()

  function refill(): void {
    const nowMs = clock.monotonicMs()
    const seconds = (nowMs - refilledAtMs) / 1000
    // An absent bound is infinite, and no time at all times infinity is not a number.
    if (seconds <= 0) return
    refilledAtMs = nowMs
    // At least one whole event, or a rate below 1 would never let any pass.
    eventTokens = Math.min(Math.max(1, eventsPerSecond), eventTokens + seconds * eventsPerSecond)
    byteTokens = Math.min(bytesPerSecond, byteTokens + seconds * bytesPerSecond)
  }

  return {
    allowance() {
      refill()
      return { events: byteTokens <= 0 ? 0 : Math.floor(eventTokens), bytes: byteTokens }
    },
    spend(events, bytes) {
      eventTokens -= events
      byteTokens -= bytes
    },
    waitMs() {
      const forEvents = eventTokens >= 1 ? 0 : (1 - eventTokens) / eventsPerSecond
      const forBytes = byteTokens > 0 ? 0 : (1 - byteTokens) / bytesPerSecond
      return Math.ceil(Math.max(forEvents, forBytes) * 1000)
    },
  }
}
