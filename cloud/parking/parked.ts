import type { Event } from '../../src/contract/event.ts'
import { type Delivery, type Enclosure, readAttempt } from '../amqp/delivery.ts'
import { letterKey } from '../letters/key.ts'
import type { ParkedEvent, ParkedHead } from './parking.ts'

/** A delivery as it waits; `enclosure` is what is told of it until then. */
export function parkedEvent(delivery: Delivery, event: Event, enclosure: Enclosure): ParkedEvent {
  const { text, queue, routingKey, publisher, arrivedAtMs } = delivery
  return {
    device: event.partitionkey,
    key: letterKey(delivery, event),
    body: text,
    properties: enclosure.properties,
    headers: enclosure.headers,
    routingKey,
    queue,
    publisher,
    arrivedAtMs,
  }
}

/** As it would come back from a rung. It is acknowledged already: what becomes of it is its row's affair. */
export function parkedDelivery(head: ParkedHead): Delivery {
  const { body, queue, headers, properties, publisher, arrivedAtMs } = head
  return {
    text: body,
    queue,
    partition: Number(/^[^.]+\.(\d+)/.exec(queue)?.[1] ?? 0),
    exchange: '',
    routingKey: queue,
    headers,
    publisher,
    properties,
    propertyBlock: Buffer.alloc(0),
    attempt: readAttempt(headers),
    redelivered: true,
    arrivedAtMs,
    lost: false,
    ack() {},
  }
}
