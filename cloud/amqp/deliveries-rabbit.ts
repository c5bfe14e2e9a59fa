import type { Clock, Random } from '../../src/clock.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { codeOf } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { Deliveries, Delivery } from './delivery.ts'
import type { Lease } from './lease-rabbit.ts'
import { startSubscription, type Subscription } from './subscription-rabbit.ts'

export interface RabbitDeliveriesOptions {
  connection: AmqpConnection
  group: string
  partitions: number
  /** Most unacknowledged deliveries per partition (G7). */
  prefetch: number
  /** Declares the group's queues again, when one has vanished. */
  declare: () => Promise<unknown>
  /** Resolves when a partition may be read. By default at once. */
  whenReady?: (partition: number) => Promise<void> | undefined
  /** Whether what was delivered waits for the end of an outage; by default it never does. */
  isHeld?: () => boolean
  /** Whether the broker takes no letters; by default it always does. */
  isBlocked?: () => boolean
  clock: Clock
  random: Random
  log: Logger
}

/** A broker that hangs answers no goodbye; the end of the connection says it too. */
const closeTimeoutMs = 3_000

/** The partition queues of a group. */
export function rabbitDeliveries(options: RabbitDeliveriesOptions): Deliveries {
  return new RabbitDeliveries(options)
}

class RabbitDeliveries implements Deliveries {
  readonly #options: RabbitDeliveriesOptions
  readonly #subscriptions = new Map<number, Subscription>()
  /** Partitions that may not be read yet. */
  readonly #waiting = new Set<number>()
  #stopped = false
  #paused = false
  #closing: Promise<void> | undefined

  constructor(options: RabbitDeliveriesOptions) {
    this.#options = options
  }

  start(onDelivery: (delivery: Delivery) => void): void {
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      const ready = this.#options.whenReady?.(partition)
      if (ready) {
        this.#waiting.add(partition)
        void ready.then(() => this.#begin(partition, onDelivery))
      } else this.#begin(partition, onDelivery)
    }
  }

  active(): number[] {
    return this.#leases()
      .filter((lease) => lease.active)
      .map((lease) => lease.partition)
  }

  stepBack(partition: number): boolean {
    if (this.#options.isBlocked?.()) return false
    void this.#subscriptions.get(partition)?.lease?.giveUp()
    return true
  }

  pause(): void {
    this.#paused = true
    // A letter that waits for a broker which takes none would be there twice (G5): what is in hand waits with it.
    const keep = this.#options.isBlocked?.() === true
    for (const subscription of this.#subscriptions.values()) subscription.pause(keep)
  }

  resume(): void {
    this.#paused = false
    for (const subscription of this.#subscriptions.values()) subscription.resume()
  }

  get subscribed(): boolean {
    return this.#leases().length === this.#options.partitions - this.#waiting.size
  }

  stop(): void {
    this.#stopped = true
    for (const subscription of this.#subscriptions.values()) subscription.stop()
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.stop()
    const closed = [...this.#subscriptions.values()].map((subscription) => subscription.close())
    await atMost(Promise.all(closed), closeTimeoutMs, this.#options.clock)
  }

  #begin(partition: number, onDelivery: (delivery: Delivery) => void): void {
    this.#waiting.delete(partition)
    if (this.#stopped) return
    const queue = partitionQueue(this.#options.group, partition)
    const subscription = startSubscription({
      ...this.#options,
      queue,
      home: queue,
      partition,
      onDelivery,
      paused: this.#paused,
      onMissing: () => this.#declareAgain(),
    })
    this.#subscriptions.set(partition, subscription)
  }

  async #declareAgain(): Promise<boolean> {
    const { declare, log } = this.#options
    try {
      await declare()
    } catch (error) {
      log.error({ code: codeOf(error) }, amqpMessageOf(error))
    }
    return true
  }

  #leases(): Lease[] {
    return [...this.#subscriptions.values()].flatMap(({ lease }) => lease ?? [])
  }
}
