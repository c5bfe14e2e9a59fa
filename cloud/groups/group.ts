import type { Clock, Random } from '../../src/clock.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { createProgress, type Progress, type ProgressState } from './progress.ts'
import { formerPartitionQueues, partitionQueue } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { CloudConfig } from '../config.ts'
import { rabbitDeliveries } from '../amqp/deliveries-rabbit.ts'
import type { Consumer } from '../pipeline/consumer.ts'
import type { Database } from '../database/database-postgres.ts'
import type { Deliveries, Sidings } from '../amqp/delivery.ts'
import type { PipelineObserver } from '../pipeline/observer.ts'
import { postgresUpgradeRegister } from '../queues/former-postgres.ts'
import { rabbitFormerLine } from '../queues/former-rabbit.ts'
import { type FormerQueue, type FormerQueues, upgradeQueues } from '../queues/former.ts'
import { createPipeline } from '../pipeline/pipeline.ts'
import type { SchemaCheck } from '../pipeline/schema-check.ts'
import type { Storage } from '../database/storage.ts'
import { bind, countsOf, declareTopology, refuseOrphanedPartitions, unbind } from '../amqp/topology-rabbit.ts'
import {
  groupTopology,
  partitionBindings,
  type QueueSpec,
  tellTaken,
  type Topology,
} from '../amqp/topology.ts'

/** A consumer group at work: its deliveries flow into its pipeline. */
export interface Group {
  readonly name: string
  readonly ordered: boolean
  readonly deliveries: Deliveries
  readonly inFlight: number
  /** Partitions that deliver to this instance. */
  readonly active: number
  readonly heldBy: string | undefined
  /** Partition queues of former versions: those that are being drained, and those that only wait to be deleted. */
  readonly former: FormerQueues['counts']
  /** Every queue of it that there should be, or still is. */
  queues(): QueueSpec[]
  progress(): ProgressState
  /** Settles what is under way, then gives the rest back to the broker. Idempotent. */
  close(): Promise<void>
}

export interface GroupParts {
  config: CloudConfig
  consuming: AmqpConnection
  publishing: AmqpConnection
  database: Database
  sidings: Sidings
  storage: Storage
  checkSchema: SchemaCheck
  clock: Clock
  random: Random
  log: Logger
  observer: PipelineObserver
  onFatal: (error: unknown) => void
  /** Gives the start up. */
  signal: AbortSignal
}

/** Declares a group's queues and lets its deliveries flow into its pipeline. @throws TidegateError `TOPOLOGY_*` */
export async function startGroup(consumer: Consumer, parts: GroupParts): Promise<Group> {
  const { group: name, types, ordered } = consumer
  const { config, publishing, clock, random, signal } = parts
  const { partitions } = config
  const log = parts.log.child({ group: name })
  const ladderMs = consumer.ladderMs ?? config.retry.ladder
  await orAborted(refuseOrphanedPartitions(publishing, name, partitions), signal)
  const queues = await orAborted(formerQueuesOf(publishing, name, partitions), signal)
  const register = postgresUpgradeRegister(parts.database, name, config.sharing.goneAfter, clock)
  const drained =
    queues.length > 0 ? await register.drained(queues.map(({ queue }) => queue)) : new Set<string>()
  const undrained = queues.filter(({ queue }) => !drained.has(queue)).map(({ partition }) => partition)
  const topology = (unbound: ReadonlySet<number>): Topology =>
    groupTopology({ group: name, types, ordered, ladderMs, partitions, unbound })
  tellTaken(log, await orAborted(declareTopology(publishing, topology(new Set(undrained))), signal))

  const progress = createProgress(clock, config.ops.stallAfter)
  const pipeline = createPipeline({
    ...parts,
    consumer,
    ladderMs,
    timeoutMs: consumer.timeoutMs ?? config.handlerTimeout,
    batchMax: config.batch.max,
    batchTimeTargetMs: config.batch.timeTarget,
    lanes: config.batch.lanes,
    instance: config.instance,
    log,
    observer: noting(parts.observer, progress),
  })
  const { consuming } = parts
  const { prefetch } = config
  const former = upgradeQueues({
    queues,
    drained,
    ordered,
    register,
    line: rabbitFormerLine({ group: name, ordered, consuming, publishing, prefetch, clock, random, log }),
    async bind(partition) {
      // The new one may have been deleted while it waited.
      await declareTopology(publishing, topology(former.unbound()))
      await bind(publishing, partitionBindings({ types }, partition, partitionQueue(name, partition)))
    },
    unbind: ({ queue, partition }) => unbind(publishing, partitionBindings({ types }, partition, queue)),
    onDelivery: (delivery) => pipeline.take(delivery),
    goneAfterMs: config.sharing.goneAfter,
    clock,
    random,
    log,
  })
  const deliveries = rabbitDeliveries({
    connection: consuming,
    group: name,
    partitions,
    prefetch,
    declare: () => declareTopology(publishing, topology(former.unbound())),
    whenReady: (partition) => former.whenReady(partition),
    clock,
    random,
    log,
  })
  deliveries.start((delivery) => pipeline.take(delivery))
  let closing: Promise<void> | undefined

  async function close(): Promise<void> {
    deliveries.stop()
    former.stop()
    await pipeline.close(config.stop.grace)
    await Promise.all([deliveries.close(), former.close()])
  }

  return {
    name,
    ordered,
    deliveries,
    get inFlight() {
      return pipeline.inFlight
    },
    get active() {
      return deliveries.active().length
    },
    get heldBy() {
      return pipeline.heldBy
    },
    get former() {
      return former.counts
    },
    queues: () => [
      ...topology(former.unbound()).queues,
      ...queues.map(({ queue }) => ({ name: queue, arguments: {} })),
    ],
    progress: () => progress.check(pipeline.inFlight),
    close: () => (closing ??= close()),
  }
}

/** Those that exist, oldest first. */
async function formerQueuesOf(
  connection: AmqpConnection,
  group: string,
  partitions: number,
): Promise<FormerQueue[]> {
  const former = Array.from({ length: partitions }, (_, partition) =>
    formerPartitionQueues(group, partition).map((queue) => ({ queue, partition })),
  ).flat()
  const counts = await Promise.all(former.map(({ queue }) => countsOf(connection, queue)))
  return former.filter((_, index) => counts[index] !== undefined)
}

/** An observer that also notes that something moved. */
function noting(observer: PipelineObserver, progress: Progress): PipelineObserver {
  return {
    ...observer,
    settled(group, outcome) {
      progress.moved()
      observer.settled(group, outcome)
    },
  }
}
