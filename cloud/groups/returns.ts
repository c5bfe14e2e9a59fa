import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import { partitionQueue, rungName } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Delivery } from '../amqp/delivery.ts'
import { countsOf } from '../amqp/topology-rabbit.ts'
import { rabbitFormerLine } from '../queues/former-rabbit.ts'
import type { FormerLine } from '../queues/former.ts'
import { partitionsOf } from './queues.ts'

/**
 * What comes back to a group from its ladder while its queues are not bound: nothing else is in them, so that they may be read (G5), and
 * what fails does not gather there (G7). Whoever has the claim reads; nobody does once the queues are bound, until history is over (G6).
 */
export interface Returns {
  /** Idempotent. */
  read(onDelivery: (delivery: Delivery) => void): void
  /** What is in hand is given back. Idempotent. */
  leave(): Promise<void>
  /** Whether anybody reads them, here or elsewhere. */
  isRead(): Promise<boolean>
  /** How many wait to be read. */
  waiting(): Promise<number>
  pause(): void
  resume(): void
  close(): Promise<void>
}

/** On which rungs history may still have what was published before the queues of a group were bound. */
export interface HistoryLadder {
  isEmpty(): Promise<boolean>
  /** After this nothing is on it that was then, ms. */
  lengthMs: number
}

export interface ReturnsOptions {
  group: string
  ordered: boolean
  partitions: number
  prefetch: number
  consuming: AmqpConnection
  publishing: AmqpConnection
  isHeld: () => boolean
  clock: Clock
  random: Random
  log: Logger
}

export function createReturns(options: ReturnsOptions): Returns {
  const { group, partitions, publishing } = options
  const queues = partitionsOf(partitions).map((partition) => ({
    queue: partitionQueue(group, partition),
    partition,
  }))
  const line: FormerLine = rabbitFormerLine(options)
  const counts = () => Promise.all(queues.map(({ queue }) => countsOf(publishing, queue)))
  return {
    read(onDelivery) {
      for (const queue of queues) line.subscribe(queue, onDelivery)
    },
    leave: async () => void (await Promise.all(queues.map((queue) => line.leave(queue)))),
    isRead: async () => (await counts()).some((each) => each !== undefined && each.consumers > 0),
    waiting: async () => (await counts()).reduce((sum, each) => sum + (each?.messages ?? 0), 0),
    pause: () => line.pause(),
    resume: () => line.resume(),
    close: () => line.close(),
  }
}

/** As far as the instances that run the group history have the ladder that is configured here. */
export function historyLadder(publishing: AmqpConnection, ladderMs: readonly number[]): HistoryLadder {
  const rungs = [...new Set(ladderMs)].map((delayMs) => rungName('history', delayMs))
  return {
    async isEmpty() {
      const counts = await Promise.all(rungs.map((rung) => countsOf(publishing, rung)))
      return counts.every((each) => each === undefined || each.messages === 0)
    },
    lengthMs: ladderMs.reduce((sum, delayMs) => sum + delayMs, 0),
  }
}
