import { isBatch, splitBatch } from '../../src/contract/batch.ts'
import { batchHeaders, wire } from '../../src/contract/wire.ts'
import { shortText } from '../../src/amqp/property-block.ts'
import type { TidegateError } from '../../src/errors.ts'
import type { Delivery, Headers, MessageProperties } from './delivery.ts'

/** What a message turned out to be that says it is a batch. */
export type Opened = { texts: readonly Buffer[]; fault?: never } | { texts?: never; fault: TidegateError }

/** Undefined: it does not say so. Never throws. */
export function openBatch(body: Buffer, properties: MessageProperties): Opened | undefined {
  if (!isBatch(properties.contentType)) return undefined
  try {
    return { texts: splitBatch(body, properties.contentEncoding) }
  } catch (error) {
    return { fault: error as TidegateError }
  }
}

/**
 * The events of a batch as deliveries of their own, in their order. Each has the properties that it would have had alone, so that what
 * fails is set aside as a single event, and harms no other. The batch is acknowledged once all of them are (G5).
 */
export function eventsOf(batch: Delivery, texts: readonly Buffer[]): Delivery[] {
  const headers = withoutBatch(batch.headers)
  let open = texts.length
  const settled = (): void => {
    if (--open === 0) batch.ack()
  }
  return texts.map((text) => new BatchedEvent(batch, text, headers, settled))
}

class BatchedEvent implements Delivery {
  readonly text: Buffer
  readonly queue: string
  readonly partition: number
  readonly exchange: string
  readonly routingKey: string
  readonly headers: Headers
  readonly hasMoreProperties: boolean
  readonly propertyBlock: Buffer
  readonly attempt: number
  readonly redelivered: boolean
  readonly arrivedAtMs: number
  readonly #batch: Delivery
  #settled: (() => void) | undefined

  constructor(batch: Delivery, text: Buffer, headers: Headers, settled: () => void) {
    this.text = text
    this.queue = batch.queue
    this.partition = batch.partition
    this.exchange = batch.exchange
    this.routingKey = batch.routingKey
    this.headers = headers
    this.hasMoreProperties = batch.hasMoreProperties === true
    this.propertyBlock = batch.propertyBlock
    this.attempt = batch.attempt
    this.redelivered = batch.redelivered
    this.arrivedAtMs = batch.arrivedAtMs
    this.#batch = batch
    this.#settled = settled
  }

  get lost(): boolean {
    return this.#batch.lost
  }

  /** Asked for when it is set aside, which is seldom. */
  get properties(): MessageProperties {
    const { type } = this.#batch.properties
    return {
      ...ownProperties(this.text),
      ...(type !== undefined && { type }),
      contentType: wire.contentType,
    }
  }

  ack(): void {
    this.#settled?.()
    this.#settled = undefined
  }
}

/** Of what cannot be read there are none. */
function ownProperties(text: Buffer): MessageProperties {
  try {
    const { id, gateway, recordedtime } = JSON.parse(text.toString('utf8')) as Record<string, unknown>
    const recordedMs = Date.parse(String(recordedtime))
    return {
      ...(typeof id === 'string' && { messageId: shortText(id) }),
      ...(typeof gateway === 'string' && { appId: shortText(gateway) }),
      ...(recordedMs >= 0 && { timestamp: Math.floor(recordedMs / 1000) }),
    }
  } catch {
    return {}
  }
}

function withoutBatch(headers: Headers): Headers {
  const ofBatch = new Set<string>(Object.values(batchHeaders))
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !ofBatch.has(name)))
}
