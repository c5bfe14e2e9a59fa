import { TidegateError } from '../../src/errors.ts'
import type { QueueSpec } from '../amqp/topology.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import { rabbitDeliveries } from '../amqp/deliveries-rabbit.ts'
import type { Deliveries, Delivery } from '../amqp/delivery.ts'
import type { Database } from '../database/database-postgres.ts'
import { startFormerLetters } from '../letters/former-letters.ts'
import { isCrowded } from '../parking/crowded-postgres.ts'
import type { Occupancy } from '../parking/parking.ts'
import type { PipelineObserver } from '../pipeline/observer.ts'
import { createPipeline, type Pipeline, type PipelineOptions } from '../pipeline/pipeline.ts'
import { postgresUpgradeRegister } from '../queues/former-postgres.ts'
import { rabbitFormerLine } from '../queues/former-rabbit.ts'
import type { FormerQueues } from '../queues/former.ts'
import { startUpgrade } from '../queues/upgrade.ts'
import type { Guard } from '../protection/guard.ts'
import type { GroupState } from '../protection/group-states.ts'
import { createProgress, type Progress, type ProgressState } from './progress.ts'
import type { Outbound } from '../replays/outbound.ts'
import { type Beginning, startBeginning } from './beginning.ts'
import type { Beginnings } from './beginnings.ts'
import { createReturns, historyLadder, type Returns } from './returns.ts'
import { declareGroupQueues, type GroupQueues, hasQueues, partitionsOf } from './queues.ts'

/** A consumer group at work: its deliveries flow into its pipeline. */
export interface Group {
  readonly name: string
  readonly ordered: boolean
  readonly deliveries: Deliveries
  readonly inFlight: number
  /** Partitions that deliver to this instance. */
  readonly active: number
  /** By lane: for how long its oldest deliveries have waited for attempts that failed, and for the one under way. */
  readonly lanesStarvedMs: readonly number[]
  readonly heldBy: TidegateError | undefined
  /** What is parked of it, whichever instance parked it. */
  readonly parked: Occupancy
  /** Why it does not simply work: paused by a person, tripped, or on trial. */
  readonly state: GroupState | undefined
  /** Partition queues of former versions: those that are being drained, and those that only wait to be deleted. */
  readonly former: FormerQueues['counts']
  /** Every queue of it that there should be, or still is. */
  queues(): QueueSpec[]
  progress(): ProgressState
  /** Settles what is under way, then gives the rest back to the broker. Idempotent. */
  close(): Promise<void>
}

export interface GroupOptions extends Omit<PipelineOptions, 'gate'> {
  guard: Guard
  partitions: number
  /** Whether there is one of its dead letters. */
  mirror: boolean
  /** Most unacknowledged deliveries per partition (G7). */
  prefetch: number
  /** An instance without a sign of life for so long is gone. */
  goneAfterMs: number
  /** Work without movement for so long is stuck. */
  stallAfterMs: number
  /** What is under way at the end gets so long to be settled. */
  stopGraceMs: number
  consuming: AmqpConnection
  publishing: AmqpConnection
  database: Database
  /** Who is here, and has begun where; absent: nobody asks. */
  beginnings?: Beginnings | undefined
  /** Of the group history, as it is configured. */
  historyLadderMs?: readonly number[]
  outbound?: Outbound | undefined
  /** Gives the start up. */
  signal: AbortSignal
}

/** Of an instance that died: then another goes on with its beginning. */
export const beginningLeaseMs = 10_000

/** Declares a group's queues and lets its deliveries flow into its pipeline. @throws TidegateError `TOPOLOGY_*` */
export async function startGroup(given: GroupOptions): Promise<Group> {
  const { group, ordered } = given.consumer
  const { guard } = given
  const options = { ...given, group, ordered, log: given.log.child({ group }) }
  const register = postgresUpgradeRegister(given.database, group, given.goneAfterMs, given.clock)
  const isBeginning = await begins(options)
  const queues = await declareGroupQueues({ ...options, register, isUnbound: isBeginning })

  const progress = createProgress(given.clock, given.stallAfterMs)
  const pipeline = createPipeline({
    ...options,
    gate: guard.gate,
    observer: noting(given.observer, progress),
  })
  const isBlocked = (): boolean => given.publishing.blocked !== undefined
  const isHeld = (): boolean => pipeline.heldBy !== undefined || isBlocked() || guard.gate.closed
  const onDelivery = (delivery: Delivery): void => pipeline.take(delivery)
  const returns = isBeginning ? createReturns({ ...options, isHeld }) : undefined
  const beginning = returns && beginningOf(options, { queues, returns, isHeld, onDelivery })
  const former = startUpgrade({
    ...options,
    after: beginning?.over,
    queues: queues.former,
    drained: queues.drained,
    register,
    line: rabbitFormerLine({ ...options, isHeld }),
    async bind(partition) {
      // The new one may have been deleted while it waited.
      await queues.declare(former.unbound())
      await queues.bind(partition)
    },
    unbind: (queue) => queues.unbind(queue),
    onDelivery,
  })
  const unbound = (): ReadonlySet<number> =>
    beginning && !beginning.isOver ? new Set(partitionsOf(given.partitions)) : former.unbound()
  const deliveries = rabbitDeliveries({
    ...options,
    connection: given.consuming,
    isHeld,
    isBlocked,
    declare: () => queues.declare(unbound()),
    whenReady: (partition) =>
      beginning ? beginning.over.then(() => former.whenReady(partition)) : former.whenReady(partition),
  })
  deliveries.start(onDelivery)
  guard.over({
    pause() {
      deliveries.pause()
      former.pause()
      returns?.pause()
    },
    resume() {
      deliveries.resume()
      former.resume()
      returns?.resume()
    },
  })
  const formerLetters = startFormerLetters(options)
  const parts = { queues, pipeline, former, formerLetters, deliveries, progress, guard, beginning }
  return new RunningGroup(options, parts)
}

