import type { Clock } from '../../src/clock.ts'

/** How much a device may put in the high lane; beyond, its events go in the normal one. */
export interface HighRateOptions {
  eventsPerSecond: number
  /** At once, after a while without any. */
  burst: number
}

/** Devices remembered at once: of more, those that have their whole burst again are forgotten, which changes nothing for them. */
const devicesMax = 10_000

/**
 * A token bucket for each device (G7). The high lane leaves in the order of admission, whoever's events they are: so what one
 * device puts there, all wait for. Returns whether one more may go there, and counts it.
 */
export function createHighRate(
  { eventsPerSecond, burst }: HighRateOptions,
  clock: Pick<Clock, 'monotonicMs'>,
): (deviceId: string) => boolean {
  const buckets = new Map<string, { tokens: number; atMs: number }>()
  let forgotAtMs = -Infinity
  const tokensAt = ({ tokens, atMs }: { tokens: number; atMs: number }, nowMs: number): number =>
    Math.min(burst, tokens + ((nowMs - atMs) / 1000) * eventsPerSecond)

  return (deviceId) => {
    const nowMs = clock.monotonicMs()
    const bucket = buckets.get(deviceId)
    const tokens = bucket ? tokensAt(bucket, nowMs) : burst
    if (!bucket && buckets.size >= devicesMax) {
      // A look at all of them once a second, however many others come.
      if (nowMs - forgotAtMs < 1000) return true
      forgotAtMs = nowMs
      for (const [other, filled] of buckets) if (tokensAt(filled, nowMs) >= burst) buckets.delete(other)
      // All of them send at once: no bound binds rather than one that binds the wrong ones.
      if (buckets.size >= devicesMax) return true
    }
    if (tokens < 1) return false
    buckets.set(deviceId, { tokens: tokens - 1, atMs: nowMs })
    return true
  }
}
