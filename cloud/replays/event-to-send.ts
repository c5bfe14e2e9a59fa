import { headers as names, partitionOf, partitionQueue, routingKey, wire } from '../../src/contract/wire.ts'
import type { Letter } from '../amqp/delivery.ts'
import type { Target } from './outbound.ts'
import type { ReplayedEvent } from './replays.ts'

/**
 * An event of history on its way to one group: to the partition queue that its device's events go to, byte by byte as it was stored.
 * It was believed when it came, and is not asked again (G9).
 */
export function eventToSend(event: ReplayedEvent, replay: number, partitions: number): [Target, Letter] {
  const { group, gateway, id, type, partitionkey, text, generation } = event
  const partition = partitionOf(partitionkey, partitions)
  return [
    { kind: 'queue', queue: partitionQueue(group, partition) },
    {
      body: Buffer.from(text),
      properties: { messageId: id, appId: gateway, contentType: wire.contentType },
      headers: {
        [names.replay]: replay,
        [names.attempt]: 1,
        [names.originalExchange]: wire.exchange,
        [names.originalRoutingKey]: routingKey(partition, type),
        ...(generation !== undefined && { [names.generation]: generation }),
      },
      barer: [],
    },
  ]
}
