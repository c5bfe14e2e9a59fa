import { bytesInHandMax } from './in-hand.ts'
import type { Lease } from './lease-rabbit.ts'

/**
 * RabbitMQ closes a channel on which a delivery is not acknowledged for 30 minutes (15 before 3.10), and delivers all of it
 * again. So what is in our hands is bounded by time, too.
 */
const inHandMsMax = 600_000

/** How many deliveries of a queue are taken at a time: as many as are got to in good time, and no more than are asked for (G7). */
export class PrefetchPace {
  readonly #max: number
  #prefetch: number

  constructor(prefetchMax: number) {
    this.#max = prefetchMax
    this.#prefetch = prefetchMax
  }

  get prefetch(): number {
    return this.#prefetch
  }

  /** Whether it is another number from now on, by what a lease has got to from `sinceMs` until now. */
  changes(
    lease: Pick<Lease, 'settledCount' | 'settledBytes' | 'oldestSinceMs'>,
    sinceMs: number,
    nowMs: number,
  ): boolean {
    const before = this.#prefetch
    const { settledCount, settledBytes, oldestSinceMs = nowMs } = lease
    // Half of what was got to in that time, for the next may be slower.
    const inTime = Math.floor((settledCount * inHandMsMax) / Math.max(1, nowMs - sinceMs) / 2)
    const fitting = Math.floor(bytesInHandMax / Math.max(1, settledBytes / settledCount) / 2)
    const possible = Math.min(inTime, fitting)
    if (nowMs - oldestSinceMs > inHandMsMax) this.#prefetch = this.#bounded(Math.min(inTime, before >> 1))
    else if (settledCount > before && possible >= 2 * before) this.#prefetch = this.#bounded(possible)
    return this.#prefetch !== before
  }

  /** So many take more than they may together. Whether it is another number from now on. */
  tooLarge(inHand: number): boolean {
    const before = this.#prefetch
    this.#prefetch = this.#bounded(Math.min(before, inHand >> 1))
    return this.#prefetch !== before
  }

  #bounded(prefetch: number): number {
    return Math.min(this.#max, Math.max(1, prefetch))
  }
}
