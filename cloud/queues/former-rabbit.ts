import type { AsyncMessage } from 'rabbitmq-client'
import type { Clock, Random } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { headers, partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { FormerLine, FormerQueue } from './former.ts'
import type { Lease } from '../amqp/lease-rabbit.ts'
import { type Subscription, subscribe } from '../amqp/subscription-rabbit.ts'
import { countsOf } from '../amqp/topology-rabbit.ts'

export interface RabbitFormerLineOptions {
  group: string
  /** Whether its queues have a single active consumer. */
  ordered: boolean
  consuming: AmqpConnection
  publishing: AmqpConnection
  /** Most unacknowledged deliveries per queue (G7). */
  prefetch: number
  clock: Clock
  random: Random
  log: Logger
}

const lookEveryMs = 20
const lookMsMax = 1_000
/** A probe that has not come, out of an empty queue that has given us nothing for so long, was taken by another. */
const probeLostAfterMs = 10_000
const probeText =
  'A probe, by which Tidegate learns whether a queue is drained. It was taken by an instance of a former version; delete it.'

/**
 * Nothing in AMQP says who else consumes from a queue with a single active consumer: RabbitMQ counts the active one
 * alone. So a message of ours, a probe, is put behind everything that is in the queue. When it is delivered to us we
 * are the active consumer, and all that was in front of it has been delivered to us or was settled before.
 */
export function rabbitFormerLine(options: RabbitFormerLineOptions): FormerLine {
  const { group, publishing, clock } = options
  const subscriptions = new Map<string, Subscription>()
  /** Of probes that came: on which lease, and where. */
  const seen = new Map<string, { lease: Lease; deliveryTag: number }>()
  let stopped = false
  let probes = 0

  function intercept(message: AsyncMessage, lease: Lease): boolean {
    const probe: unknown = message.headers?.[headers.probe]
    if (typeof probe !== 'string') return false
    seen.set(probe, { lease, deliveryTag: message.deliveryTag })
    lease.delivery(message, clock.now()).ack()
    return true
  }

  async function emptied(former: FormerQueue, signal: AbortSignal): Promise<void> {
    for (let waitMs = lookEveryMs; !(await isEmpty(former, signal)); waitMs = Math.min(2 * waitMs, lookMsMax))
      await clock.sleep(waitMs, signal)
  }

  /** False: not yet, or nothing can be told, because there is no subscription, or another one than a moment ago. */
  async function isEmpty({ queue }: FormerQueue, signal: AbortSignal): Promise<boolean> {
    const subscription = subscriptions.get(queue)
    if (subscription?.over) return true
    const lease = subscription?.lease
    if (lease === undefined) return false
    // At a limit that a policy lays over it, a probe would push out what is in front of it.
    const counts = await orAborted(countsOf(publishing, queue), signal)
    if (counts === undefined) return true
    if (counts.messages > 0 || counts.consumers === 0) return false
    return options.ordered ? probed(queue, lease, signal) : lease.idle
  }

  /** False: this probe will tell nothing, because the subscription has changed or another took it. */
  async function probed(queue: string, lease: Lease, signal: AbortSignal): Promise<boolean> {
    const probe = `${++probes} ${options.random()}`
    await orAborted(publish(queue, probe), signal)
    try {
      return await answered(queue, probe, lease, signal)
    } finally {
      seen.delete(probe)
    }
  }

  async function answered(queue: string, probe: string, lease: Lease, signal: AbortSignal): Promise<boolean> {
    let quietSinceMs = clock.monotonicMs()
    while (!lease.lost) {
      const came = seen.get(probe)
      if (came && came.lease !== lease) return false
      if (came && lease.hasSettled(came.deliveryTag)) {
        const counts = await orAborted(countsOf(publishing, queue), signal)
        // One that left without closing its channel would still be counted, with what it has in its hands.
        return counts === undefined || counts.consumers === 1
      }
      if (came || !lease.idle) quietSinceMs = clock.monotonicMs()
      if (clock.monotonicMs() - quietSinceMs > probeLostAfterMs) {
        const counts = await orAborted(countsOf(publishing, queue), signal)
        // Zeros are no answer; and what is in the queue may have the probe behind it.
        if (counts && counts.consumers > 0 && counts.messages === 0) throw notAlone(queue)
        quietSinceMs = clock.monotonicMs()
      }
      await clock.sleep(lookEveryMs, signal)
    }
    return false
  }

  async function publish(queue: string, probe: string): Promise<void> {
    const channel = await publishing.client.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    try {
      await channel.basicPublish(
        { routingKey: queue, durable: true, headers: { [headers.probe]: probe } },
        Buffer.from(probeText),
      )
    } finally {
      await channel.close()
    }
  }

  function stop(): void {
    stopped = true
    for (const subscription of subscriptions.values()) subscription.stop()
  }

  return {
    subscribe({ queue, partition }: FormerQueue, onDelivery: (delivery: Delivery) => void) {
      if (stopped || subscriptions.has(queue)) return
      const subscription = subscribe({
        ...options,
        connection: options.consuming,
        queue,
        partition,
        home: partitionQueue(group, partition),
        onDelivery,
        intercept,
        onMissing: async () => false,
      })
      subscriptions.set(queue, subscription)
    },
    async leave({ queue }) {
      const subscription = subscriptions.get(queue)
      if (subscription === undefined || subscription.over) return
      subscriptions.delete(queue)
      await subscription.close()
    },
    isOver: ({ queue }) => subscriptions.get(queue)?.over === true,
    emptied,
    stop,
    async close() {
      stop()
      await Promise.all([...subscriptions.values()].map((subscription) => subscription.close()))
    },
  }
}

function notAlone(queue: string): TidegateError {
  return new TidegateError('QUEUE_NOT_ALONE', {
    message: `another consumer reads the queue ${queue}, which is to be drained`,
    retryable: true,
    hint: 'stop the instances of the former version; rabbitmqctl list_consumers shows who reads it',
  })
}
