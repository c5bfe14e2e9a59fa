import type { Clock } from '../../src/clock.ts'
import { OpenBatch, openBatch } from '../amqp/batch.ts'
import { TidegateError } from '../../src/errors.ts'
import { partitionQueue, wire } from '../../src/contract/wire.ts'
import {
  type Deliveries,
  type Delivery,
  type Headers,
  type Letter,
  type MessageProperties,
  readAttempt,
  type Siding,
  type Sidings,
} from '../amqp/delivery.ts'

interface Message {
  text: Buffer
  queue: string
  partition: number
  exchange: string
  routingKey: string
  headers: Headers
  properties: MessageProperties
  delivered: boolean
}

export interface Posted {
  text: string | Buffer
  partition: number
  routingKey?: string
  exchange?: string
  headers?: Headers
  properties?: MessageProperties
  /** As if it had been delivered before. */
  redelivered?: boolean
}

export interface FakeBrokerOptions {
  group: string
  partitions: number
  prefetch?: number
  clock: Clock
  /** Called before a letter is taken; may wait or throw. After it has returned the letter is durable. */
  beforeSiding?: (siding: Siding) => Promise<void> | void
  /** Called after a letter became durable and before its sender learns of it; may throw (a lost confirm). */
  afterSiding?: (siding: Siding) => Promise<void> | void
}

/**
 * The broker's side of a group, in memory: partition queues with one active consumer at a time, rungs that give
 * letters back after their delay by the given clock. Deliveries are synchronous and in order;
 * whatever else happens is decided by who calls what.
 */
export interface FakeBroker {
  post(message: Posted): void
  /** A consumer; the first in line is active. */
  connect(): FakeDeliveries
  readonly sidings: Sidings
  /** While true, sidings throw `SIDING_UNAVAILABLE`. */
  sidingsDown: boolean
  readonly retries: { letter: Letter; delayMs: number; queue: string; atMs: number }[]
  /** Messages in partition queues, delivered and unacknowledged ones included. */
  readonly depth: number
  /** Of those in partition queues, what they say. */
  readonly left: readonly Buffer[]
  /** Letters waiting on a rung. */
  readonly onRungs: number
}

export interface FakeDeliveries extends Deliveries {
  /** The connection drops: everything unacknowledged goes back, redelivered to whoever is next in line. */
  drop(): void
  /** Comes back after `drop()`, at the end of the line. */
  reconnect(): void
}

interface Line {
  ready: Message[]
  /** Who stands in line, the active one first. */
  consumers: Consumer[]
}

class Consumer implements FakeDeliveries {
  readonly #broker: Broker
  #onDelivery: ((delivery: Delivery) => void) | undefined
  #epoch = 0
  readonly #unacked = new Map<number, Set<Message>>()
  #started = false
  #stopped = false

  constructor(broker: Broker) {
    this.#broker = broker
  }

  start(onDelivery: (delivery: Delivery) => void): void {
    this.#onDelivery = onDelivery
    this.reconnect()
  }

  reconnect(): void {
    this.#started = true
    this.#broker.lines.forEach((line) => line.consumers.push(this))
    this.#broker.pump()
  }

