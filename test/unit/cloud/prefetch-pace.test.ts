import { EventEmitter } from 'node:events'
import type { AsyncMessage } from 'rabbitmq-client'
import { describe, expect, test } from 'vitest'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import type { Delivery } from '../../../cloud/amqp/delivery.ts'
import { startSubscription } from '../../../cloud/amqp/subscription-rabbit.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

/** A queue that never ends, behind one channel at a time. */
class EndlessChannel extends EventEmitter {
  active = true
  prefetch = 0
  body = (): Buffer => Buffer.from('x')
  #sent = 0
  #acknowledged = 0
  #take: (message: AsyncMessage) => void = () => {}

  async basicQos({ prefetchCount }: { prefetchCount: number }): Promise<void> {
    this.prefetch = prefetchCount
  }

  async basicConsume(_: object, take: (message: AsyncMessage) => void): Promise<void> {
    this.#take = take
    setImmediate(() => this.#deliver())
  }

  basicAck({ deliveryTag }: { deliveryTag: number }): void {
    this.#acknowledged = deliveryTag
    this.#deliver()
  }

  async close(): Promise<void> {
    this.active = false
    this.emit('close')
  }

  #deliver(): void {
    while (this.active && this.#sent - this.#acknowledged < this.prefetch)
      this.#take({ deliveryTag: ++this.#sent, body: this.body() } as unknown as AsyncMessage)
  }
}

/** Somebody who takes `tookMs` for each delivery, one after the other, for an hour of virtual time and more. */
async function consume(tookMs: () => number, forMs: number, body = (): Buffer => Buffer.from('x')) {
  const clock = new FakeClock()
  const channels: EndlessChannel[] = []
  const waiting: Delivery[] = []
  let longestMs = 0
  let bytesMost = 0
  const connection = {
    client: {
      async acquire() {
        const channel = Object.assign(new EndlessChannel(), { body })
        channels.push(channel)
        return channel
      },
    },
  } as unknown as AmqpConnection
  const subscription = startSubscription({
    connection,
    queue: 'g.00.v2',
    home: 'g.00.v2',
    partition: 0,
    prefetch: 400,
    onDelivery: (delivery) => void waiting.push(delivery),
    onMissing: async () => false,
    clock,
    random: () => 0.5,
    log: silentLog,
  })
  await settled()
  while (clock.monotonicMs() < forMs) {
    const delivery = waiting.shift()
    if (delivery === undefined) await clock.advance(100)
    else if (!delivery.lost) {
      await clock.advance(tookMs())
      if (delivery.lost) continue
      longestMs = Math.max(longestMs, clock.now() - delivery.arrivedAtMs)
      const inHand = waiting.filter(({ lost }) => !lost)
      bytesMost = Math.max(
        bytesMost,
        inHand.reduce((sum, { text }) => sum + text.length, 0),
      )
      delivery.ack()
      await settled()
    }
  }
  await subscription.close()
  return { longestMs, bytesMost, prefetch: channels.at(-1)?.prefetch ?? 0, channels: channels.length }
}

describe('how many deliveries are taken at a time', () => {
  test('with a handler that takes nine seconds nothing is in our hands for as long as RabbitMQ allows', async () => {
    const { longestMs, prefetch, channels } = await consume(() => 9_000, 2 * 3_600_000)
    expect(longestMs).toBeLessThan(900_000)
    expect(prefetch).toBeLessThan(67)
    expect(channels).toBeLessThan(5)
  })

  test('becomes what was asked for again when the handler is fast again', async () => {
    const started = { calls: 0 }
    const { prefetch } = await consume(() => (++started.calls < 120 ? 9_000 : 50), 1_400_000)
    expect(prefetch).toBe(400)
  })

  test('what is in our hands is bounded by bytes as well, and large messages are taken fewer at a time (G7)', async () => {
    const large = Buffer.alloc(300_000, 'x')
    const { bytesMost, prefetch, channels } = await consume(
      () => 50,
      120_000,
      () => large,
    )
    expect(bytesMost).toBeLessThanOrEqual(4 * 1024 * 1024)
    expect(prefetch).toBeGreaterThanOrEqual(4)
    expect(prefetch).toBeLessThan(15)
    expect(channels).toBeLessThan(4)
  })

  test('a message that is larger by itself than all may be is taken alone (G7)', async () => {
    const huge = Buffer.alloc(5 * 1024 * 1024, 'x')
    const { prefetch, channels } = await consume(
      () => 50,
      60_000,
      () => huge,
    )
    expect([prefetch, channels]).toEqual([1, 2])
  })

  test('is what was asked for again when large messages are over (G7)', async () => {
    const [large, small] = [Buffer.alloc(300_000, 'x'), Buffer.from('x')]
    let sent = 0
    const { prefetch } = await consume(
      () => 50,
      400_000,
      () => (++sent < 60 ? large : small),
    )
    expect(prefetch).toBe(400)
  })

  test('is what was asked for as long as that is got to in time', async () => {
    const { prefetch, channels } = await consume(() => 500, 900_000)
    expect([prefetch, channels]).toEqual([400, 1])
  })
})
