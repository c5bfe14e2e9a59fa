import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { asSentOf } from '../../src/amqp/as-sent-rabbit.ts'
import { openBatch } from './batch.ts'
import { type Delivery, type MessageProperties, publisherOf, readAttempt } from './delivery.ts'
import { overheadBytes } from './in-hand.ts'
import { type BatchInHand, KeptBatches } from './kept-batches.ts'

interface InHand {
  /** When it came, ms of a steady clock. */
  atMs: number
  bytes: number
  batch?: BatchInHand | undefined
}

/** One subscription to one partition queue, on a channel of its own, as long as the channel lives. */
export class Lease {
  /** Where its events come back to from a rung. */
  readonly queue: string
  readonly partition: number
  /** Whether it has delivered anything: with a single active consumer, that it is the one. */
  active = false
  readonly #channel: Channel
  readonly #kept: KeptBatches
  readonly #ownUser: string | undefined
  /** Delivery tags are 1, 2, 3, … on a channel; everything below is acknowledged. */
  #lowestOpen = 1
  #lastTag = 0
  readonly #settled = new Set<number>()
  /** What is not acknowledged, in order of the tags. */
  readonly #inHand = new Map<number, InHand>()
  #bytesInHand = 0
  #settledBytes = 0
  #flushing = false
  #lost = false

  /** `ownUser`: as whom the cloud publishes. */
  constructor(
    channel: Channel,
    queue: string,
    partition: number,
    kept = new KeptBatches(),
    ownUser?: string,
  ) {
    this.#channel = channel
    this.#kept = kept
    this.#ownUser = ownUser
    this.queue = queue
    this.partition = partition
  }

  /** Every delivery before this tag is settled, that one too. */
  hasSettled(deliveryTag: number): boolean {
    return deliveryTag < this.#lowestOpen
  }

  /** Nothing that was delivered is unsettled. */
  get idle(): boolean {
    return this.hasSettled(this.#lastTag)
  }

  /** How many have been acknowledged. */
  get settledCount(): number {
    return this.#lowestOpen - 1
  }

  /** Since when the oldest that is not acknowledged is in our hands, ms of a steady clock. */
  get oldestSinceMs(): number | undefined {
    return this.#inHand.values().next().value?.atMs
  }

  /** Messages that are not acknowledged. */
  get inHand(): number {
    return this.#inHand.size
  }

  /** What they take, a batch as it is when it has been taken apart. */
  get bytesInHand(): number {
    return this.#bytesInHand
  }

  /** What those took that have been acknowledged. */
  get settledBytes(): number {
    return this.#settledBytes
  }

  get lost(): boolean {
    return this.#lost || !this.#channel.active
  }

  /** Of which not all is settled, or whose acknowledgement waits for what was delivered before them. */
  get openBatches(): BatchInHand[] {
    return [...this.#inHand.values()].flatMap(({ batch }) => batch ?? [])
  }

  /** What was delivered and is not acknowledged goes to whoever is next in line. */
  async giveUp(): Promise<void> {
    this.flush()
    this.#lost = true
    await this.#channel.close()
  }

  /** One for each event that is in a message and not settled yet; and for what is to be a batch and cannot be taken apart, one. */
  deliveries(message: AsyncMessage, nowMs: number, monotonicMs: number): Delivery[] {
    const body = message.body as Buffer
    const properties = propertiesOf(message)
    const opened = openBatch(body, properties)
    const whole = this.#delivery(message, nowMs, { properties, batchFault: opened?.fault })
    const texts = opened?.texts ?? [body]
    const bytes = texts.reduce((sum, { length }) => sum + length + overheadBytes, 0)
    const batch = opened?.texts && this.#kept.open(body, texts.length, message.redelivered)
    this.#take(message.deliveryTag, { atMs: monotonicMs, bytes, batch: batch && { batch, body } })
    return batch ? batch.deliver(whole, texts) : [whole]
  }

  /** What came on it and is no event. */
  settle(message: AsyncMessage, monotonicMs: number): void {
    this.#take(message.deliveryTag, { atMs: monotonicMs, bytes: overheadBytes })
    this.#settle(message.deliveryTag)
  }

  #take(tag: number, inHand: InHand): void {
    this.active = true
    this.#lastTag = tag
    this.#inHand.set(tag, inHand)
    this.#bytesInHand += inHand.bytes
  }

  #delivery(
    message: AsyncMessage,
    nowMs: number,
    read: Pick<Delivery, 'properties' | 'batchFault'>,
  ): Delivery {
    const isLost = (): boolean => this.lost
    const sent = asSentOf(message)
    return {
      text: message.body as Buffer,
      queue: this.queue,
      partition: this.partition,
      exchange: message.exchange,
      routingKey: message.routingKey,
      headers: message.headers ?? {},
      publisher: publisherOf(message, this.#ownUser),
      properties: read.properties,
      batchFault: read.batchFault,
      hasMoreProperties: hasMoreProperties(message),
      propertyBlock: sent.properties,
      propertyFault: sent.fault,
      attempt: readAttempt(message.headers ?? {}),
      redelivered: message.redelivered,
      arrivedAtMs: nowMs,
      get lost() {
        return isLost()
      },
      ack: () => this.#settle(message.deliveryTag),
    }
  }

  #settle(tag: number): void {
    this.#settled.add(tag)
    if (this.#flushing) return
    this.#flushing = true
    // A batch settles many at once: one acknowledgement speaks for all.
    queueMicrotask(() => this.flush())
  }

  flush(): void {
    this.#flushing = false
    if (this.lost) return
    let next = this.#lowestOpen
    while (this.#settled.delete(next)) this.#release(next++)
    if (next === this.#lowestOpen) return
    this.#lowestOpen = next
    this.#channel.basicAck({ deliveryTag: next - 1, multiple: true })
  }

  #release(tag: number): void {
    const { bytes, batch } = this.#inHand.get(tag) as InHand
    if (batch) this.#kept.forget(batch.batch)
    this.#inHand.delete(tag)
    this.#bytesInHand -= bytes
    this.#settledBytes += bytes
  }
}

/** Besides those of `propertiesOf`, and the user ID. A number as correlation ID is that of a confirm: a letter gets one of its own. */
function hasMoreProperties(message: AsyncMessage): boolean {
  const { clusterId, correlationId = '', expiration, priority, replyTo } = message
  const others = [expiration, priority, replyTo, clusterId]
  return others.some((each) => each !== undefined) || !/^\d*$/.test(correlationId)
}

/** Of a message on a connection that receives as sent. */
function propertiesOf(message: AsyncMessage): MessageProperties {
  const { messageId, appId, contentEncoding, type, timestamp } = message
  const { contentType } = asSentOf(message)
  return {
    ...(messageId !== undefined && { messageId }),
    ...(appId !== undefined && { appId }),
    ...(contentType !== undefined && { contentType }),
    ...(contentEncoding !== undefined && { contentEncoding }),
    ...(type !== undefined && { type }),
    ...(timestamp !== undefined && { timestamp }),
  }
}
