import { EventEmitter } from 'node:events'
import type { AsyncMessage } from 'rabbitmq-client'
import { describe, expect, test } from 'vitest'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import { KeptBatches } from '../../../cloud/amqp/kept-batches.ts'
import { startSubscription } from '../../../cloud/amqp/subscription-rabbit.ts'
import { createPipeline } from '../../../cloud/pipeline/pipeline.ts'
import { silentLog } from '../../../src/log.ts'
import { type Encoded, Ledger, postedTogether } from '../../support/cloud/cloud-events.ts'
import { failure, gate, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import type { FakeClock } from '../../support/fakes/clock.ts'
import { settled } from '../../support/fakes/clock.ts'

type Content = Pick<AsyncMessage, 'body' | 'contentType' | 'appId'> & { redelivered: boolean }

/** A queue with one consumer at a time; what a channel has not acknowledged when it closes comes again, in its place. */
class FakeQueue {
  waiting: Content[] = []
  channel: QueueChannel | undefined
  leases = 0

  post(events: readonly [Encoded, ...Encoded[]]): void {
    const { text: body, properties } = postedTogether(events, partitions)
    this.waiting.push({ ...properties, body, redelivered: false })
    this.channel?.pump()
  }

  get connection(): AmqpConnection {
    const acquire = async (): Promise<QueueChannel> => {
      this.leases++
      this.channel = new QueueChannel(this)
      return this.channel
    }
    return { client: { acquire } } as unknown as AmqpConnection
  }

  get depth(): number {
    return this.waiting.length + (this.channel?.unacknowledged ?? 0)
  }
}

class QueueChannel extends EventEmitter {
  active = true
  #tag = 0
  #prefetch = 0
  readonly #queue: FakeQueue
  readonly #unacknowledged = new Map<number, Content>()
  #take: (message: AsyncMessage) => void = () => {}

  constructor(queue: FakeQueue) {
    super()
    this.#queue = queue
  }

  get unacknowledged(): number {
    return this.#unacknowledged.size
  }

  async basicQos({ prefetchCount }: { prefetchCount: number }): Promise<void> {
    this.#prefetch = prefetchCount
  }

  async basicConsume(_: object, take: (message: AsyncMessage) => void): Promise<void> {
    this.#take = take
    setImmediate(() => this.pump())
  }

  basicAck({ deliveryTag }: { deliveryTag: number }): void {
    for (const tag of this.#unacknowledged.keys()) if (tag <= deliveryTag) this.#unacknowledged.delete(tag)
    this.pump()
  }

  async close(): Promise<void> {
    if (!this.active) return
    this.active = false
    const back = [...this.#unacknowledged.values()].map((content) => ({ ...content, redelivered: true }))
    this.#unacknowledged.clear()
    this.#queue.waiting.unshift(...back)
    this.emit('close')
  }

  pump(): void {
    while (this.active && this.#unacknowledged.size < this.#prefetch) {
      const content = this.#queue.waiting.shift()
      if (!content) return
      this.#unacknowledged.set(++this.#tag, content)
      this.#take({
        ...content,
        deliveryTag: this.#tag,
        exchange: 'x',
        routingKey: 'k',
      } as unknown as AsyncMessage)
    }
  }
}

const together = (ledger: Ledger, count: number): [Encoded, ...Encoded[]] =>
  Array.from({ length: count }, () => ledger.next('device-1')) as [Encoded, ...Encoded[]]

/** A pipeline behind a queue whose handler takes `tookMs` and fails, but for every `goodEvery`th event. */
function setUpQueue(tookMs: number, goodEvery = Infinity, isHeld?: () => boolean) {
  const handled: number[] = []
  let clock: FakeClock | undefined
  const consumer = writing({
    async handle(event, { tx }) {
      await clock?.sleep(tookMs)
      handled.push(event.sequence)
      if (event.sequence % goodEvery !== 0) throw failure(true)
      await tx.query('insert', [event.partitionkey, event.sequence])
    },
  })
  const parts = setUp(consumer)
  clock = parts.clock
  const queue = new FakeQueue()
  const pipeline = createPipeline(parts.options('a'))
  const subscription = startSubscription({
    connection: queue.connection,
    queue: 'writer.00.v2',
    home: 'writer.00.v2',
    partition: 0,
    prefetch: 400,
    onDelivery: (delivery) => pipeline.take(delivery),
    onMissing: async () => false,
    isHeld,
    clock,
    random: () => 0.5,
    log: silentLog,
  })
  const letters = (): string[] =>
    parts.broker.retries.map(
      ({ letter }) => `${letter.properties.messageId} ${JSON.stringify(letter.headers['tidegate-attempt'])}`,
    )
  return { ...parts, queue, subscription, handled, letters }
}

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `id-${index + 1} 2`)

