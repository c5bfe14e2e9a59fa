import type { Logger } from '../../src/log.ts'
import { mirrorQueue, partitionName, partitionQueue, rungName, wire } from '../../src/contract/wire.ts'
import type { Siding } from './delivery.ts'

/**
 * Everything that must exist in the broker, as data. Declaring it is idempotent; topology-rabbit.ts does it.
 */
export interface Topology {
  exchanges: ExchangeSpec[]
  queues: QueueSpec[]
  bindings: BindingSpec[]
}

export interface ExchangeSpec {
  name: string
  type: 'topic' | 'fanout'
  arguments: Readonly<Record<string, string>>
}

export type QueueArguments = Readonly<Record<string, string | number | boolean>>

export interface QueueSpec {
  name: string
  arguments: QueueArguments
  /** What a former version gave it. A queue that has these is taken as it is: nothing is lost by them by themselves. */
  formerArguments?: QueueArguments
}

export interface BindingSpec {
  exchange: string
  queue: string
  routingKey: string
}

export interface GroupTopologyOptions {
  group: string
  /** Type patterns: `*` stands for one label, `#` for any number. */
  types: readonly string[]
  /** One consumer at a time per partition, so that each device's events are seen in order (G6). */
  ordered: boolean
  ladderMs: readonly number[]
  partitions: number
  /** Whether other tools are to see its newest dead letters. */
  mirror: boolean
  /** Partitions whose queue is not bound yet: one of a former generation still gets their events. */
  unbound?: ReadonlySet<number>
}

/** Bounds of the sidings (G7). A full siding refuses, and the partition queue behind it waits. */
const sidingMessagesMax = 1_000_000
/**
 * RabbitMQ 4 gives every quorum queue without a limit of its own one of 20 deliveries, and drops what was delivered more often. A
 * delivery is not an attempt: it is a restart, a rebalance, a person's look. So every queue has a limit that nothing meets (G5);
 * older brokers refuse -1 for "no limit".
 */
const deliveryLimit = { 'x-delivery-limit': 1_000_000_000 } as const

const quorum = { 'x-queue-type': 'quorum' } as const
/**
 * A policy may lay a limit over any queue, and by itself a queue at its limit drops its oldest. What was confirmed and
 * routed is released by the gateways: it must not be dropped (G3), so the newest is refused, and stays where it is.
 */
const refusing = { 'x-overflow': 'reject-publish' } as const

/** Bounds of what is a copy: the oldest goes, and nobody waits (G7). */
const mirrored = {
  'x-overflow': 'drop-head',
  'x-max-length': 100_000,
  'x-max-length-bytes': 268_435_456,
} as const

/** What the gateways publish to. What no group wants is kept, not dropped. */
export function exchangeTopology(): Topology {
  return {
    exchanges: [
      { name: wire.unroutable, type: 'fanout', arguments: {} },
      { name: wire.exchange, type: 'topic', arguments: { 'alternate-exchange': wire.unroutable } },
    ],
    queues: [keeping(wire.unroutable)],
    bindings: [{ exchange: wire.unroutable, queue: wire.unroutable, routingKey: '' }],
  }
}

/** The partition queues and rungs of one consumer group, and the mirror of its dead letters. */
export function groupTopology(options: GroupTopologyOptions): Topology {
  const { group, ordered, ladderMs, partitions, unbound, mirror } = options
  const numbers = Array.from({ length: partitions }, (_, partition) => partition)
  const bound = numbers.filter((partition) => !unbound?.has(partition))
  const rungs = [...new Set(ladderMs)].map((delayMs) => ({ name: rungName(group, delayMs), delayMs }))
  return {
    exchanges: rungs.map(({ name }) => ({ name, type: 'fanout', arguments: {} })),
    queues: [
      ...numbers.map((partition) => ({
        name: partitionQueue(group, partition),
        arguments: {
          ...quorum,
          ...refusing,
          ...(ordered && { 'x-single-active-consumer': true }),
          ...deliveryLimit,
        },
      })),
      ...rungs.map(({ name, delayMs }) => limited(name, rungArguments(delayMs))),
      ...(mirror ? [mirrorSpec(group)] : []),
    ],
    bindings: [
      ...bound.flatMap((partition) =>
        partitionBindings(options, partition, partitionQueue(group, partition)),
      ),
      ...rungs.map(({ name }) => ({ exchange: name, queue: name, routingKey: '' })),
    ],
  }
}

/** What brings a partition's events to a queue of it. */
export function partitionBindings(
  { types }: Pick<GroupTopologyOptions, 'types'>,
  partition: number,
  queue: string,
): BindingSpec[] {
  return types.map((type) => ({
    exchange: wire.exchange,
    queue,
    routingKey: `${partitionName(partition)}.${type}`,
  }))
}

/** The one siding a letter is meant for. */
export function sidingTopology(siding: Siding): Topology {
  const { group, delayMs } = siding
  return groupTopology({ group, types: [], ordered: true, ladderMs: [delayMs], partitions: 0, mirror: false })
}

/**
 * A rung is a fanout exchange and a queue of one name. A letter keeps its routing key, which is the name of the
 * queue it failed in; the fanout ignores it, and when its time is up the default exchange takes it by that key
 * straight back to that queue, so that no other group sees it again.
 */
function rungArguments(delayMs: number): QueueArguments {
  return {
    ...quorum,
    'x-message-ttl': delayMs,
    'x-dead-letter-exchange': '',
    'x-dead-letter-strategy': 'at-least-once',
    ...refuseBeyond(sidingMessagesMax),
  }
}

function mirrorSpec(group: string): QueueSpec {
  return { name: mirrorQueue(group), arguments: { ...quorum, ...mirrored, ...deliveryLimit } }
}

/** Where messages lie until a person comes. */
function keeping(name: string): QueueSpec {
  return limited(name, { ...quorum, ...refuseBeyond(sidingMessagesMax) })
}

/** Former versions gave it no delivery limit. */
function limited(name: string, formerArguments: QueueArguments): QueueSpec {
  return { name, arguments: { ...formerArguments, ...deliveryLimit }, formerArguments }
}

function refuseBeyond(messagesMax: number): QueueArguments {
  return { ...refusing, 'x-max-length': messagesMax }
}

/** What it means that queues were taken as a former version made them, and what to do about it. */
export function tellTaken(log: Logger, queues: readonly string[]): void {
  if (queues.length === 0) return
  const hint =
    'with a policy for them there is nothing to do; else, before RabbitMQ 4, lay one over them, or let them run empty and delete them, so that the next start declares them anew: docs/OPERATIONS.md, Upgrade of queues'
  log.warn(
    { queues, hint },
    'these queues exist without a delivery limit of their own: unless a policy gives them one, RabbitMQ 4 takes a message out of them at the 21st look that puts it back',
  )
}
