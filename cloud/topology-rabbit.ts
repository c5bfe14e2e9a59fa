import type { Channel } from 'rabbitmq-client'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import { partitionQueue } from '../src/wire.ts'
import type { Broker } from './broker-rabbit.ts'
import type { Topology } from './topology.ts'

/**
 * Makes sure that everything in the topology exists as described. Idempotent.
 * @throws TidegateError `TOPOLOGY_MISMATCH` naming what exists with other settings, and which.
 */
export async function declareTopology(broker: Broker, topology: Topology): Promise<void> {
  const channel = await broker.connection.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  try {
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
    for (const queue of topology.queues) {
      await declared(`queue ${queue.name}`, () =>
        channel.queueDeclare({ queue: queue.name, durable: true, arguments: { ...queue.arguments } }),
      )
    }
    for (const binding of topology.bindings) await channel.queueBind(binding)
  } finally {
    await channel.close()
  }
}

/**
 * A group that once had more partitions would leave queues behind that fill and that nobody reads.
 * @throws TidegateError `TOPOLOGY_PARTITIONS`
 */
export async function refuseOrphanedPartitions(
  broker: Broker,
  group: string,
  partitions: number,
): Promise<void> {
  const queue = partitionQueue(group, partitions)
  if (!(await exists(broker, queue))) return
  throw new TidegateError('TOPOLOGY_PARTITIONS', {
    message: `group ${group} was deployed with more than ${partitions} partitions: there is a queue ${queue}`,
    retryable: false,
    hint: 'set partitions back; to have fewer, drain the queues, delete them, and change every gateway with the cloud',
  })
}

async function exists(broker: Broker, queue: string): Promise<boolean> {
  const channel = await broker.connection.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  try {
    return await passively(channel, queue)
  } finally {
    await channel.close()
  }
}

async function passively(channel: Channel, queue: string): Promise<boolean> {
  try {
    await channel.queueDeclare({ queue, passive: true })
    return true
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return false
    throw error
  }
}

async function declared(what: string, declare: () => Promise<unknown>): Promise<void> {
  try {
    await declare()
  } catch (error) {
    if (codeOf(error) !== 'PRECONDITION_FAILED') throw error
    throw new TidegateError('TOPOLOGY_MISMATCH', {
      message: `the ${what} exists with other settings: ${difference(messageOf(error))}`,
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
