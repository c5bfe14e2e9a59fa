import type { Clock, Random } from '../../src/clock.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Delivery } from '../amqp/delivery.ts'
import { startSubscription, type Subscription } from '../amqp/subscription-rabbit.ts'
import { countsOf } from '../amqp/topology-rabbit.ts'
import type { FormerLine, FormerQueue } from './former.ts'
import { Probes } from './probes-rabbit.ts'

export interface RabbitFormerLineOptions {
  group: string
  /** Whether its queues have a single active consumer. */
  ordered: boolean
  consuming: AmqpConnection
  publishing: AmqpConnection
  /** Most unacknowledged deliveries per queue (G7). */
  prefetch: number
  /** Whether what was delivered waits for the end of an outage. */
  isHeld: () => boolean
  clock: Clock
  random: Random
  log: Logger
}

const lookEveryMs = 20
const lookMsMax = 1_000

/** Subscriptions to former queues, beside those to the queues of today. */
export function rabbitFormerLine(options: RabbitFormerLineOptions): FormerLine {
  return new RabbitFormerLine(options)
}

class RabbitFormerLine implements FormerLine {
  readonly #options: RabbitFormerLineOptions
  readonly #probes: Probes
  readonly #subscriptions = new Map<string, Subscription>()
  #stopped = false
  #paused = false

  constructor(options: RabbitFormerLineOptions) {
    this.#options = options
    this.#probes = new Probes(options)
  }

  subscribe({ queue, partition }: FormerQueue, onDelivery: (delivery: Delivery) => void): void {
    if (this.#stopped || this.#subscriptions.has(queue)) return
    const subscription = startSubscription({
      ...this.#options,
      connection: this.#options.consuming,
      queue,
      partition,
      home: partitionQueue(this.#options.group, partition),
      onDelivery,
      paused: this.#paused,
      intercept: (message, lease) => this.#probes.intercept(message, lease),
      onMissing: async () => false,
    })
    this.#subscriptions.set(queue, subscription)
  }

  async leave({ queue }: FormerQueue): Promise<void> {
    const subscription = this.#subscriptions.get(queue)
    if (subscription === undefined || subscription.over) return
    this.#subscriptions.delete(queue)
    await subscription.close()
  }

  isOver({ queue }: FormerQueue): boolean {
    return this.#subscriptions.get(queue)?.over === true
  }

  async emptied(former: FormerQueue, signal: AbortSignal): Promise<void> {
    let waitMs = lookEveryMs
    for (; !(await this.#isEmpty(former, signal)); waitMs = Math.min(2 * waitMs, lookMsMax))
      await this.#options.clock.sleep(waitMs, signal)
  }

  pause(): void {
    this.#paused = true
    for (const subscription of this.#subscriptions.values()) subscription.pause()
  }

  resume(): void {
    this.#paused = false
    for (const subscription of this.#subscriptions.values()) subscription.resume()
  }

  stop(): void {
    this.#stopped = true
    for (const subscription of this.#subscriptions.values()) subscription.stop()
  }

  async close(): Promise<void> {
    this.stop()
    await Promise.all([...this.#subscriptions.values()].map((subscription) => subscription.close()))
  }

  /** False: not yet, or nothing can be told, because there is no subscription, or another one than a moment ago. */
  async #isEmpty({ queue }: FormerQueue, signal: AbortSignal): Promise<boolean> {
    const { publishing, ordered } = this.#options
    const subscription = this.#subscriptions.get(queue)
    if (subscription?.over) return true
    const lease = subscription?.lease
    if (lease === undefined) return false
    // At a limit that a policy lays over it, a probe would push out what is in front of it.
    const counts = await orAborted(countsOf(publishing, queue), signal)
    if (counts === undefined) return true
    if (counts.messages > 0 || counts.consumers === 0) return false
    return ordered ? this.#probes.isDrained(queue, lease, signal) : lease.idle
  }
}
