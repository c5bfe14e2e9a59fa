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
