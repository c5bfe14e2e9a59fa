import { formerPartitionQueues, mirrorQueue, partitionQueue, rungName } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import { countsOf, removeQueue, unbind } from '../amqp/topology-rabbit.ts'
import { partitionBindings } from '../amqp/topology.ts'
import type { FormerQueue } from '../queues/former.ts'
import { partitionsOf } from './queues.ts'
import type { RetiredQueues } from './retired.ts'

export interface RabbitRetiredQueuesOptions {
  group: string
  /** Those that its queues are bound by. */
  types: readonly string[]
  ladderMs: readonly number[]
  partitions: number
  publishing: AmqpConnection
}

/** Of rungs those of the ladder that is configured: letters on others stay where they are. */
export function rabbitRetiredQueues(options: RabbitRetiredQueuesOptions): RetiredQueues {
  const { group, types, ladderMs, partitions, publishing } = options
  const ofPartition = (partition: number): FormerQueue[] =>
    [...formerPartitionQueues(group, partition), partitionQueue(group, partition)].map((queue) => ({
      queue,
      partition,
    }))
  const rungs = [...new Set(ladderMs)].map((delayMs) => ({ queue: rungName(group, delayMs), partition: 0 }))
  const isRung = ({ queue }: FormerQueue): boolean => rungs.some((rung) => rung.queue === queue)
  // The first partition goes last: while there is one, there is something to be done.
  const numbers = partitionsOf(partitions).toReversed()
  const isThere = async ({ queue }: FormerQueue): Promise<boolean> =>
    (await countsOf(publishing, queue)) !== undefined

  return {
    async existing() {
      const first = await Promise.all(ofPartition(0).map(isThere))
      if (!first.includes(true)) return []
      const all = [...rungs, ...numbers.flatMap(ofPartition)]
      const there = await Promise.all(all.map(isThere))
      return all.filter((_, index) => there[index])
    },
    async unbind(queues) {
      for (const former of queues) {
        if (!isRung(former))
          await unbind(publishing, partitionBindings({ types }, former.partition, former.queue))
      }
    },
    async remove(queues) {
      await removeQueue(publishing, mirrorQueue(group))
      for (const former of queues)
        await removeQueue(publishing, former.queue, isRung(former) ? former.queue : undefined)
    },
  }
}
