import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { asSentOf } from '../../src/amqp/as-sent-rabbit.ts'
import { type Delivery, type MessageProperties, readAttempt } from './delivery.ts'

/** One subscription to one partition queue, on a channel of its own, as long as the channel lives. */
export class Lease {
  /** Where its events come back to from a rung. */
  readonly queue: string
  readonly partition: number
  /** Whether it has delivered anything: with a single active consumer, that it is the one. */
  active = false
  readonly #channel: Channel
  /** Delivery tags are 1, 2, 3, … on a channel; everything below is acknowledged. */
  #lowestOpen = 1
  #lastTag = 0
  readonly #settled = new Set<number>()
  /** When each delivery came that is not acknowledged, in order of their tags, ms of a steady clock. */
  readonly #cameAtMs = new Map<number, number>()
  #flushing = false
  #lost = false

  constructor(channel: Channel, queue: string, partition: number) {
    this.#channel = channel
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
    return this.#cameAtMs.values().next().value
  }

  get lost(): boolean {
    return this.#lost || !this.#channel.active
  }

  /** What was delivered and is not acknowledged goes to whoever is next in line. */
  async giveUp(): Promise<void> {
    this.flush()
    this.#lost = true
    await this.#channel.close()
  }

  delivery(message: AsyncMessage, nowMs: number, monotonicMs: number): Delivery {
    this.active = true
    this.#lastTag = message.deliveryTag
    this.#cameAtMs.set(message.deliveryTag, monotonicMs)
    const isLost = (): boolean => this.lost
    const sent = asSentOf(message)
    return {
      text: message.body as Buffer,
      queue: this.queue,
      partition: this.partition,
      exchange: message.exchange,
      routingKey: message.routingKey,
      headers: message.headers ?? {},
      properties: propertiesOf(message),
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
    let next = this.#lowestOpen
    while (this.#settled.delete(next)) this.#cameAtMs.delete(next++)
    if (next === this.#lowestOpen || this.lost) return
    this.#lowestOpen = next
    this.#channel.basicAck({ deliveryTag: next - 1, multiple: true })
  }
}

/** Besides those of `propertiesOf`. A number as correlation ID is that of a confirm: a letter gets one of its own. */
function hasMoreProperties(message: AsyncMessage): boolean {
  const { clusterId, contentEncoding, correlationId = '', expiration, priority, replyTo, userId } = message
  const others = [contentEncoding, expiration, priority, replyTo, userId, clusterId]
  return others.some((each) => each !== undefined) || !/^\d*$/.test(correlationId)
}

/** Of a message on a connection that receives as sent. */
function propertiesOf(message: AsyncMessage): MessageProperties {
  const { messageId, appId, type, timestamp } = message
  const { contentType } = asSentOf(message)
  return {
    ...(messageId !== undefined && { messageId }),
    ...(appId !== undefined && { appId }),
    ...(contentType !== undefined && { contentType }),
    ...(type !== undefined && { type }),
    ...(timestamp !== undefined && { timestamp }),
  }
}
