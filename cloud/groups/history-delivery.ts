import type { Clock } from '../../src/clock.ts'
import { headers as names, partitionOf, partitionQueue, routingKey, wire } from '../../src/contract/wire.ts'
import { cloudLedger } from '../../src/contract/event.ts'
import type { Delivery, Letter } from '../amqp/delivery.ts'
import type { HistoryPage } from '../replays/history-pages.ts'
import type { Target } from '../replays/outbound.ts'

interface HistoryDeliveryOptions {
  group: string
  partitions: number
  isLost: () => boolean
  ack: () => void
  nowMs: number
}

/** Resolves when all of them are settled. */
export function handOver(
  events: HistoryPage['events'],
  onDelivery: (delivery: Delivery) => void,
  options: Omit<HistoryDeliveryOptions, 'ack'>,
): Promise<void> {
  return new Promise((resolve) => {
    let left = events.length
    const ack = (): void => {
      if (--left === 0) resolve()
    }
    for (const event of events) onDelivery(createHistoryDelivery(event, { ...options, ack }))
  })
}

/** Whether something is done within this time, and before the signal is aborted. */
export async function isWithin(
  work: Promise<void>,
  ms: number,
  clock: Clock,
  stopping: AbortSignal,
): Promise<boolean> {
  const waiting = new AbortController()
  const pause = clock.sleep(ms, AbortSignal.any([stopping, waiting.signal])).then(
    () => false,
    () => false,
  )
  const isDone = await Promise.race([work.then(() => true), pause])
  waiting.abort()
  return isDone
}

/** An event of history as if its queue had delivered it: what fails goes the same ways, and comes back to that queue. */
function createHistoryDelivery(
  { id, gateway, type, partitionkey, text }: HistoryPage['events'][number],
  { group, partitions, isLost, ack, nowMs }: HistoryDeliveryOptions,
): Delivery {
  const partition = partitionOf(partitionkey, partitions)
  const key = routingKey(partition, type)
  let isSettled = false
  return {
    text: Buffer.from(text),
    queue: partitionQueue(group, partition),
    partition,
    exchange: '',
    routingKey: key,
    headers: { [names.replay]: 0, [names.originalExchange]: wire.exchange, [names.originalRoutingKey]: key },
    properties: { messageId: id, appId: gateway, contentType: wire.contentType },
    propertyBlock: Buffer.alloc(0),
    attempt: 1,
    redelivered: false,
    arrivedAtMs: nowMs,
    get lost() {
      return isLost()
    },
    ack() {
      if (isSettled) return
      isSettled = true
      ack()
    },
  }
}

/** An event that history has already, into one of its queues: a repeat there, which is counted when it is settled. */
export function markerOf(
  { id, text }: { id: string; text: string },
  { replay, round, partition }: { replay: number; round: string; partition: number },
): [Target, Letter] {
  return [
    { kind: 'queue', queue: partitionQueue('history', partition) },
    {
      body: Buffer.from(text),
      properties: { messageId: id, appId: cloudLedger, contentType: wire.contentType },
      headers: { [names.replay]: replay, [names.generation]: round, [names.attempt]: 1 },
      barer: [],
    },
  ]
}
