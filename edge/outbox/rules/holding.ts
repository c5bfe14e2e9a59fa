import type { QuotaReason } from '../outbox.ts'
import type { Pending } from './arrival.ts'

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
  /**
   * Up to `limit` submissions to try again, each device's oldest first. They stay held. Of more devices than that those come
   * first who `goesFirst`: what others wait for may not be what they wait for.
   */
  next(limit: number, goesFirst: (deviceId: string) => boolean): Pending[]
  /** False if it was held already, or is not wanted any more. */
  hold(pending: Pending, reason: QuotaReason): boolean
  /** Admitted, or known by now. */
  drop(pending: Pending): void
  rejectAll(error: unknown): void
}

export function createHolding(): Holding {
  return new QueuePerDevice()
}

class QueuePerDevice implements Holding {
  /** Each submission with what stops listening to its signal; the device served longest ago first. */
  readonly #devices = new Map<string, Map<Pending, () => void>>()
  #size = 0
  #reason: QuotaReason | undefined

  get size(): number {
    return this.#size
  }

  get reason(): QuotaReason | undefined {
    return this.#reason
  }

  has(deviceId: string): boolean {
    return this.#devices.has(deviceId)
  }

  next(limit: number, goesFirst: (deviceId: string) => boolean): Pending[] {
    const each = Math.max(1, Math.floor(limit / Math.max(1, this.#devices.size)))
    const pendings: Pending[] = []
    for (const queue of this.#queues(limit, goesFirst)) {
      let taken = 0
      for (const pending of queue.keys()) {
        if (taken === each || pendings.length === limit) break
        pendings.push(pending)
        taken += 1
      }
      if (pendings.length === limit) break
    }
    return pendings
  }

  #queues(limit: number, goesFirst: (deviceId: string) => boolean): Iterable<Map<Pending, () => void>> {
    if (this.#devices.size <= limit) return this.#devices.values()
    const first: Map<Pending, () => void>[] = []
    const others: Map<Pending, () => void>[] = []
    for (const [deviceId, queue] of this.#devices) (goesFirst(deviceId) ? first : others).push(queue)
    return [...first, ...others]
  }

  hold(pending: Pending, reason: QuotaReason): boolean {
    const deviceId = pending.submission.candidate.partitionkey
    const { arrival } = pending
    const { signal } = arrival
    if (signal?.aborted) {
      arrival.giveUp(pending, signal.reason)
      return false
    }
    this.#reason = reason
    if (this.#devices.get(deviceId)?.has(pending)) return false
    const leave = (): void => {
      this.drop(pending)
      arrival.giveUp(pending, signal?.reason)
    }
    signal?.addEventListener('abort', leave, { once: true })
    const queue = this.#devices.get(deviceId) ?? new Map<Pending, () => void>()
    queue.set(pending, () => signal?.removeEventListener('abort', leave))
    this.#devices.set(deviceId, queue)
    this.#size += 1
    return true
  }

  drop(pending: Pending): void {
    if (this.#size === 0) return
    const deviceId = pending.submission.candidate.partitionkey
    const queue = this.#devices.get(deviceId)
    const stopListening = queue?.get(pending)
    if (!queue || !stopListening) return
    stopListening()
    queue.delete(pending)
    this.#size -= 1
    this.#devices.delete(deviceId)
    // Served: to the end of the round.
    if (queue.size > 0) this.#devices.set(deviceId, queue)
    if (this.#size === 0) this.#reason = undefined
  }

  rejectAll(error: unknown): void {
    const all = [...this.#devices.values()].flatMap((queue) => [...queue.keys()])
    for (const pending of all) {
      this.drop(pending)
      pending.arrival.giveUp(pending, error)
    }
  }
}
