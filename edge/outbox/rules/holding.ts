import type { Admission, QuotaReason, Submission } from '../outbox.ts'

/** A submission on its way into the outbox, and the caller who waits for it. */
export interface Pending {
  submission: Submission
  hash: string
  signal: AbortSignal | undefined
  resolve(admission: Admission): void
  reject(error: unknown): void
}

/**
 * Submissions that met a bound. Their devices were not acknowledged (G7: backpressure before loss). One queue a
 * device, served in turn: a device's submissions never overtake one another, and no device waits behind
 * another's.
 */
export interface Holding {
  readonly size: number
  /** The bound met last; undefined when nothing is held. */
  readonly reason: QuotaReason | undefined
  has(deviceId: string): boolean
  /** Up to `limit` submissions to try again, each device's oldest first. They stay held. */
  next(limit: number): Pending[]
  /** False if it was held already, or is not wanted any more. */
  hold(pending: Pending, reason: QuotaReason): boolean
  /** Admitted, or known by now. */
  drop(pending: Pending): void
  rejectAll(error: unknown): void
}

export function createHolding(): Holding {
  const devices = new Map<string, Map<Pending, () => void>>()
  let size = 0
  let reason: QuotaReason | undefined

  function drop(pending: Pending): void {
    const deviceId = pending.submission.candidate.partitionkey
    const queue = devices.get(deviceId)
    const stopListening = queue?.get(pending)
    if (!queue || !stopListening) return
    stopListening()
    queue.delete(pending)
    size -= 1
    devices.delete(deviceId)
    // Served: to the end of the round.
    if (queue.size > 0) devices.set(deviceId, queue)
    if (size === 0) reason = undefined
  }

  return {
    get size() {
      return size
    },
    get reason() {
      return reason
    },
    has: (deviceId) => devices.has(deviceId),
    next(limit) {
      const each = Math.max(1, Math.floor(limit / Math.max(1, devices.size)))
      const pendings: Pending[] = []
      for (const queue of devices.values()) {
        let taken = 0
        for (const pending of queue.keys()) {
          if (taken === each || pendings.length === limit) break
          pendings.push(pending)
          taken += 1
        }
        if (pendings.length === limit) break
      }
      return pendings
    },
    hold(pending, why) {
      const deviceId = pending.submission.candidate.partitionkey
      const { signal } = pending
      if (signal?.aborted) {
        pending.reject(signal.reason)
        return false
      }
      reason = why
      if (devices.get(deviceId)?.has(pending)) return false
      const leave = (): void => {
        drop(pending)
        pending.reject(signal?.reason)
      }
      signal?.addEventListener('abort', leave, { once: true })
      const queue = devices.get(deviceId) ?? new Map<Pending, () => void>()
      queue.set(pending, () => signal?.removeEventListener('abort', leave))
      devices.set(deviceId, queue)
      size += 1
      return true
    },
    drop,
    rejectAll(error) {
      const all = [...devices.values()].flatMap((queue) => [...queue.keys()])
      for (const pending of all) {
        drop(pending)
        pending.reject(error)
      }
    },
  }
}
