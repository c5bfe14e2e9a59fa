import type { Clock } from '../../src/clock.ts'

/** How much a device may put in the high lane; beyond, its events go in the normal one. */
export interface HighRateOptions {
  eventsPerSecond: number
  /** At once, after a while without any. */
  burst: number
}

/** Devices remembered at once: of more, those that have their whole burst again, and are not lowered, are forgotten, which changes nothing for them. */
const devicesMax = 10_000

/** A device that was over its rate is lowered until it has been under it for so long: it does not go to and fro. */
export const holdOffMs = 60_000

interface Bucket {
  tokens: number
  atMs: number
  loweredUntilMs: number
}

/**
 * A token bucket for each device (G7). The high lane leaves in the order of admission, whoever's events they are: so what one
 * device puts there, all wait for. Returns whether one more may go there, and counts it, a repeat as well: what becomes of it is
 * not known yet.
 */
export function createHighRate(
  { eventsPerSecond, burst }: HighRateOptions,
  clock: Pick<Clock, 'monotonicMs'>,
): (deviceId: string) => boolean {
  const buckets = new Map<string, Bucket>()
  let forgotAtMs = -Infinity
  const tokensAt = ({ tokens, atMs }: Bucket, nowMs: number): number =>
    Math.min(burst, tokens + ((nowMs - atMs) / 1000) * eventsPerSecond)
  const isAsNew = (bucket: Bucket, nowMs: number): boolean =>
    tokensAt(bucket, nowMs) >= burst && bucket.loweredUntilMs <= nowMs

  return (deviceId) => {
    const nowMs = clock.monotonicMs()
    const bucket = buckets.get(deviceId)
    if (!bucket && buckets.size >= devicesMax) {
      // A look at all of them once a second, however many others come.
      if (nowMs - forgotAtMs < 1000) return true
      forgotAtMs = nowMs
      for (const [other, filled] of buckets) if (isAsNew(filled, nowMs)) buckets.delete(other)
      // All of them send at once: no bound binds rather than one that binds the wrong ones.
      if (buckets.size >= devicesMax) return true
    }
    const { tokens, loweredUntilMs } = {
      tokens: bucket ? tokensAt(bucket, nowMs) : burst,
      loweredUntilMs: bucket?.loweredUntilMs ?? -Infinity,
    }
    const isOver = tokens < 1
    buckets.set(deviceId, {
      tokens: isOver ? tokens : tokens - 1,
      atMs: nowMs,
      loweredUntilMs: isOver ? nowMs + holdOffMs : loweredUntilMs,
    })
    return !isOver && nowMs >= loweredUntilMs
  }
}
