import { describe, expect, test } from 'vitest'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { failure, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'

const never = new AbortController().signal
const parking = { concurrency: 4, devicesMax: 100, eventsMax: 1000, eventsMaxPerDevice: 1000 }

/** Runners look for what is due at moments of their own. */
function mixed(): () => number {
  let last = 0
  return () => (last = (last + 0.37) % 1)
}

/** A database that takes its time, so that others are quick enough to take what is not held. */
function slowed(world: ReturnType<typeof setUp>): ReturnType<typeof setUp> {
  const { clock, storage } = world
  const transaction = storage.transaction.bind(storage)
  storage.transaction = async (work, signal) => {
    await clock.sleep(600, never)
    return transaction(work, signal)
  }
  return world
}

const about = { onFailure: 'park', timeout: '30s', retry: ['1s', '1s', '1s', '1s'] } as const

describe('a parked device stays with the runner that tries it (G5, G6)', () => {
  test('while its handler hangs for as long as it may: each of its attempts is one more', async () => {
    const tried: number[] = []
    const consumer = writing({
      ...about,
      async handle(_, { attempt }) {
        tried.push(attempt)
        await new Promise(() => {})
      },
    })
    const { broker, clock, start } = slowed(setUp(consumer, { pipeline: { parking, random: mixed() } }))
    start('a')
    start('b')
    broker.post(posted(new Ledger().next('hangs'), partitions))
    await settled()
    for (let second = 0; second < 200; second++) await clock.advance(1_000)
    expect(tried).toEqual([1, 2, 3, 4, 5])
  })

  test('while a batch is divided, though each of its parts takes nearly as long before it fails', async () => {
    const tried: string[] = []
    let isFailing = true
    const consumer = defineConsumer({
      ...about,
      retry: ['10s'],
      group: 'writer',
      types: ['#'],
      async handleBatch(entries) {
        if (isFailing) throw failure(true)
        const sequences = entries.map(({ event }) => event.sequence)
        tried.push(sequences.join(' '))
        await world.clock.sleep(25_000, never)
        if (sequences.includes(3)) throw failure(true)
      },
    })
    const world = slowed(setUp(consumer, { pipeline: { parking, random: mixed() } }))
    world.start('a')
    world.start('b')
    const ledger = new Ledger()
    for (let one = 0; one < 8; one++) world.broker.post(posted(ledger.next('sick'), partitions))
    await settled()
    await world.clock.advance(9_000)
    isFailing = false
    for (let second = 0; second < 90; second++) await world.clock.advance(1_000)
    expect(tried.slice(0, 3)).toEqual(['1 2 3 4 5 6 7 8', '1 2 3 4', '1 2'])
  })
})
