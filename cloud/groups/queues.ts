import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { formerPartitionQueues, partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import { bind, countsOf, declareTopology, refuseOrphanedPartitions, unbind } from '../amqp/topology-rabbit.ts'
import { groupTopology, partitionBindings, tellTaken, type Topology } from '../amqp/topology.ts'
import type { ConfiguredConsumer } from '../pipeline/definition.ts'
import { rungsMsOf } from '../pipeline/retry.ts'
import type { FormerQueue, UpgradeRegister } from '../queues/former.ts'

/** The queues of a group as the broker has them. */
export interface GroupQueues {
  /** Partition queues of former versions that existed at the start, oldest first. */
  readonly former: readonly FormerQueue[]
  /** Of those, the ones that were noted as drained. */
  readonly drained: ReadonlySet<string>
  /** What there should be of today's while these partitions get their events through a former queue. */
  topology(unbound: ReadonlySet<number>): Topology
  /** Idempotent. */
  declare(unbound: ReadonlySet<number>): Promise<unknown>
  /** Brings a partition's events to its queue of today. Idempotent. */
  bind(partition: number): Promise<void>
  /** Idempotent. */
  unbind(former: FormerQueue): Promise<void>
}

export interface GroupQueuesOptions {
  consumer: ConfiguredConsumer
  partitions: number
  /** Whether there is one of its dead letters. */
  mirror: boolean
  publishing: AmqpConnection
  register: UpgradeRegister
  /** Its queues of today are to get nothing yet. */
  isUnbound?: boolean
  log: Logger
  /** Gives the start up. */
  signal: AbortSignal
}

/** Declares a group's queues. @throws TidegateError `TOPOLOGY_*` */
export async function declareGroupQueues(options: GroupQueuesOptions): Promise<GroupQueues> {
  const { consumer, partitions, mirror, publishing, register, isUnbound = false, log, signal } = options
  const { group, types, ordered } = consumer
  const ladderMs = rungsMsOf(consumer)
  await orAborted(refuseOrphanedPartitions(publishing, group, partitions), signal)
  const former = await orAborted(formerQueuesOf(publishing, group, partitions), signal)
  const drained =
    former.length > 0 ? await register.drained(former.map(({ queue }) => queue)) : new Set<string>()
  const undrained = former.filter(({ queue }) => !drained.has(queue)).map(({ partition }) => partition)
  const topology = (unbound: ReadonlySet<number>): Topology =>
    groupTopology({ group, types, ordered, ladderMs, partitions, mirror, unbound })
  const declare = (unbound: ReadonlySet<number>): Promise<string[]> =>
    declareTopology(publishing, topology(unbound))
  const none = isUnbound ? partitionsOf(partitions) : undrained
  tellTaken(log, await orAborted(declare(new Set(none)), signal))
  return {
    former,
    drained,
    topology,
    declare,
    bind: (partition) =>
      bind(publishing, partitionBindings({ types }, partition, partitionQueue(group, partition))),
    unbind: ({ queue, partition }) => unbind(publishing, partitionBindings({ types }, partition, queue)),
  }
}

export function partitionsOf(partitions: number): number[] {
  return Array.from({ length: partitions }, (_, partition) => partition)
}

/** Whether a group of this name was declared before. */
export async function hasQueues(
  connection: AmqpConnection,
  group: string,
  partitions: number,
): Promise<boolean> {
  const counts = await Promise.all(
    partitionsOf(partitions).map((partition) => countsOf(connection, partitionQueue(group, partition))),
  )
  return (
    counts.some((each) => each !== undefined) ||
    (await formerQueuesOf(connection, group, partitions)).length > 0
  )
}

/** Those that exist, oldest first. */
async function formerQueuesOf(
  connection: AmqpConnection,
  group: string,
  partitions: number,
): Promise<FormerQueue[]> {
  const former = partitionsOf(partitions).flatMap((partition) =>
    formerPartitionQueues(group, partition).map((queue) => ({ queue, partition })),
  )
  const counts = await Promise.all(former.map(({ queue }) => countsOf(connection, queue)))
  return former.filter((_, index) => counts[index] !== undefined)
}
