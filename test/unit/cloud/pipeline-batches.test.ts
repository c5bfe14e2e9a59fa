import { describe, expect, test } from 'vitest'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { partitions, setUp, writing, failure, gate } from '../../support/cloud/test-pipeline.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { noObserver, type PipelineObserver } from '../../../cloud/pipeline/observer.ts'
import { unreachable } from '../../support/fakes/storage.ts'
import type { Clock } from '../../../src/clock.ts'

describe('the pipeline', () => {
  test('closing settles the batch under way and begins no other', async () => {
    const { promise: slow, release } = gate()
    const { broker, storage, start } = setUp(writing(), {
      pipeline: { batchMax: 1, lanes: 1 },
      storage: {
        async at(point) {
          if (point === 'commit') await slow
        },
      },
    })
    const { pipeline, deliveries } = start('a')
    const ledger = new Ledger()
    for (let index = 0; index < 3; index++) broker.post(posted(ledger.next('device-1'), partitions))
    await settled()
    deliveries.stop()
    const closed = pipeline.close()
    release()
    await closed
    expect(storage.effects()).toHaveLength(1)
    expect(broker.depth).toBe(2)
    await pipeline.close()
  })

  test.each(['single', 'batch'] as const)(
    'one bad event in a batch is put aside alone, and all others have their effect (%s)',
    async (kind) => {
      const handlers = {
        single: writing({
          async handle(event, { tx }) {
            if (event.sequence === 7) throw failure(false)
            await tx.query('insert', [event.sequence])
          },
        }),
        batch: defineConsumer({
          group: 'writer',
          types: ['#'],
          async handleBatch(entries, { tx }) {
            for (const { event } of entries) {
              if (event.sequence === 7) throw failure(false)
              await tx.query('insert', [event.sequence])
            }
          },
        }),
      }
      const { broker, storage, start } = setUp(handlers[kind])
      const ledger = new Ledger()
      for (let index = 0; index < 15; index++) broker.post(posted(ledger.next('device-1'), partitions))
      start('a')
      await settled()
      await settled()
      const sequences = storage.effects().map(({ params }) => params[0])
      expect(sequences).toEqual([1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15])
      expect(storage.dead()).toHaveLength(1)
      expect(broker.depth).toBe(0)
    },
  )

  test.each([
    [700, 2_000],
    [9_000, 10_000],
  ])(
    'a handler that takes %i ms an event commits in time from its first events on, however many wait (G4)',
    async (handlerMs, transactionMsMax) => {
      const tookMs: number[] = []
      const sizes: number[] = []
      const observer: PipelineObserver = {
        ...noObserver,
        transaction(_group, size, ms) {
          tookMs.push(ms)
          sizes.push(size)
        },
      }
      const clocks: Clock[] = []
      const consumer = writing({
        async handle(event, { tx }) {
          await clocks[0]?.sleep(handlerMs)
          await tx.query('insert', [event.sequence])
        },
      })
      const { broker, clock, storage, start } = setUp(consumer, { pipeline: { observer, batchMax: 200 } })
      clocks.push(clock)
      const ledger = new Ledger()
      for (let index = 0; index < 50; index++) broker.post(posted(ledger.next('device-1'), partitions))
      start('a')
      await settled()
      await clock.advance(3 * handlerMs)
      expect(storage.effects().length).toBeGreaterThanOrEqual(1)
      await clock.advance(60 * handlerMs)
      expect(storage.effects().map(({ params }) => params[0])).toEqual(
        Array.from({ length: 50 }, (_each, at) => at + 1),
      )
      expect(Math.max(...tookMs)).toBeLessThan(transactionMsMax)
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(50)
      expect(broker.depth).toBe(0)
    },
  )

  test.each([0, 600, 1_100, 5_000])(
    'transactions that take %i ms, whatever they hold, hold as much as they may',
    async (fixedMs) => {
      const sizes: number[] = []
      const observer: PipelineObserver = { ...noObserver, transaction: (_group, size) => sizes.push(size) }
      const clocks: Clock[] = []
      const { broker, clock, start } = setUp(
        defineConsumer({ group: 'writer', types: ['#'], handleBatch() {} }),
        {
          pipeline: { observer, batchMax: 200, lanes: 1 },
          broker: { prefetch: 400 },
          storage: { at: (point) => (point === 'commit' ? clocks[0]?.sleep(fixedMs) : undefined) },
        },
      )
      clocks.push(clock)
      const ledger = new Ledger()
      for (let index = 0; index < 2_000; index++) broker.post(posted(ledger.next('device-1'), partitions))
      start('a')
      await settled()
      await clock.advance(22 * Math.max(fixedMs, 1))
      expect(broker.depth).toBe(0)
      expect(Math.max(...sizes)).toBe(200)
    },
  )

  test.each([
    ['2 s an event', 'at once', (events: number, busy: boolean) => (busy ? 2_000 * events : 1)],
    ['2 s an event', '600 ms, whatever it holds', (events, busy) => (busy ? 2_000 * events : 600)],
    ['2 s an event', '1,100 ms, whatever it holds', (events, busy) => (busy ? 2_000 * events : 1_100)],
  ] satisfies [string, string, (events: number, busy: boolean) => number][])(
    'a database that was busy for a while (%s) has small transactions no longer than that, when it takes %s (G4)',
    async (_before, _after, takesMs) => {
      const sizes: number[] = []
      const observer: PipelineObserver = { ...noObserver, transaction: (_group, size) => sizes.push(size) }
      const clocks: Clock[] = []
      const consumer = defineConsumer({
        group: 'writer',
        types: ['#'],
        handleBatch: (entries) => clocks[0]?.sleep(takesMs(entries.length, sizes.length < 20)),
      })
      const { broker, clock, start } = setUp(consumer, {
        pipeline: { observer, batchMax: 200, lanes: 1 },
        broker: { prefetch: 400 },
      })
      clocks.push(clock)
      const ledger = new Ledger()
      for (let index = 0; index < 2_000; index++) broker.post(posted(ledger.next('device-1'), partitions))
      start('a')
      await settled()
      await clock.advance(200_000)
      expect(sizes).toContain(1)
      expect(Math.max(...sizes)).toBe(200)
      expect(broker.depth).toBe(0)
    },
  )

  test('a batch handler that takes 300 ms an event gets as many as it takes the time for', async () => {
    const tookMs: number[] = []
    const observer: PipelineObserver = { ...noObserver, transaction: (_group, _size, ms) => tookMs.push(ms) }
    const clocks: Clock[] = []
    const consumer = defineConsumer({
      group: 'writer',
      types: ['#'],
      handleBatch: (entries) => clocks[0]?.sleep(300 * entries.length),
    })
    const { broker, clock, start } = setUp(consumer, { pipeline: { observer, batchMax: 200, lanes: 1 } })
    clocks.push(clock)
    const ledger = new Ledger()
    for (let index = 0; index < 100; index++) broker.post(posted(ledger.next('device-1'), partitions))
    start('a')
    await settled()
    await clock.advance(60_000)
    expect(broker.depth).toBe(0)
    expect(Math.max(...tookMs.slice(4))).toBeLessThanOrEqual(1_200)
  })

  test('an outage that comes of what is asked for at once ends with asking for less (G5)', async () => {
    const consumer = defineConsumer({
      group: 'writer',
      types: ['#'],
      async handleBatch(entries, { tx }) {
        if (entries.length > 3) throw unreachable()
        for (const { event } of entries) await tx.query('insert', [event.sequence])
      },
    })
    const { broker, clock, storage, start } = setUp(consumer)
    const { pipeline } = start('a')
    const ledger = new Ledger()
    for (let index = 0; index < 20; index++) broker.post(posted(ledger.next('device-1'), partitions))
    await settled()
    await clock.advance(120_000)
    expect(storage.effects().map(({ params }) => params[0])).toEqual(
      Array.from({ length: 20 }, (_each, at) => at + 1),
    )
    expect([broker.depth, broker.retries.length, storage.dead().length]).toEqual([0, 0, 0])
    expect(pipeline.heldBy).toBeUndefined()
  })

  test('a consumer whose first events are fast and whose next are slow commits in time', async () => {
    const clocks: Clock[] = []
    const consumer = writing({
      async handle(event, { tx }) {
        if (event.sequence > 40) await clocks[0]?.sleep(700)
        await tx.query('insert', [event.sequence])
      },
    })
    const { broker, clock, storage, start } = setUp(consumer, { pipeline: { batchMax: 200 } })
    clocks.push(clock)
    const ledger = new Ledger()
    const { pipeline } = start('a')
    for (let index = 0; index < 40; index++) {
      broker.post(posted(ledger.next('device-1'), partitions))
      await settled()
    }
    for (let index = 0; index < 160; index++) broker.post(posted(ledger.next('device-1'), partitions))
    await settled()
    await clock.advance(2_000)
    expect(storage.effects().length).toBeGreaterThan(40)
    await clock.advance(120_000)
    expect(storage.effects()).toHaveLength(200)
    expect(pipeline.inFlight).toBe(0)
  })
})
