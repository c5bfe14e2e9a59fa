import { headers as names } from '../../src/contract/wire.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import { type Delivery, type Enclosure, readAttempt } from '../amqp/delivery.ts'
import { letterKey } from '../letters/key.ts'
import { lastFailureOf } from '../letters/story.ts'
import type { Claimed, ParkedEvent, ParkedHead } from './parking.ts'

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

/**
 * An event that an operator wants among the dead letters: with the story that it has, and no attempt more; of one that was not tried, that
 * it only waited.
 */
export function skipped(
  delivery: Delivery,
  told: Pick<Claimed, 'code' | 'message'>,
  nowMs: number,
): { delivery: Delivery; error: TidegateError; nowMs: number } {
  const last = delivery.attempt > 1 ? lastFailureOf(delivery.headers) : undefined
  const code = last && told.code !== '' ? told.code : undefined
  const error = new TidegateError(code ?? 'SKIPPED', {
    message: last
      ? told.message
      : 'an operator has skipped it: it was not tried, it waited behind one that failed',
    retryable: false,
    hint: 'an operator has skipped it: correct what it failed at, then replay the dead letter',
  })
  if (last === undefined) return { delivery, error, nowMs }
  const headers = { ...delivery.headers, [names.failures]: last.before }
  return { delivery: { ...delivery, headers, attempt: delivery.attempt - 1 }, error, nowMs: last.atMs }
}
