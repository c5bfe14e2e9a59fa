import type { Parking } from '../../../cloud/parking/parking.ts'
import type { SingleConsumerOptions } from '../../../cloud/pipeline/consumer.ts'
import { fakeParking } from '../fakes/storage.ts'
import { type Encoded, Ledger, posted } from './cloud-events.ts'
import { failure, partitions, type Setup, setUp, writing } from './test-pipeline.ts'

const never = new AbortController().signal

/** A group that parks; events of `sick` fail while `fails` says so. Each effect is a sequence. */
export function ward(more: Partial<SingleConsumerOptions> = {}, setup: Setup = {}) {
  const state = { fails: (_sequence: number): boolean => true }
  const tried: { sequence: number; attempt: number; atMs: number }[] = []
  const world = setUp(
    writing({
      onFailure: 'park',
      async handle({ partitionkey, sequence }, { tx, attempt }) {
        if (partitionkey === 'sick') tried.push({ sequence, attempt, atMs: world.clock.monotonicMs() })
        await tx.query('insert', [sequence])
        if (partitionkey === 'sick' && state.fails(sequence)) throw failure(true)
      },
      ...more,
    }),
    setup,
  )
  const ledger = new Ledger()
  return {
    ...world,
    state,
    tried,
    next: (device = 'sick'): Encoded => ledger.next(device),
    post: (device = 'sick'): number => {
      const event = ledger.next(device)
      world.broker.post(posted(event, partitions))
      return event.event.sequence
    },
    effects: () => world.storage.effects().map(({ params }) => params[0]),
    parking: <T>(work: (parking: Parking) => Promise<T>): Promise<T> =>
      world.storage.transaction((tx) => work(fakeParking(tx)), never),
  }
}
