import { describe, expect, test } from 'vitest'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { partitions, setUp, writing, failure, gate } from '../../support/cloud/test-pipeline.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'

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
      expect(broker.dead).toHaveLength(1)
      expect(broker.depth).toBe(0)
    },
  )
})