  active(): number[] {
    return [...this.#unacked.keys()]
  }

  get subscribed(): boolean {
    return this.#started
  }

  stepBack(partition: number): boolean {
    this.#leave(partition)
    this.#broker.lines[partition]?.consumers.push(this)
    this.#broker.pump()
    return true
  }

  pause(): void {
    if (this.#started) this.drop()
  }

  resume(): void {
    if (!this.#started) this.reconnect()
  }

  drop(): void {
    this.#started = false
    this.#epoch++
    this.#broker.lines.forEach((_, partition) => this.#leave(partition))
    this.#broker.pump()
  }

  stop(): void {
    this.#stopped = true
  }

  async close(): Promise<void> {
    this.stop()
    if (this.#started) this.drop()
  }

  /** Whether it took the message. */
  offer(message: Message): boolean {
    const unacked = this.#unacked.get(message.partition) ?? new Set<Message>()
    if (this.#stopped || unacked.size >= this.#broker.prefetch) return false
    this.#unacked.set(message.partition, unacked.add(message))
    const epoch = this.#epoch
    const isLost = (): boolean => epoch !== this.#epoch || !this.#unacked.get(message.partition)?.has(message)
    const { text, queue, partition, exchange, routingKey, headers, properties } = message
    const opened = openBatch(text, properties)
    const whole: Delivery = {
      text,
      queue,
      partition,
      exchange,
      routingKey,
      headers,
      properties,
      batchFault: opened?.fault,
      propertyBlock: Buffer.alloc(0),
      attempt: readAttempt(headers),
      redelivered: message.delivered,
      arrivedAtMs: this.#broker.clock.now(),
      get lost() {
        return isLost()
      },
      ack: () => {
        if (isLost()) return
        unacked.delete(message)
        this.#broker.pump()
      },
    }
    for (const delivery of opened?.texts
      ? new OpenBatch(opened.texts.length).deliver(whole, opened.texts)
      : [whole])
      this.#onDelivery?.(delivery)
    message.delivered = true
    return true
  }

  unacked(): Message[] {
    return [...this.#unacked.values()].flatMap((messages) => [...messages])
  }

  unackedCount(): number {
    return [...this.#unacked.values()].reduce((sum, messages) => sum + messages.size, 0)
  }

  #leave(partition: number): void {
    const line = this.#broker.lines[partition]
    if (!line) return
    line.consumers = line.consumers.filter((consumer) => consumer !== this)
    line.ready.unshift(...(this.#unacked.get(partition) ?? []))
    this.#unacked.delete(partition)
  }
}

class Broker implements FakeBroker {
  readonly lines: Line[]
  readonly prefetch: number
  readonly clock: Clock
  readonly retries: FakeBroker['retries'] = []
  sidingsDown = false
  onRungs = 0
  readonly #options: FakeBrokerOptions
  readonly #consumers: Consumer[] = []
  #pumping = false

  constructor(options: FakeBrokerOptions) {
    this.#options = options
    this.prefetch = options.prefetch ?? 400
    this.clock = options.clock
    this.lines = Array.from({ length: options.partitions }, () => ({ ready: [], consumers: [] }))
  }

  post({ text, partition, routingKey, exchange, headers, properties, redelivered }: Posted): void {
    this.lines[partition]?.ready.push({
      text: typeof text === 'string' ? Buffer.from(text) : text,
      queue: partitionQueue(this.#options.group, partition),
      partition,
      exchange: exchange ?? wire.exchange,
      routingKey: routingKey ?? '',
      headers: headers ?? {},
      properties: properties ?? {},
      delivered: redelivered ?? false,
    })
    this.pump()
  }

  connect(): FakeDeliveries {
    const consumer = new Consumer(this)
    this.#consumers.push(consumer)
    return consumer
  }

  get depth(): number {
    const ready = this.lines.reduce((sum, line) => sum + line.ready.length, 0)
    return this.#consumers.reduce((sum, consumer) => sum + consumer.unackedCount(), ready)
  }

  get left(): readonly Buffer[] {
    const unacked = this.#consumers.flatMap((consumer) => consumer.unacked())
    return [...unacked, ...this.lines.flatMap(({ ready }) => ready)].map(({ text }) => text)
  }

  readonly sidings: Sidings = {
    send: async (siding, letter) => {
      try {
        if (this.sidingsDown) throw new Error('the broker is down')
        await this.#options.beforeSiding?.(siding)
        this.#take(siding, letter)
        await this.#options.afterSiding?.(siding)
      } catch (cause) {
        throw new TidegateError('SIDING_UNAVAILABLE', {
          message: 'no confirm',
          retryable: true,
          hint: 'start the broker',
          cause,
        })
      }
    },
    close: async () => {},
  }

  /** Not reentrant: whoever delivers first delivers for all. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    for (const line of this.lines) {
      while (line.ready[0] && line.consumers[0]?.offer(line.ready[0])) line.ready.shift()
    }
    this.#pumping = false
  }

  #take(siding: Siding, letter: Letter): void {
    const { delayMs, queue } = siding
    this.retries.push({ letter, delayMs, queue, atMs: this.clock.monotonicMs() })
    this.onRungs++
    this.clock.after(delayMs, () => {
      this.onRungs--
      this.post({
        text: letter.body.toString(),
        partition: Number(/^[^.]+\.(\d+)/.exec(queue)?.[1]),
        exchange: '',
        routingKey: queue,
        headers: letter.headers,
        properties: letter.properties,
      })
    })
  }
}

export function createFakeBroker(options: FakeBrokerOptions): FakeBroker {
  return new Broker(options)
}
