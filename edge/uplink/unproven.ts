import type { Clock } from '../../src/clock.ts'
import type { Shipment } from './exchange.ts'
import type { ForwarderObserver } from './observer.ts'

export interface UnprovenOptions {
  clock: Clock
  /** Events published and not yet proven, at the most (G7). */
  windowEvents: number
  observer: Pick<ForwarderObserver, 'unconfirmed'>
}

/** What was published in one exchange session and has no outcome yet, in order of sending. */
export class Unproven {
  readonly #options: UnprovenOptions
  readonly #sentAtMs = new Map<Shipment, number>()
  #events = 0
  #blockedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: UnprovenOptions) {
    this.#options = options
  }

  /** Events in it. */
  get count(): number {
    return this.#events
  }

  get shipments(): Iterable<Shipment> {
    return this.#sentAtMs.keys()
  }

  /** How many more events may be published. */
  get room(): number {
    const { windowEvents } = this.#options
    return Math.max(0, windowEvents - this.#events)
  }

  add(shipment: Shipment): void {
    this.#sentAtMs.set(shipment, this.#options.clock.monotonicMs())
    this.#events += shipment.length
  }

  /** A message has its outcome: how long it waited for that, ms. */
  remove(shipment: Shipment, nowMs: number): number {
    const sentAtMs = this.#sentAtMs.get(shipment)
    if (sentAtMs === undefined) return 0
    this.#sentAtMs.delete(shipment)
    this.#events -= shipment.length
    return nowMs - sentAtMs
  }

  /**
   * How long the oldest has waited for its outcome, ms. A RabbitMQ that blocks confirms nothing: no message's wait begins
   * before the last look that found it blocking.
   */
  look(blocked: boolean): number {
    const nowMs = this.#options.clock.monotonicMs()
    if (blocked) this.#blockedAtMs = nowMs
    const [oldest = nowMs] = this.#sentAtMs.values()
    return nowMs - Math.max(oldest, this.#blockedAtMs)
  }

  tell(): void {
    const [oldestSentAtMs] = this.#sentAtMs.values()
    this.#options.observer.unconfirmed(this.#events, oldestSentAtMs)
  }
}