interface GroupParts {
  queues: GroupQueues
  pipeline: Pipeline
  former: FormerQueues
  formerLetters: { close(): Promise<void> }
  deliveries: Deliveries
  progress: Progress
  guard: Guard
  beginning: Beginning | undefined
}

/**
 * Whether it is new, and to begin at the beginning of history; or was found so before, and is not done with it. The database knows as well as the
 * broker whether it is new: of queues that are gone no group becomes so (G4).
 * @throws TidegateError `GROUP_BEGINS`
 */
async function begins({ group, consumer, beginnings, publishing, partitions, log }: Named): Promise<boolean> {
  if (beginnings === undefined) return false
  const standing = await beginnings.standing(group)
  if (consumer.from !== 'beginning') {
    if (standing === 'under-way') throw groupBegins(group)
    if (standing === undefined) await beginnings.note(group)
    return false
  }
  if (standing === 'over' || standing === 'under-way') return standing === 'under-way'
  if (standing === undefined && !(await hasQueues(publishing, group, partitions))) {
    await beginnings.begin(group)
    await beginnings.note(group)
    return true
  }
  // Whoever has begun it meanwhile has said so before there were queues.
  if ((await beginnings.standing(group)) === 'under-way') return true
  await beginnings.note(group)
  log.info({ hint: fromHint }, 'the group was here before: that it is to begin at the beginning says nothing')
  return false
}

const fromHint = 'to have history again: tidegate replay --to GROUP --from beginning'

function groupBegins(group: string): TidegateError {
  return new TidegateError('GROUP_BEGINS', {
    message: `${group} is on its way from the beginning of history, and its consumer says from: 'now'`,
    retryable: false,
    hint: `let it say from: 'beginning' until that is over; or end it: tidegate replay list shows which it is, tidegate replay stop ends it, and the rest of history is left out`,
  })
}

type Named = GroupOptions & { group: string }

interface BeginningParts {
  queues: GroupQueues
  returns: Returns
  isHeld: () => boolean
  onDelivery: (delivery: Delivery) => void
}

function beginningOf(options: Named, { queues, ...parts }: BeginningParts): Beginning | undefined {
  const { beginnings, outbound, partitions, publishing, historyLadderMs = [] } = options
  if (beginnings === undefined || outbound === undefined) return undefined
  return startBeginning({
    ...options,
    ...parts,
    beginnings,
    outbound,
    ladder: historyLadder(publishing, historyLadderMs),
    isCrowded: () => isCrowded(options.database, options.group, options.parking),
    leaseMs: beginningLeaseMs,
    bind: async () => {
      for (const partition of partitionsOf(partitions)) await queues.bind(partition)
    },
  })
}

class RunningGroup implements Group {
  readonly name: string
  readonly ordered: boolean
  readonly deliveries: Deliveries
  readonly #parts: GroupParts
  readonly #stopGraceMs: number
  #closing: Promise<void> | undefined

  constructor(
    { group, ordered, stopGraceMs }: { group: string; ordered: boolean; stopGraceMs: number },
    parts: GroupParts,
  ) {
    this.name = group
    this.ordered = ordered
    this.deliveries = parts.deliveries
    this.#parts = parts
    this.#stopGraceMs = stopGraceMs
  }

  get inFlight(): number {
    return this.#parts.pipeline.inFlight
  }

  get active(): number {
    return this.deliveries.active().length
  }

  get lanesStarvedMs(): readonly number[] {
    return this.#parts.pipeline.lanesStarvedMs
  }

  get heldBy(): TidegateError | undefined {
    return this.#parts.pipeline.heldBy
  }

  get parked(): Occupancy {
    return this.#parts.pipeline.parked
  }

  get former(): FormerQueues['counts'] {
    return this.#parts.former.counts
  }

  get state(): GroupState | undefined {
    return this.#parts.guard.state
  }

  queues(): QueueSpec[] {
    const { queues, former } = this.#parts
    return [
      ...queues.topology(former.unbound()).queues,
      ...queues.former.map(({ queue }) => ({ name: queue, arguments: {} })),
    ]
  }

  progress(): ProgressState {
    const { progress, guard } = this.#parts
    // What may not begin does not stall.
    if (guard.gate.closed || guard.gate.paces) progress.moved()
    return progress.check(this.inFlight)
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const { deliveries, former, formerLetters, pipeline, beginning } = this.#parts
    beginning?.stop()
    deliveries.stop()
    former.stop()
    await Promise.all([pipeline.close(this.#stopGraceMs), formerLetters.close()])
    await Promise.all([deliveries.close(), former.close(), beginning?.close()])
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