describe('a batch that RabbitMQ takes back before all of it is settled', () => {
  test('goes on where it was: each event that fails is one letter, however often it is taken back, and it is gone in the end (G5, G7)', async () => {
    const { clock, queue, subscription, handled, letters, storage } = setUpQueue(25_000, 10)
    queue.post(together(new Ledger(), 100))
    await settled()
    while (queue.depth > 0 && clock.monotonicMs() < 4 * 3_600_000) {
      // `consumer_timeout`, and connections that drop.
      await clock.advance(601_000)
      await queue.channel?.close()
    }
    expect(queue.leases).toBeGreaterThan(4)
    expect(queue.depth).toBe(0)
    expect(letters()).toEqual(ids(100).filter((_, index) => (index + 1) % 10 !== 0))
    expect(storage.effects()).toHaveLength(10)
    // What was under way when it was taken back is begun again, and nothing else is.
    expect(handled.length).toBeLessThan(100 + queue.leases * 2)
    await subscription.close()
  })

  test('and waits for letters then has each once, and not again when they are proven at last (G5)', async () => {
    const released = gate()
    const { clock, queue, subscription, letters, broker } = setUpQueue(1)
    const send = broker.sidings.send.bind(broker.sidings)
    // The broker takes nothing, and answers when its alarm is over.
    broker.sidings.send = async (siding, letter) => {
      await released.promise
      await send(siding, letter)
    }
    queue.post(together(new Ledger(), 10))
    await settled()
    await clock.advance(1000)
    await queue.channel?.close()
    await clock.advance(1000)
    expect([queue.leases, queue.depth, letters()]).toEqual([2, 1, []])
    released.release()
    await settled()
    await clock.advance(1000)
    expect([queue.depth, letters()]).toEqual([0, ids(10)])
    await subscription.close()
  })

  test('and of which a copy is there too: both are gone in the end (G5)', async () => {
    const { clock, queue, subscription, handled } = setUpQueue(10_000)
    const events = together(new Ledger(), 10)
    queue.post(events)
    queue.post(events)
    await settled()
    await clock.advance(55_000)
    await queue.channel?.close()
    await clock.advance(200_000)
    expect(queue.depth).toBe(0)
    expect(new Set(handled).size).toBe(10)
    expect(handled.length).toBeLessThanOrEqual(12)
    await subscription.close()
  })
})

test('what is kept of batches is bounded, forgotten once they are acknowledged, and looked for in what came before only (G7)', () => {
  const kept = new KeptBatches()
  const inHand = Array.from({ length: 20 }, (_, index) => {
    const body = Buffer.from(`batch ${index}`)
    return { body, batch: kept.open(body, 1000, false) }
  })
  kept.keep(inHand)
  const known = (): boolean[] => inHand.map(({ body, batch }) => kept.open(body, 1000, true) === batch)
  expect(known()).toEqual(inHand.map((_, index) => index >= 2))
  const [, , third] = inHand
  if (third) kept.forget(third.batch)
  expect(known()).toEqual(inHand.map((_, index) => index >= 3))
  expect(inHand.some(({ body, batch }) => kept.open(body, 1000, false) === batch)).toBe(false)
})

test('what takes too much together is not given back while the broker takes no letters (G5)', async () => {
  const held = { now: true }
  const { clock, queue, subscription } = setUpQueue(1000, 1, () => held.now)
  const ledger = new Ledger()
  const large = (): [Encoded] => [ledger.next('device-1', { data: 'x'.repeat(900_000) })]
  for (let index = 0; index < 6; index++) queue.post(large())
  await settled()
  expect(queue.leases).toBe(1)
  held.now = false
  queue.post(large())
  await clock.advance(60_000)
  expect([queue.leases, queue.depth]).toEqual([2, 0])
  await subscription.close()
})
