import { deflateSync } from 'node:zlib'
import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { describe, expect, test } from 'vitest'
import { Lease } from '../../../cloud/amqp/lease-rabbit.ts'
import { Ledger, posted, postedTogether, type Encoded } from '../../support/cloud/cloud-events.ts'
import { failure, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'

type Together = [Encoded, ...Encoded[]]

function together(ledger: Ledger, count: number): Together {
  return Array.from({ length: count }, () => ledger.next('device-1')) as Together
}

describe('a batch', () => {
  test.each([false, true])(
    'is handled event by event, in order, and gone when all of it is committed, compressed or not: %s (G4, G6)',
    async (compress) => {
      const { broker, storage, start } = setUp(writing())
      const ledger = new Ledger()
      broker.post(posted(ledger.next('device-1'), partitions))
      broker.post(postedTogether(together(ledger, 50), partitions, compress))
      broker.post(posted(ledger.next('device-1'), partitions))
      start('a')
      await settled()
      const sequences = storage.effects().map(({ params }) => params[1])
      expect(sequences).toEqual(Array.from({ length: 52 }, (_, index) => index + 1))
      expect([broker.depth, storage.dead().length]).toEqual([0, 0])
    },
  )

  test('that fails in part is set aside event by event, as if each had come alone, and the others have their effect (G5)', async () => {
    const consumer = writing({
      async handle(event, { tx, attempt }) {
        if (event.sequence === 3) throw failure(false)
        if (event.sequence === 5 && attempt === 1) throw failure(true)
        await tx.query('insert', [event.sequence])
      },
    })
    const { broker, storage, clock, start } = setUp(consumer)
    const events = together(new Ledger(), 8)
    const alone = events.map((event) => posted(event, partitions))
    broker.post(postedTogether(events, partitions, true))
    start('a')
    await settled()
    await settled()
    expect(storage.dead().map(({ body }) => body.toString())).toEqual([events[2]?.text])
    expect(storage.dead()[0]).toMatchObject({
      properties: { ...alone[2]?.properties, timestamp: 1_767_225_600 },
      attempts: 1,
      routingKey: alone[2]?.routingKey,
    })
    expect(Object.keys(storage.dead()[0]?.headers ?? {}).filter((name) => name.includes('batch'))).toEqual([])
    expect(broker.retries.map(({ letter }) => letter.body.toString())).toEqual([events[4]?.text])
    expect(broker.depth).toBe(0)
    await clock.advance(10_000)
    expect(storage.effects().map(({ params }) => params[0])).toEqual([1, 2, 4, 6, 7, 8, 5])
  })

  test('that inflates to thousands of objects that are no events is one dead letter (G5)', async () => {
    const { broker, storage, start } = setUp(writing())
    const whole = postedTogether(together(new Ledger(), 3), partitions, true)
    broker.post({ ...whole, text: deflateSync(`[${'{},'.repeat(9_999)}{}]`) })
    start('a')
    await settled()
    expect(storage.dead()).toHaveLength(1)
    expect(storage.dead()[0]).toMatchObject({ code: 'BATCH_UNREADABLE' })
    expect(broker.depth).toBe(0)
  })

  test('of more than one gateway, as none sends it, has letters with the gateway of each event (G5)', async () => {
    const { broker, storage, start } = setUp(writing({ handle: () => Promise.reject(failure(false)) }))
    const events: Together = [
      new Ledger('gateway-1').next('device-1'),
      new Ledger('gateway-2').next('device-2'),
    ]
    broker.post(postedTogether(events, partitions))
    start('a')
    await settled()
    await settled()
    expect(storage.dead().map(({ properties }) => properties.appId)).toEqual(['gateway-1', 'gateway-2'])
  })

  test('of which some are settled when the connection drops comes again, and nothing of it happens twice (G4)', async () => {
    const { broker, storage, clock, start } = setUp(
      writing({
        async handle(event, { tx }) {
          await clock.sleep(1000)
          await tx.query('insert', [event.partitionkey, event.sequence])
        },
      }),
      { pipeline: { batchMax: 2 } },
    )
    broker.post(postedTogether(together(new Ledger(), 6), partitions))
    const { deliveries } = start('a')
    await settled()
    await clock.advance(2500)
    expect(storage.effects().length).toBeGreaterThan(0)
    expect(storage.effects().length).toBeLessThan(6)
    expect(broker.depth).toBe(1)
    deliveries.drop()
    deliveries.reconnect()
    await clock.advance(20_000)
    expect(storage.effects().map(({ params }) => params[1])).toEqual([1, 2, 3, 4, 5, 6])
    expect(broker.depth).toBe(0)
  })

  test('that cannot be taken apart is a dead letter as it came, and what is behind it is handled (G5)', async () => {
    const { broker, storage, start } = setUp(writing())
    const ledger = new Ledger()
    const broken = postedTogether(together(ledger, 3), partitions, true)
    const body = Buffer.from(broken.text).subarray(0, -1)
    broker.post({ ...broken, text: body })
    broker.post(postedTogether(together(ledger, 2), partitions, true))
    start('a')
    await settled()
    expect(storage.dead()).toHaveLength(1)
    expect(storage.dead()[0]?.body).toEqual(body)
    expect(storage.dead()[0]).toMatchObject({
      properties: broken.properties,
      code: 'BATCH_UNREADABLE',
      headers: { 'tidegate-batch-events': 3 },
    })
    expect(storage.effects()).toHaveLength(2)
    expect(broker.depth).toBe(0)
  })

  test('is acknowledged when the last of its events is settled, whichever that is, and not before (G5)', async () => {
    const acks: number[] = []
    const channel = {
      active: true,
      basicAck: ({ deliveryTag }: { deliveryTag: number }) => acks.push(deliveryTag),
    }
    const lease = new Lease(channel as unknown as Channel, 'q', 0)
    const ledger = new Ledger()
    const message = (deliveryTag: number): AsyncMessage => {
      const { text: body, properties } = postedTogether(together(ledger, 3), partitions)
      return { ...properties, body, deliveryTag, exchange: '', routingKey: '' } as unknown as AsyncMessage
    }
    const [first, second] = [lease.deliveries(message(1), 0, 0), lease.deliveries(message(2), 0, 0)]
    for (const delivery of [...second, ...first.slice(1)]) delivery.ack()
    first[1]?.ack()
    await settled()
    expect([acks, lease.inHand]).toEqual([[], 2])
    expect(lease.bytesInHand).toBeGreaterThan(6 * 512)
    first[0]?.ack()
    await settled()
    expect(acks).toEqual([2])
    expect([lease.inHand, lease.bytesInHand, lease.settledCount]).toEqual([0, 0, 2])
  })
})
