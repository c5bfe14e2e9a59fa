import type { Clock, Random } from '../src/clock.ts'
import { orAborted } from '../src/lifecycle.ts'
import type { Logger } from '../src/log.ts'
import { createProgress, type Progress, type ProgressState } from '../src/progress.ts'
import type { Broker } from './broker-rabbit.ts'
import type { CloudConfig } from './config.ts'
import { rabbitDeliveries } from './consumer-rabbit.ts'
import type { Consumer } from './consumer.ts'
import type { Deliveries, Sidings } from './delivery.ts'
import type { PipelineObserver } from './observer.ts'
import { createPipeline } from './pipeline.ts'
import type { SchemaCheck } from './schema-check.ts'
import type { Storage } from './storage.ts'
import { declareTopology, refuseOrphanedPartitions } from './topology-rabbit.ts'
import { groupTopology } from './topology.ts'

/** A consumer group at work: its deliveries flow into its pipeline. */
export interface Group {
  readonly name: string
  readonly ordered: boolean
  readonly deliveries: Deliveries
  readonly inFlight: number
  /** Partitions that deliver to this instance. */
  readonly active: number
  readonly heldBy: string | undefined
  progress(): ProgressState
  /** Settles what is under way, then gives the rest back to the broker. Idempotent. */
  close(): Promise<void>
}

export interface GroupParts {
  config: CloudConfig
  consuming: Broker
  publishing: Broker
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
  const topology = groupTopology({ group: name, types, ordered, ladderMs, partitions })
  await orAborted(refuseOrphanedPartitions(publishing, name, partitions), signal)
  await orAborted(declareTopology(publishing, topology), signal)

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
  const deliveries = rabbitDeliveries({
    broker: parts.consuming,
    group: name,
    partitions,
    prefetch: config.prefetch,
    declare: () => declareTopology(publishing, topology),
    clock,
    random,
    log,
  })
  deliveries.start((delivery) => pipeline.take(delivery))
  let closing: Promise<void> | undefined

  async function close(): Promise<void> {
    deliveries.stop()
    await pipeline.close(config.stop.grace)
    await deliveries.close()
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
    progress: () => progress.check(pipeline.inFlight),
    close: () => (closing ??= close()),
  }
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
