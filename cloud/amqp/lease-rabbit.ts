import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { type Delivery, readAttempt } from './delivery.ts'

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

  get lost(): boolean {
    return this.#lost || !this.#channel.active
  }

  /** What was delivered and is not acknowledged goes to whoever is next in line. */
  async giveUp(): Promise<void> {
    this.flush()
    this.#lost = true
    await this.#channel.close()
  }

  delivery(message: AsyncMessage, nowMs: number): Delivery {
    this.active = true
    this.#lastTag = message.deliveryTag
    const isLost = (): boolean => this.lost
    return {
      text: bytesOf(message.body),
      queue: this.queue,
      partition: this.partition,
      exchange: message.exchange,
      routingKey: message.routingKey,
      headers: message.headers ?? {},
      properties: {
        ...(message.messageId !== undefined && { messageId: message.messageId }),
        ...(message.appId !== undefined && { appId: message.appId }),
        ...(message.contentType !== undefined && { contentType: message.contentType }),
        ...(message.type !== undefined && { type: message.type }),
        ...(message.timestamp !== undefined && { timestamp: message.timestamp }),
      },
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
    while (this.#settled.delete(next)) next++
    if (next === this.#lowestOpen || this.lost) return
    this.#lowestOpen = next
    this.#channel.basicAck({ deliveryTag: next - 1, multiple: true })
  }
}

/** The client parses `application/json` and `text/plain`; events come as cloudevents+json, untouched. */
export function bytesOf(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}
