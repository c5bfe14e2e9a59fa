import type { Clock } from '../../src/clock.ts'
import type { Queued } from '../outbox/outbox.ts'
import type { ForwarderObserver } from './observer.ts'

export interface UnprovenOptions {
  clock: Clock
  /** Events published and not yet proven, at the most (G7). */
  windowEvents: number
  observer: Pick<ForwarderObserver, 'unconfirmed'>
}

/** The events that were published in one exchange session and have no outcome yet, in order of sending. */
export class Unproven {
  readonly #options: UnprovenOptions
  readonly #sentAtMs = new Map<Queued, number>()
  #blockedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: UnprovenOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#sentAtMs.size
  }

  /** How many more may be published. */
  get room(): number {
    const { windowEvents } = this.#options
    return Math.max(0, windowEvents - this.#sentAtMs.size)
  }

  add(event: Queued): void {
    this.#sentAtMs.set(event, this.#options.clock.monotonicMs())
  }

  /** An event has its outcome: how long it waited for that, ms. */
  remove(event: Queued, nowMs: number): number {
    const sentAtMs = this.#sentAtMs.get(event) ?? nowMs
    this.#sentAtMs.delete(event)
    return nowMs - sentAtMs
  }

  /**
   * How long the oldest has waited for its outcome, ms. A RabbitMQ that blocks confirms nothing: no event's wait begins
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
    this.#options.observer.unconfirmed(this.#sentAtMs.size, oldestSentAtMs)
  }
}
