import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { Deliveries } from './delivery.ts'
import { type Subscription, subscribe } from './subscription-rabbit.ts'

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
  clock: Clock
  random: Random
  log: Logger
}

/** A broker that hangs answers no goodbye; the end of the connection says it too. */
const closeTimeoutMs = 3_000

/** The partition queues of a group. */
export function rabbitDeliveries(options: RabbitDeliveriesOptions): Deliveries {
  const { group, clock, log } = options
  const subscriptions = new Map<number, Subscription>()
  const waiting = new Set<number>()
  let stopped = false
  let closing: Promise<void> | undefined

  async function declareAgain(): Promise<boolean> {
    try {
      await options.declare()
    } catch (error) {
      log.error({ group, code: codeOf(error) }, messageOf(error))
    }
    return true
  }

  const leases = (): NonNullable<Subscription['lease']>[] =>
    [...subscriptions.values()].flatMap(({ lease }) => lease ?? [])

  async function close(): Promise<void> {
    stop()
    const closed = [...subscriptions.values()].map((subscription) => subscription.close())
    await atMost(Promise.all(closed), closeTimeoutMs, clock)
  }

  function stop(): void {
    stopped = true
    for (const subscription of subscriptions.values()) subscription.stop()
  }

  return {
    start(onDelivery) {
      for (let partition = 0; partition < options.partitions; partition++) {
        const queue = partitionQueue(group, partition)
        const begin = (): void => {
          waiting.delete(partition)
          if (stopped) return
          const what = { ...options, queue, home: queue, partition, onDelivery, onMissing: declareAgain }
          subscriptions.set(partition, subscribe(what))
        }
        const ready = options.whenReady?.(partition)
        if (ready) {
          waiting.add(partition)
          void ready.then(begin)
        } else begin()
      }
    },
    active: () =>
      leases()
        .filter((lease) => lease.active)
        .map((lease) => lease.partition),
    stepBack(partition) {
      void subscriptions.get(partition)?.lease?.giveUp()
    },
    get subscribed() {
      return leases().length === options.partitions - waiting.size
    },
    stop,
    close: () => (closing ??= close()),
  }
}
