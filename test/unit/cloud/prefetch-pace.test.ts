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
      this.#take({ deliveryTag: ++this.#sent, body: Buffer.from('x') } as unknown as AsyncMessage)
  }
}

/** Somebody who takes `tookMs` for each delivery, one after the other, for an hour of virtual time and more. */
async function consume(tookMs: () => number, forMs: number) {
  const clock = new FakeClock()
  const channels: EndlessChannel[] = []
  const waiting: Delivery[] = []
  let longestMs = 0
  const connection = {
    client: {
      async acquire() {
        channels.push(new EndlessChannel())
        return channels.at(-1)
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
      delivery.ack()
      await settled()
    }
  }
  await subscription.close()
  return { longestMs, prefetch: channels.at(-1)?.prefetch ?? 0, channels: channels.length }
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

  test('is what was asked for as long as that is got to in time', async () => {
    const { prefetch, channels } = await consume(() => 500, 900_000)
    expect([prefetch, channels]).toEqual([400, 1])
  })
})
