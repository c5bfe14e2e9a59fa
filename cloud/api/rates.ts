import type { Clock } from '../../src/clock.ts'

/** So many are remembered (G7); beyond, who was seen first is forgotten, and begins anew with all it may have. */
const remembered = 10_000
/** As many at once as come in so long. */
const burstS = 5

/** How often each may ask: a bucket of tokens for everybody. */
export interface Rates {
  /** Takes one; or how long it is until there is one, s. */
  take(who: string): number
  /** The same, and takes none. */
  look(who: string): number
}

export function createRates(perSecond: number, clock: Pick<Clock, 'monotonicMs'>): Rates {
  const full = Math.max(1, perSecond * burstS)
  const buckets = new Map<string, { left: number; atMs: number }>()

  const leftOf = (who: string, nowMs: number): number => {
    const bucket = buckets.get(who)
    if (bucket === undefined) return full
    return Math.min(full, bucket.left + ((nowMs - bucket.atMs) / 1000) * perSecond)
  }
  const waitOf = (left: number): number => (left >= 1 ? 0 : (1 - left) / perSecond)

  return {
    take(who) {
      const nowMs = clock.monotonicMs()
      const left = leftOf(who, nowMs)
      if (left < 1) return waitOf(left)
      const [eldest] = buckets.keys()
      if (!buckets.delete(who) && buckets.size >= remembered) buckets.delete(eldest as string)
      buckets.set(who, { left: left - 1, atMs: nowMs })
      return 0
    },
    look: (who) => waitOf(leftOf(who, clock.monotonicMs())),
  }
}
