import { encodeEvent, genesis } from '../../../src/contract/codec.ts'
import type { Event } from '../../../src/contract/event.ts'
import { joinBatch } from '../../../src/contract/batch.ts'
import { batchHeaders, partitionOf, routingKey, wire } from '../../../src/contract/wire.ts'
import type { Posted } from '../fakes/deliveries.ts'

export const epoch = '01JGFJJZ00TESTTESTTESTTEST'

export interface Encoded {
  event: Event
  text: string
}

/** A gateway's ledger in small: numbers and chains events like an outbox. */
export class Ledger {
  readonly gateway: string
  readonly epoch: string
  sequence = 0
  #chain: string

  constructor(gateway = 'gateway-1', ofEpoch = epoch) {
    this.gateway = gateway
    this.epoch = ofEpoch
    this.#chain = genesis(gateway, ofEpoch)
  }

  /** The next event; `id` is by default the sequence. */
  next(device: string, more: Partial<Event> = {}): Encoded {
    const sequence = ++this.sequence
    const open: Omit<Event, 'chain'> = {
      specversion: '1.0',
      id: `id-${sequence}`,
      source: `/devices/${device}`,
      type: 'com.acme.climate',
      time: '2026-01-01T00:00:00.000Z',
      recordedtime: '2026-01-01T00:00:00.500Z',
      datacontenttype: 'application/json',
      partitionkey: device,
      gateway: this.gateway,
      epoch: this.epoch,
      sequence,
      data: { temperature: 20 + sequence / 10 },
      ...more,
    }
    const { text, chain } = encodeEvent(open, this.#chain)
    this.#chain = chain
    return { event: { ...open, chain }, text }
  }

  /** A sequence number that nothing will be delivered for. Answers the chain value of its place. */
  skip(): string {
    return this.next('nobody').event.chain
  }
}

/** As the forwarder would publish them together: of one partition and one type. */
export function postedTogether(
  events: readonly [Encoded, ...Encoded[]],
  partitions: number,
  compress = false,
): Posted {
  const { properties, ...where } = posted(events[0], partitions)
  return {
    ...where,
    text: joinBatch(
      events.map(({ text }) => text),
      compress,
    ),
    headers: { [batchHeaders.events]: events.length },
    properties: {
      appId: properties?.appId ?? '',
      contentType: wire.batchContentType,
      ...(compress && { contentEncoding: wire.deflate }),
    },
  }
}

/** As the forwarder would publish it. */
export function posted({ event, text }: Encoded, partitions: number): Posted {
  const partition = partitionOf(event.partitionkey, partitions)
  return {
    text,
    partition,
    routingKey: routingKey(partition, event.type),
    properties: { messageId: event.id, appId: event.gateway, contentType: 'application/cloudevents+json' },
  }
}
