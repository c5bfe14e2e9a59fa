import { describe, expect, test } from 'vitest'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { partitions, setUp, writing, failure, gate } from '../../support/cloud/test-pipeline.ts'
import { fakeDeadLetters, unreachable } from '../../support/fakes/storage.ts'
import type { LetterBox } from '../../../cloud/letters/dead-letters.ts'
import { headers } from '../../../src/contract/wire.ts'
import { TidegateError } from '../../../src/errors.ts'
import { noObserver } from '../../../cloud/pipeline/observer.ts'

const hopeless = () =>
  writing({
    handle() {
      throw failure(false)
    },
  })

describe('the pipeline', () => {
  test('a database that is down burns no attempt and loses nothing (G5)', async () => {
    const { broker, clock, storage, start } = setUp(writing())
    const { pipeline } = start('a')
    storage.down = true
    const ledger = new Ledger()
    for (let index = 0; index < 30; index++) broker.post(posted(ledger.next(`device-${index}`), partitions))
    await settled()
    await clock.advance(600_000)
    expect(pipeline.heldBy?.code).toBe('DATABASE_UNREACHABLE')
    expect(broker.depth).toBe(30)
    storage.down = false
    await clock.advance(10_000)
    expect(storage.effects()).toHaveLength(30)
    expect(broker.retries).toHaveLength(0)
    expect(storage.dead()).toHaveLength(0)
    expect(broker.depth).toBe(0)
    expect(pipeline.heldBy).toBeUndefined()
  })

  test('a commit nobody learned of is not repeated (G4)', async () => {
    let commits = 0
    const { broker, clock, storage, start } = setUp(writing(), {
      storage: {
        at(point) {
          if (point === 'after-commit' && ++commits === 1) throw unreachable()
        },
      },
    })
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(10_000)
    expect(storage.effects()).toHaveLength(1)
    expect(broker.depth).toBe(0)
  })

  test('while no siding takes a failed event, it is held and not lost (G5)', async () => {
    const { broker, clock, start } = setUp(
      writing({
        handle() {
          throw failure(true)
        },
      }),
    )
    start('a')
    broker.sidingsDown = true
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await clock.advance(60_000)
    expect(broker.depth).toBe(1)
    broker.sidingsDown = false
    await clock.advance(4_900)
    expect(broker.retries).toMatchObject([{ letter: { headers: { [headers.attempt]: 2 } } }])
    expect(broker.depth).toBe(0)
  })

  test('while the database takes no letter of it, what failed for good is held and not lost, and no attempt is burnt (G5)', async () => {
    let refused = 0
    const { broker, clock, storage, start } = setUp(hopeless(), {
      storage: {
        at(point) {
          if (point === 'letters' && refused++ < 5) throw unreachable()
        },
      },
    })
    const { pipeline } = start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    expect(pipeline.heldBy?.code).toBe('DATABASE_UNREACHABLE')
    expect(broker.depth).toBe(1)
    await clock.advance(60_000)
    expect(pipeline.heldBy).toBeUndefined()
    expect(storage.dead()).toHaveLength(1)
    expect(storage.dead()[0]?.attempts).toBe(1)
    expect(broker.depth).toBe(0)
  })

  test('a group that has as many open letters as it may is held, says so, and goes on when there is room (G5, G7)', async () => {
    let full: TidegateError | undefined = new TidegateError('DEAD_LETTERS_FULL', {
      message: 'full',
      retryable: true,
      hint: 'resolve some',
    })
    const { broker, clock, storage, start } = setUp(hopeless(), {
      pipeline: { letters: { lettersIn: fakeDeadLetters, full: () => full, mirror: () => {} } },
    })
    const { pipeline } = start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await clock.advance(30_000)
    expect(pipeline.heldBy?.code).toBe('DEAD_LETTERS_FULL')
    expect([broker.depth, storage.dead().length]).toEqual([1, 0])
    full = undefined
    await clock.advance(10_000)
    expect(pipeline.heldBy).toBeUndefined()
    expect([broker.depth, storage.dead().length]).toEqual([0, 1])
  })

  test('a replay that fails is not held by a full group: it adds no letter (G5, G7)', async () => {
    const full = new TidegateError('DEAD_LETTERS_FULL', {
      message: 'full',
      retryable: true,
      hint: 'resolve some',
    })
    const { broker, clock, start } = setUp(hopeless(), {
      pipeline: {
        letters: { lettersIn: fakeDeadLetters, full: () => full, mirror: () => {} },
        replayedIn: () => ({
          hold: async (_group, letters) => letters,
          resolve: async () => {},
          count: async () => {},
        }),
      },
    })
    const { pipeline } = start('a')
    const ofLetter = { [headers.letter]: 7, [headers.replay]: 2 }
    broker.post({ ...posted(new Ledger().next('device-1'), partitions), exchange: '', headers: ofLetter })
    await clock.advance(30_000)
    expect(pipeline.heldBy).toBeUndefined()
    expect(broker.depth).toBe(0)
  })

  test('what is delivered again while its letter is open is not held by a full group, and what is new beside it is (G5, G7)', async () => {
    let full: TidegateError | undefined
    const { broker, clock, storage, start } = setUp(hopeless(), {
      pipeline: { letters: { lettersIn: fakeDeadLetters, full: () => full, mirror: () => {} } },
    })
    const { pipeline } = start('a')
    const ledger = new Ledger()
    const known = posted(ledger.next('device-1'), partitions)
    broker.post(known)
    await settled()
    expect(storage.dead()).toHaveLength(1)
    full = new TidegateError('DEAD_LETTERS_FULL', { message: 'full', retryable: true, hint: 'resolve some' })
    await clock.advance(1_000)
    broker.post(known)
    await clock.advance(30_000)
    expect(pipeline.heldBy).toBeUndefined()
    expect(broker.depth).toBe(0)
    expect(storage.dead()).toMatchObject([{ failures: [{ attempt: 1 }, { attempt: 1 }] }])
    broker.post(posted(ledger.next('device-1'), partitions))
    await clock.advance(30_000)
    expect(pipeline.heldBy?.code).toBe('DEAD_LETTERS_FULL')
    expect([broker.depth, storage.dead().length]).toEqual([1, 1])
  })

  test('what needs no room in a full group does not wait behind what does: neither a known letter nor a replay that fails (G5, G7)', async () => {
    let full: TidegateError | undefined
    const outcomes: string[] = []
    const { broker, clock, storage, start } = setUp(hopeless(), {
      pipeline: {
        observer: { ...noObserver, settled: (_, outcome) => void outcomes.push(outcome) },
        letters: { lettersIn: fakeDeadLetters, full: () => full, mirror: () => {} },
        replayedIn: () => ({
          hold: async (_group, letters) => letters,
          resolve: async () => {},
          count: async () => {},
        }),
      },
    })
    const { pipeline } = start('a')
    const ledger = new Ledger()
    const known = posted(ledger.next('device-1'), partitions)
    broker.post(known)
    await settled()
    full = new TidegateError('DEAD_LETTERS_FULL', { message: 'full', retryable: true, hint: 'resolve some' })
    broker.post(posted(ledger.next('device-2'), partitions))
    await clock.advance(30_000)
    expect([broker.depth, storage.dead().length]).toEqual([1, 1])
    broker.post(known)
    const ofLetter = { [headers.letter]: 7, [headers.replay]: 2 }
    broker.post({ ...posted(ledger.next('device-3'), partitions), exchange: '', headers: ofLetter })
    await clock.advance(1_000)
    expect(broker.depth).toBe(1)
    expect(pipeline.heldBy?.code).toBe('DEAD_LETTERS_FULL')
    full = undefined
    await clock.advance(10_000)
    expect(broker.depth).toBe(0)
    expect(pipeline.heldBy).toBeUndefined()
    expect(outcomes).toEqual(['dead', 'dead', 'dead', 'dead'])
  })

  test('a letter whose commit was not answered is delivered again, and is one (G5)', async () => {
    let lost = 0
    const { broker, clock, storage, start } = setUp(hopeless(), {
      storage: {
        at(point) {
          if (point === 'after-commit' && lost++ < 2) throw unreachable()
        },
      },
    })
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(60_000)
    expect(storage.dead()).toHaveLength(1)
    expect(broker.depth).toBe(0)
  })

  test('all that a batch is found to be at fault for is one transaction (G5)', async () => {
    let asked = 0
    const at = (point: string): void => void (asked += Number(point === 'letters'))
    const { broker, storage, start } = setUp(writing(), { storage: { at } })
    for (let index = 0; index < 15; index++) broker.post({ text: `no event ${index}`, partition: 0 })
    start('a')
    await settled()
    expect(storage.dead()).toHaveLength(15)
    expect(asked).toBe(1)
    expect(broker.depth).toBe(0)
  })

  test('a letter that the database does not take as it is harms no other, and is kept with its body (G5)', async () => {
    let asked = 0
    const lettersIn: LetterBox['lettersIn'] = (tx) => ({
      ...fakeDeadLetters(tx),
      async add(letters) {
        asked++
        if (letters.some(({ message, stack }) => stack !== undefined && message === 'poison'))
          throw Object.assign(new Error('unsupported Unicode escape sequence'), { code: '22P05' })
        return fakeDeadLetters(tx).add(letters)
      },
    })
    const consumer = writing({
      retry: [],
      handle({ sequence }) {
        throw new Error(sequence === 2 ? 'poison' : 'odd')
      },
    })
    const { broker, storage, start } = setUp(consumer, {
      pipeline: { letters: { lettersIn, full: () => undefined, mirror: () => {} } },
    })
    const ledger = new Ledger()
    const events = Array.from({ length: 3 }, () => ledger.next('device-1'))
    for (const event of events) broker.post(posted(event, partitions))
    start('a')
    await settled()
    await settled()
    await settled()
    expect(
      storage
        .dead()
        .map(({ body }) => body.toString())
        .toSorted(),
    ).toEqual(events.map(({ text }) => text).toSorted())
    expect(storage.dead().find(({ message }) => message === 'poison')).toMatchObject({
      stack: undefined,
      headers: {},
    })
    expect(broker.depth).toBe(0)
    expect(asked).toBeGreaterThan(1)
  })

  test('closing waits no longer than its grace for a letter that is not committed, and the delivery stays with the broker (G5)', async () => {
    const { broker, clock, storage, start } = setUp(hopeless(), {
      storage: { at: (point) => (point === 'letters' ? new Promise<void>(() => {}) : undefined) },
    })
    const { pipeline } = start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    const closed = pipeline.close(1000)
    await clock.advance(1000)
    await closed
    expect(broker.depth).toBe(1)
    expect(storage.dead()).toHaveLength(0)
  })
  test('when an instance dies its partitions go on elsewhere, in order and without a second effect (G6)', async () => {
    const begunAfterLoss: number[] = []
    const consumer = writing({
      async handle(event, { tx, delivery }) {
        if (delivery.lost) begunAfterLoss.push(event.sequence)
        await tx.query('insert', [event.partitionkey, event.sequence])
      },
    })
    const { promise: slow, release } = gate()
    let begun = 0
    const { broker, storage, start } = setUp(consumer, {
      pipeline: { batchMax: 2 },
      storage: {
        async at(point) {
          if (point === 'claim' && ++begun === 2) await slow
        },
      },
    })
    const ledger = new Ledger()
    for (let index = 0; index < 10; index++) broker.post(posted(ledger.next('device-1'), partitions))
    const first = start('a')
    start('b')
    await settled()
    first.deliveries.drop()
    release()
    await settled()
    expect(storage.effects().map(({ params }) => params[1])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    // The batch under way may end; another begun by the one that lost the partition could overtake its successor.
    expect(begunAfterLoss).toEqual([3, 4])
    expect(broker.depth).toBe(0)
  })

  test('closing cuts off a handler that hangs, and its delivery stays with the broker', async () => {
    const { broker, clock, start } = setUp(writing({ handle: () => new Promise<void>(() => {}) }))
    const { pipeline } = start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    const closed = pipeline.close(1000)
    await clock.advance(1000)
    await closed
    expect(broker.depth).toBe(1)
    expect(broker.retries).toHaveLength(0)
  })

  test('closing waits no longer than its grace for a siding that does not answer, and the delivery stays with the broker', async () => {
    const consumer = writing({
      handle() {
        throw failure(true)
      },
    })
    const { broker, clock, start } = setUp(consumer, {
      broker: { beforeSiding: () => new Promise<void>(() => {}) },
    })
    const { pipeline } = start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    const closed = pipeline.close(1000)
    await clock.advance(1000)
    await closed
    expect(broker.depth).toBe(1)
    expect(broker.retries).toHaveLength(0)
  })

  test.each([
    ['hangs', unreachable()],
    [
      'takes no new sessions',
      new TidegateError('DATABASE_REFUSED', { message: 'no', retryable: false, hint: 'mend it' }),
    ],
  ])('a handler that hangs because the database %s burns no attempt', async (_, found) => {
    const { promise, release: recover } = gate()
    let outage: Promise<void> | undefined = promise
    const { broker, clock, storage, start } = setUp(writing(), {
      storage: {
        async at(point) {
          if (point === 'probe' && outage) throw found
          if (point === 'query') await outage
        },
      },
    })
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(70_000)
    outage = undefined
    recover()
    await settled()
    await clock.advance(40_000)
    expect(storage.effects()).toHaveLength(1)
    expect(broker.retries).toHaveLength(0)
    expect(storage.dead()).toHaveLength(0)
  })
})
