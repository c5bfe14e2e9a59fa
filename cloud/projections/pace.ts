import type { Clock } from '../../src/clock.ts'

const windowMs = 10_000

/** How many a second, over the last ten. */
export function createRate(clock: Pick<Clock, 'monotonicMs'>): { add(count: number): number } {
  const counts: { atMs: number; count: number }[] = []
  return {
    add(count) {
      const atMs = clock.monotonicMs()
      counts.push({ atMs, count })
      while (counts[0] && counts[0].atMs < atMs - windowMs) counts.shift()
      const [first] = counts
      const tookMs = first ? atMs - first.atMs : 0
      if (tookMs <= 0) return 0
      // What came with the first was done before it.
      const sum = counts.slice(1).reduce((total, one) => total + one.count, 0)
      return (sum / tookMs) * 1000
    },
  }
}

/** A number of turns, of which each is taken by one at a time. */
export interface Turns {
  /** Whether there was one left. */
  take(): boolean
  give(): void
}

export function createTurns(count: number): Turns {
  let left = count
  return {
    take: () => left > 0 && left-- > 0,
    give() {
      left += 1
    },
  }
}

/** Events of the next batch at most. */
export interface BatchLimit {
  readonly events: number
  /** A batch was applied, and there is more. */
  grow(): void
  /** A batch of so many failed. `mayBeSize`: because it took too long, or stood in a rival's way, and not for what is in it. */
  shrink(events: number, mayBeSize: boolean): void
}

/** Of all events that a batch may have, behind one that took too long. */
const growthWhenSlow = 1 / 64

/**
 * Halved until the event stands alone that cannot be applied, and doubled behind it. Where it was halved because a batch took too long it
 * grows little by little: doubled at once, every other batch would take too long, and be for nothing.
 */
export function createBatchLimit(batchMax: number): BatchLimit {
  let events = batchMax
  let isSlow = false
  return {
    get events() {
      return events
    },
    grow() {
      events = Math.min(batchMax, isSlow ? events + Math.ceil(batchMax * growthWhenSlow) : events * 2)
      if (events === batchMax) isSlow = false
    },
    shrink(failed, mayBeSize) {
      if (failed > 1) events = Math.max(1, Math.floor(failed / 2))
      isSlow ||= mayBeSize
    },
  }
}
