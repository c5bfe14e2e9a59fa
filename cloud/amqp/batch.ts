import { isBatch, splitBatch } from '../../src/contract/batch.ts'
import { batchHeaders, headers as names, wire } from '../../src/contract/wire.ts'
import { shortText } from '../../src/amqp/property-block.ts'
import { messageBytesMax } from './in-hand.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Delivery, Headers, MessageProperties } from './delivery.ts'

/** What a message turned out to be that says it is a batch. */
export type Opened = { texts: readonly Buffer[]; fault?: never } | { texts?: never; fault: TidegateError }

/** Undefined: it does not say so. One of any kind that is too large is not looked into. Never throws. */
export function openBatch(body: Buffer, properties: MessageProperties): Opened | undefined {
  if (body.length > messageBytesMax) return { fault: tooLarge(body.length) }
  if (!isBatch(properties.contentType)) return undefined
  try {
    return { texts: splitBatch(body, properties.contentEncoding) }
  } catch (error) {
    return { fault: error as TidegateError }
  }
}

/**
 * What is settled of a batch, however often it is delivered before all of it is. It is acknowledged once all of it is (G5).
 */
export class OpenBatch {
  /** Events in it. */
  readonly size: number
  readonly #settled = new Set<number>()
  /** As what it is in our hands. */
  #messages: Delivery[] = []

  constructor(size: number) {
    this.size = size
  }

  /**
   * The events that are not settled yet as deliveries of their own, in their order. Each has the properties that it would have had alone,
   * so that what fails is set aside as a single event, and harms no other.
   */
  deliver(message: Delivery, texts: readonly Buffer[]): Delivery[] {
    this.#messages = [...this.#messages.filter(({ lost }) => !lost), message]
    this.#acknowledge()
    const headers = withoutBatch(message.headers)
    return texts.flatMap((text, index) =>
      this.isSettled(index) ? [] : new BatchedEvent(message, text, headers, this, index),
    )
  }

  isSettled(index: number): boolean {
    return this.#settled.has(index)
  }

  /** Also of an event that came with a delivery that is lost: its outcome is as durable. */
  settle(index: number): void {
    if (this.isSettled(index)) return
    this.#settled.add(index)
    this.#acknowledge()
  }

  /** It is in our hands no longer: nothing of its bytes is held. */
  rest(): void {
    this.#messages = []
  }

  #acknowledge(): void {
    if (this.#settled.size === this.size) for (const message of this.#messages) message.ack()
  }
}

/** Whole queues of them wait: each holds what is its own, and asks its message for the rest. */
class BatchedEvent implements Delivery {
  readonly text: Buffer
  readonly headers: Headers
  readonly #message: Delivery
  readonly #batch: OpenBatch
  readonly #index: number

  constructor(message: Delivery, text: Buffer, headers: Headers, batch: OpenBatch, index: number) {
    this.text = text
    this.headers = headers
    this.#message = message
    this.#batch = batch
    this.#index = index
  }

  get queue(): string {
    return this.#message.queue
  }

  get partition(): number {
    return this.#message.partition
  }

  get exchange(): string {
    return this.#message.exchange
  }

  get routingKey(): string {
    return this.#message.routingKey
  }

  get publisher(): string | undefined {
    return this.#message.publisher
  }

  get hasMoreProperties(): boolean {
    return this.#message.hasMoreProperties === true
  }

  get propertyBlock(): Buffer {
    return this.#message.propertyBlock
  }

  get attempt(): number {
    return this.#message.attempt
  }

  get redelivered(): boolean {
    return this.#message.redelivered
  }

  get arrivedAtMs(): number {
    return this.#message.arrivedAtMs
  }

  /** Work on it that was under way when the batch was taken back may have settled it meanwhile: then there is nothing to begin. */
  get lost(): boolean {
    return this.#message.lost || this.#batch.isSettled(this.#index)
  }

  /** Asked for when it is set aside, which is seldom. */
  get properties(): MessageProperties {
    const { type } = this.#message.properties
    return {
      ...ownProperties(this.text),
      ...(type !== undefined && { type }),
      contentType: wire.contentType,
    }
  }

  ack(): void {
    this.#batch.settle(this.#index)
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

/** What a header says of the whole is no word about each: the letter of a batch is not that of its events. */
function withoutBatch(headers: Headers): Headers {
  const ofBatch = new Set<string>([...Object.values(batchHeaders), names.letter, names.replay])
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !ofBatch.has(name)))
}

function tooLarge(bytes: number): TidegateError {
  return new TidegateError('MESSAGE_TOO_LARGE', {
    message: `the message has ${bytes} bytes, and ${messageBytesMax} are the most that is read`,
    retryable: false,
    hint: 'no gateway sends such: see who does, and set max_message_size of RabbitMQ (docs/OPERATIONS.md, Sizing)',
  })
}
