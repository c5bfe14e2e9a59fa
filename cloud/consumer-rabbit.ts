import { setMaxListeners } from 'node:events'
import type { Channel } from 'rabbitmq-client'
import { backoffMs } from '../src/backoff.ts'
import type { Clock, Random } from '../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../src/errors.ts'
import type { Logger } from '../src/log.ts'
import { partitionQueue } from '../src/wire.ts'
import type { Broker } from './broker-rabbit.ts'
import type { Deliveries, Delivery } from './delivery.ts'
import { Lease } from './lease-rabbit.ts'
import { atMost } from './timeout.ts'

export interface RabbitDeliveriesOptions {
  broker: Broker
  group: string
  partitions: number
  /** Most unacknowledged deliveries per partition (G7). */
  prefetch: number
  /** Declares the group's queues again, when one has vanished. */
  declare: () => Promise<void>
  clock: Clock
  random: Random
  log: Logger
}

/** A broker that hangs answers no goodbye; the end of the connection says it too. */
const closeTimeoutMs = 3_000
const resubscribe = { delayMsMin: 100, delayMsMax: 5_000 }

/**
 * The partition queues of a group. Raw channels rather than the client's own consumer: that one acknowledges one by
 * one, and does not come back while a handler hangs.
 */
export function rabbitDeliveries(options: RabbitDeliveriesOptions): Deliveries {
  const { broker, group, clock, log } = options
  const stopping = new AbortController()
  // Every partition may wait on it at once.
  setMaxListeners(0, stopping.signal)
  const leases = new Map<number, Lease>()
  let closing: Promise<void> | undefined

  /** Keeps a partition subscribed until told to stop. */
  async function keepSubscribed(partition: number, onDelivery: (delivery: Delivery) => void): Promise<void> {
    for (let failures = 0; !stopping.signal.aborted; failures++) {
      const startedMs = clock.monotonicMs()
      try {
        await subscription(partition, onDelivery)
      } catch (error) {
        await report(partition, error, failures)
      }
      leases.delete(partition)
      if (clock.monotonicMs() - startedMs > resubscribe.delayMsMax) failures = 0
      if (failures > 0) await pause(failures)
    }
  }

  /** Resolves when the channel is gone. */
  async function subscription(partition: number, onDelivery: (delivery: Delivery) => void): Promise<void> {
    const queue = partitionQueue(group, partition)
    const channel = await broker.connection.acquire({ emitErrorsFromChannel: true })
    const over = closed(channel)
    const lease = new Lease(channel, queue, partition)
    channel.on('error', (error: unknown) => log.warn({ queue, code: codeOf(error) }, messageOf(error)))
    // The queue was deleted, or its leader moved away.
    channel.once('basic.cancel', () => void lease.giveUp())
    await channel.basicQos({ prefetchCount: options.prefetch })
    await channel.basicConsume({ queue }, (message) => {
      if (!stopping.signal.aborted && !lease.lost) onDelivery(lease.delivery(message, clock.now()))
    })
    if (stopping.signal.aborted) return lease.giveUp()
    leases.set(partition, lease)
    await over
  }

  async function report(partition: number, error: unknown, failures: number): Promise<void> {
    if (stopping.signal.aborted) return
    const queue = partitionQueue(group, partition)
    if (failures === 0) log.warn({ queue, code: codeOf(error) }, 'cannot subscribe; trying again')
    if (codeOf(error) !== 'NOT_FOUND') return
    try {
      await options.declare()
    } catch (error) {
      log.error({ group, code: codeOf(error) }, messageOf(error))
    }
  }

  async function pause(failures: number): Promise<void> {
    try {
      await clock.sleep(backoffMs(failures, resubscribe, options.random), stopping.signal)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  async function close(): Promise<void> {
    stopping.abort()
    // A loop that waits for the broker ends with the connection.
    const givenUp = [...leases.values()].map((lease) => lease.giveUp())
    await atMost(Promise.all(givenUp), closeTimeoutMs, clock)
  }

  return {
    start(onDelivery) {
      for (let partition = 0; partition < options.partitions; partition++) {
        void keepSubscribed(partition, onDelivery)
      }
    },
    active: () => [...leases.values()].filter((lease) => lease.active).map((lease) => lease.partition),
    stepBack(partition) {
      void leases.get(partition)?.giveUp()
    },
    get subscribed() {
      return leases.size === options.partitions
    },
    stop: () => stopping.abort(),
    close: () => (closing ??= close()),
  }
}

function closed(channel: Channel): Promise<void> {
  return new Promise((resolve) => channel.once('close', resolve))
}
