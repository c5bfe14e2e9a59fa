import { describe, expect, test } from 'vitest'
import { partitionQueue } from '../../../src/contract/wire.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { partitions, setUp, writing, failure } from '../../support/cloud/test-pipeline.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'

describe('the pipeline', () => {
  test('a handler that fails twice and then succeeds is tried three times at the delays of the ladder, with one effect', async () => {
    const triedAtMs: number[] = []
    const attempts: number[] = []
    const consumer = writing({
      async handle(event, { tx, attempt }) {
        await tx.query('insert', [event.id])
        triedAtMs.push(clock.monotonicMs())
        attempts.push(attempt)
        if (attempt < 3) throw failure(true)
      },
    })
    const { broker, clock, storage, start } = setUp(consumer)
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(60_000)
    expect(triedAtMs).toEqual([0, 5_000, 35_000])
    expect(attempts).toEqual([1, 2, 3])
    expect(storage.effects()).toHaveLength(1)
    expect(storage.dead()).toHaveLength(0)
  })

  test('a handler that always fails leaves a dead letter that tells the whole story', async () => {
    const { broker, clock, storage, start } = setUp(
      writing({
        version: '1.4.0',
        handle() {
          throw failure(true)
        },
      }),
    )
    start('instance-a')
    const message = posted(new Ledger().next('device-1'), partitions)
    broker.post(message)
    await settled()
    await clock.advance(60_000)
    const [letter] = storage.dead()
    expect(storage.dead()).toHaveLength(1)
    expect(letter?.body.toString()).toBe(message.text)
    expect(letter?.properties).toEqual(message.properties)
    expect(letter).toMatchObject({
      group: 'writer',
      attempts: 3,
      code: 'SENSOR_ODD',
      message: 'the sensor is odd',
      device: 'device-1',
      gateway: 'gateway-1',
      sequence: 1,
      version: '1.4.0',
      routingKey: message.routingKey,
      queue: partitionQueue('writer', message.partition),
      firstFailedAt: '2026-01-01T00:00:00.000Z',
      lastFailedAt: '2026-01-01T00:00:35.000Z',
      instance: 'instance-a',
    })
    expect(letter?.failures).toHaveLength(3)
    expect(storage.effects()).toHaveLength(0)
    expect(broker.depth).toBe(0)
  })

  test('what cannot succeed becomes a dead letter at once', async () => {
    const { broker, storage, start } = setUp(
      writing({
        handle() {
          throw failure(false)
        },
      }),
    )
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    expect(broker.retries).toHaveLength(0)
    expect(storage.dead()).toHaveLength(1)
  })

  test('a hung handler is timed out and retried, its effects are undone, and the others go on', async () => {
    const hung = new Set<number>()
    const { broker, clock, storage, start } = setUp(
      writing({
        async handle(event, { tx, attempt }) {
          await tx.query('insert', [event.sequence])
          if (event.sequence === 2 && attempt === 1) {
            hung.add(event.sequence)
            await new Promise(() => {})
          }
        },
      }),
    )
    start('a')
    const ledger = new Ledger()
    for (let index = 0; index < 4; index++) broker.post(posted(ledger.next('device-1'), partitions))
    await settled()
    await clock.advance(29_000)
    expect(hung.size).toBe(1)
    expect(storage.effects()).toHaveLength(0)
    await clock.advance(2_000)
    expect(storage.effects().map(({ params }) => params[0])).toEqual([1, 3, 4])
    expect(broker.retries).toHaveLength(1)
    await clock.advance(10_000)
    expect(storage.effects().map(({ params }) => params[0])).toEqual([1, 3, 4, 2])
  })

  test('a handler that swallows a failed query is the one to blame', async () => {
    const { broker, storage, start } = setUp(
      writing({
        retry: [],
        async handle(event, { tx }) {
          if (event.sequence === 1) await tx.query('FAIL').catch(() => {})
          else await tx.query('insert', [event.sequence])
        },
      }),
    )
    const ledger = new Ledger()
    for (let index = 0; index < 3; index++) broker.post(posted(ledger.next('device-1'), partitions))
    start('a')
    await settled()
    expect(storage.dead().map(({ code }) => code)).toEqual(['TRANSACTION_SPOILT'])
    expect(storage.effects()).toHaveLength(2)
  })

  test.each([
    ['undefined', undefined, 'undefined was thrown'],
    ['null', null, 'null was thrown'],
    ['what has no text', Object.create(null), 'something without a text was thrown'],
    ['an error whose message is none', Object.assign(new Error('x'), { message: 7 }), '7'],
  ])('a consumer that throws %s puts its event aside and ends nothing', async (_, what, message) => {
    const fatal: unknown[] = []
    const onFatal = (error: unknown): void => void fatal.push(error)
    for (const consumer of [
      writing({ retry: [], handle: () => Promise.reject(what) }),
      defineConsumer({
        group: 'writer',
        types: ['#'],
        retry: [],
        handleBatch() {},
        inspect() {
          throw what
        },
      }),
    ]) {
      const { broker, storage, start } = setUp(consumer, { pipeline: { onFatal } })
      start('a')
      broker.post(posted(new Ledger().next('device-1'), partitions))
      await settled()
      expect(storage.dead().map(({ message }) => message)).toEqual([message])
      expect(broker.depth).toBe(0)
    }
    expect(fatal).toEqual([])
  })
})
