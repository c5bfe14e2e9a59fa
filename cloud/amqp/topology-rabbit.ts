import type { Channel } from 'rabbitmq-client'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { formerPartitionQueues, partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { BindingSpec, QueueArguments, QueueSpec, Topology } from './topology.ts'

/**
 * Makes sure that everything in the topology exists as described. Idempotent.
 * @returns the queues that exist as a former version made them, and were taken as they are.
 * @throws TidegateError `TOPOLOGY_MISMATCH` naming what exists with other settings, and which; `TOPOLOGY_REFUSED`
 *   naming what our user has no right to.
 */
export async function declareTopology(connection: AmqpConnection, topology: Topology): Promise<string[]> {
  const taken = await onChannel(connection, async (channel) => {
    for (const exchange of topology.exchanges) {
      await declared(`exchange ${exchange.name}`, () =>
        channel.exchangeDeclare({
          exchange: exchange.name,
          type: exchange.type,
          durable: true,
          arguments: { ...exchange.arguments },
        }),
      )
    }
    return declareQueues(connection, channel, topology.queues)
  })
  await bind(connection, topology.bindings)
  return taken
}

async function declareQueues(
  connection: AmqpConnection,
  channel: Channel,
  queues: readonly QueueSpec[],
): Promise<string[]> {
  for (const [index, queue] of queues.entries()) {
    try {
      await declareQueue(channel, queue.name, queue.arguments)
    } catch (error) {
      const { formerArguments } = queue
      if (codeOf(error) !== 'TOPOLOGY_MISMATCH' || formerArguments === undefined) throw error
      // The refusal has closed the channel.
      const rest = queues.slice(index + 1)
      return onChannel(connection, async (next) => {
        // What differs from both is told as it differs from what is asked for now.
        await declareQueue(next, queue.name, formerArguments).catch((again: unknown) => {
          throw codeOf(again) === 'TOPOLOGY_MISMATCH' ? error : again
        })
        return [queue.name, ...(await declareQueues(connection, next, rest))]
      })
    }
  }
  return []
}

async function declareQueue(channel: Channel, queue: string, given: QueueArguments): Promise<void> {
  await declared(`queue ${queue}`, () =>
    channel.queueDeclare({ queue, durable: true, arguments: { ...given } }),
  )
}

/** Idempotent. */
export async function bind(connection: AmqpConnection, bindings: readonly BindingSpec[]): Promise<void> {
  await onChannel(connection, async (channel) => {
    for (const binding of bindings) {
      await declared(`binding of ${binding.queue}`, () => channel.queueBind(binding))
    }
  })
}

/** Idempotent; a queue that is gone is bound to nothing. */
export async function unbind(connection: AmqpConnection, bindings: readonly BindingSpec[]): Promise<void> {
  await onChannel(connection, async (channel) => {
    for (const binding of bindings) await channel.queueUnbind(binding)
  })
}

/** With the exchange that has brought it what it held, if there is one. Idempotent. Whoever calls it knows that it is empty. */
export async function removeQueue(
  connection: AmqpConnection,
  queue: string,
  exchange?: string,
): Promise<void> {
  await onChannel(connection, async (channel) => {
    if (exchange !== undefined) await channel.exchangeDelete({ exchange })
    await channel.queueDelete({ queue })
  })
}

/**
 * A group that once had more partitions would leave queues behind that fill and that nobody reads.
 * @throws TidegateError `TOPOLOGY_PARTITIONS`
 */
export async function refuseOrphanedPartitions(
  connection: AmqpConnection,
  group: string,
  partitions: number,
): Promise<void> {
  const names = [partitionQueue(group, partitions), ...formerPartitionQueues(group, partitions)]
  for (const queue of names) {
    if ((await countsOf(connection, queue)) === undefined) continue
    throw new TidegateError('TOPOLOGY_PARTITIONS', {
      message: `group ${group} was deployed with more than ${partitions} partitions: there is a queue ${queue}`,
      retryable: false,
      hint: 'set partitions back; to have fewer, drain the queues, delete them, and change every gateway with the cloud',
    })
  }
}

export interface QueueCounts {
  /** Without those that are delivered and not acknowledged. */
  messages: number
  /** Of an ordered group's queue: the active one alone, and any that left with messages in its hands. */
  consumers: number
}

/**
 * What the broker says of a queue; undefined if there is none. A quorum queue that does not answer in time has zeros,
 * so that no messages mean nothing without a consumer.
 */
export async function countsOf(connection: AmqpConnection, queue: string): Promise<QueueCounts | undefined> {
  return onChannel(connection, async (channel) => {
    try {
      const { messageCount, consumerCount } = await channel.queueDeclare({ queue, passive: true })
      return { messages: messageCount, consumers: consumerCount }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  })
}

/** RabbitMQ says NOT_FOUND also of a queue whose node is down, or that does not answer: that one is there. */
export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'NOT_FOUND' && /\bno (queue|exchange) '/.test(amqpMessageOf(error))
}

async function onChannel<T>(connection: AmqpConnection, work: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await connection.client.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  try {
    return await work(channel)
  } finally {
    await channel.close()
  }
}

async function declared(what: string, declare: () => Promise<unknown>): Promise<void> {
  try {
    await declare()
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ACCESS_REFUSED') {
      throw new TidegateError('TOPOLOGY_REFUSED', {
        message: `the broker's user has no right to the ${what}: ${amqpMessageOf(error)}`,
        retryable: false,
        hint: 'give it the rights that docs/OPERATIONS.md lists; queue names of this version may not be among the old ones',
        cause: error,
      })
    }
    if (code !== 'PRECONDITION_FAILED') throw error
    throw new TidegateError('TOPOLOGY_MISMATCH', {
      message: `the ${what} exists with other settings: ${difference(amqpMessageOf(error))}`,
      retryable: false,
      hint: 'put the setting back, or let it run empty and delete it so that it is declared anew',
      cause: error,
    })
  }
}

/** RabbitMQ: `inequivalent arg 'x' for queue 'q' in vhost '/': received 'a' but current is 'b'` */
function difference(message: string): string {
  const match = /inequivalent arg '([^']+)'.*received (.+?) but current is (.+)$/s.exec(message)
  return match ? `${match[1]} is ${match[3]}, and ${match[2]} is asked for` : message
}
