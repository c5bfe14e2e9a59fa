/* oxlint-disable unicorn/no-thenable -- the name of an option: nobody awaits these */
import { describe, expect, test } from 'vitest'
import { defineConsumer, Unavailable } from '../../../cloud/pipeline/consumer.ts'
import { BatchQueue } from '../../../cloud/pipeline/limits/batch-queue.ts'
import { type Gate, GroupGate, openGate } from '../../../cloud/protection/gate.ts'
import { TidegateError } from '../../../src/errors.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { failure, gate, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { ward } from '../../support/cloud/ward.ts'
import { settled } from '../../support/fakes/clock.ts'
import { fakeDeadLetters, fakeParking } from '../../support/fakes/storage.ts'

const never = new AbortController().signal
const bounds = { devicesMax: 10_000, eventsMax: 100_000, eventsMaxPerDevice: 100_000 }

/** `count` devices, each with an event a second, not all at once. */
function fleetOf(count: number, world: ReturnType<typeof setUp>) {
  const ledger = new Ledger()
  return async (seconds: number): Promise<void> => {
    for (let step = 0; step < seconds * 20; step++) {
      for (let device = step % 20; device < count; device += 20)
        world.broker.post(posted(ledger.next(`d${device}`), partitions))
      await settled()
      await world.clock.advance(50)
    }
  }
}

describe('parked devices that send all the time', () => {
  test('are let go as soon as they have caught up: whoever took all looks again at once (G6, G7)', async () => {
    let isFailing = true
    const world = setUp(
      writing({
        onFailure: 'park',
        handle() {
          if (isFailing) throw failure(true)
        },
      }),
      { pipeline: { batchMax: 200, parking: { ...bounds, concurrency: 2 } } },
    )
    const { clock, storage } = world
    const transaction = storage.transaction.bind(storage)
    let latencyMs = 0
    storage.transaction = async (work, signal) => {
      if (latencyMs > 0) await clock.sleep(latencyMs, never)
      return transaction(work, signal)
    }
    const { pipeline } = world.start('a')
    const run = fleetOf(60, world)
    await run(1)
    expect(pipeline.parked.retrying).toBe(60)
    isFailing = false
    latencyMs = 50
    await run(30)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
  })

  test('have as many places as there are lanes: what keeps three lanes busy catches up (G7)', async () => {
    let isFailing = true
    const world = setUp(
      writing({
        onFailure: 'park',
        async handle() {
          if (isFailing) throw failure(true)
          await world.clock.sleep(50)
        },
      }),
      { pipeline: { lanes: 8, parking: bounds } },
    )
    const { pipeline } = world.start('a')
    const run = fleetOf(60, world)
    await run(1)
    isFailing = false
    await run(40)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
  })
})

describe('an event that fails behind others of its batch', () => {
  test('is recorded when they are done with, also where the rate lets them begin one after another (G5, G6)', async () => {
    let roomOnce = Infinity
    const paced: Gate = {
      ...openGate,
      enter(wanted) {
        const entered = Math.min(wanted, roomOnce)
        roomOnce = Infinity
        return Promise.resolve(entered)
      },
    }
    const { state, tried, post, start, clock, effects, parking } = ward(
      { then: 'hold', retry: ['5s'] },
      { pipeline: { gate: paced } },
    )
    start('a')
    const posts = Array.from({ length: 5 }, () => post())
    state.fails = (sequence) => sequence === 1
    await settled()
    state.fails = (sequence) => {
      if (sequence === 4) roomOnce = 1
      return sequence === 4
    }
    await clock.advance(20_000)
    expect(effects()).toEqual(posts.slice(0, 3))
    expect(tried.filter(({ sequence }) => sequence === 4).map(({ attempt }) => attempt)).toEqual([1, 2])
    const heads = await parking((port) => port.heads('writer', 'sick', 10))
    expect(heads.map(({ headers }) => headers['tidegate-attempt'])).toEqual([3, 1])
  })

  test('is recorded when they are done with, also where these take longer than a transaction is to (G5, G6)', async () => {
    let slowMs = 0
    const world = ward(
      {
        then: 'hold',
        retry: ['5s'],
        async handle({ sequence }, { tx }) {
          if (slowMs > 0) await world.clock.sleep(slowMs, never)
          await tx.query('insert', [sequence])
          if (!world.state.fails(sequence)) return
          slowMs = 600
          throw failure(true)
        },
      },
      { pipeline: { batchTimeTargetMs: 1_000 } },
    )
    const { state, post, start, clock, effects, parking } = world
    start('a')
    const posts = Array.from({ length: 5 }, () => post())
    state.fails = (sequence) => sequence === 1
    await settled()
    slowMs = 0
    state.fails = (sequence) => sequence === 4
    await clock.advance(9_000)
    expect(effects()).toEqual(posts.slice(0, 3))
    await clock.advance(30_000)
    expect(effects()).toEqual(posts.slice(0, 3))
    const heads = await parking((port) => port.heads('writer', 'sick', 10))
    expect(heads.map(({ headers }) => headers['tidegate-attempt'])).toEqual([3, 1])
  })
})

describe('what meets an outage', () => {
  test.each<[string, (device: string) => void, object]>([
    [
      'of what one device needs',
      (device) => {
        if (device.startsWith('sick')) throw new Unavailable('their server is down')
      },
      {},
    ],
    [
      'of the dead letters, which are full,',
      (device) => {
        if (device.startsWith('sick')) throw failure(false)
      },
      {
        letters: {
          lettersIn: fakeDeadLetters,
          full: () => new TidegateError('DEAD_LETTERS_FULL', { message: 'full', retryable: true, hint: '' }),
          mirror() {},
        },
      },
    ],
  ])('%s keeps no place of parked devices that do not (G7)', async (_, second, more) => {
    const done: string[] = []
    const first = new Set<string>()
    const world = setUp(
      writing({
        onFailure: 'park',
        handle({ partitionkey }) {
          if (!first.has(partitionkey)) {
            first.add(partitionkey)
            throw failure(true)
          }
          second(partitionkey)
          done.push(partitionkey)
        },
      }),
      { pipeline: { lanes: 2, parking: { ...bounds, concurrency: 2 }, ...more } },
    )
    const { pipeline } = world.start('a')
    const ledger = new Ledger()
    const post = (name: string): void => world.broker.post(posted(ledger.next(name), partitions))
    for (const name of ['sick1', 'sick2', 'sick3', 'sick4']) post(name)
    await settled()
    await world.clock.advance(6_000)
    post('well')
    await settled()
    await world.clock.advance(10_000)
    expect(done).toEqual(['well'])
    expect(pipeline.parked.retrying).toBe(4)
  })
})

function hanging(handler: 'single' | 'batch') {
  const calls: { devices: string[]; atMs: number }[] = []
  const done: string[] = []
  let isFirst = true
  const on = async (devices: string[]): Promise<void> => {
    calls.push({ devices, atMs: world.clock.monotonicMs() })
    if (devices.some((name) => name.startsWith('hangs'))) await new Promise(() => {})
    if (devices.includes('once') && isFirst) {
      isFirst = false
      throw failure(true)
    }
    done.push(...devices)
  }
  const about = { group: 'writer', types: ['#'], onFailure: 'park', timeout: '30s', retry: ['5s'] } as const
  const world = setUp(
    handler === 'single'
      ? defineConsumer({ ...about, handle: ({ partitionkey }) => on([partitionkey]) })
      : defineConsumer({
          ...about,
          handleBatch: (entries) => on(entries.map(({ event }) => event.partitionkey)),
        }),
    { pipeline: { lanes: 8, parking: { ...bounds, concurrency: 2 } } },
  )
  return { ...world, calls, done }
}

describe('devices whose every event hangs', () => {
  test.each(['single', 'batch'] as const)(
    'keep no place of first tries, however many of them are buried (G7): %s',
    async (handler) => {
      const world = hanging(handler)
      world.start('a')
      const ledger = new Ledger()
      const post = (name: string): void => world.broker.post(posted(ledger.next(name), partitions))
      for (let one = 0; one < 20; one++) for (let device = 0; device < 12; device++) post(`hangs${device}`)
      await world.clock.advance(600_000)
      expect(world.storage.dead().length).toBeGreaterThan(0)
      post('once')
      await world.clock.advance(20_000)
      expect(world.done).toEqual(['once'])
    },
  )
})

describe('what an operator says while a device is in hand', () => {
  test.each(['release', 'skip'] as const)('%s is obeyed by the turn that is under way (G6)', async (deed) => {
    const ready = gate()
    const begun = gate()
    let tries = 0
    const { state, post, start, clock, effects, storage, parking } = ward(
      { then: 'hold', retry: ['5s'] },
      {
        storage: {
          at(point) {
            // Between the attempt that failed and what comes of it.
            if (point === 'parking' && tries === 2) {
              tries++
              begun.release()
              return ready.promise
            }
            return undefined
          },
        },
      },
    )
    state.fails = (sequence) => {
      if (sequence === 1) tries++
      return sequence === 1
    }
    start('a')
    post()
    const second = post()
    await settled()
    await clock.advance(6_500)
    await begun.promise
    const which = { device: 'sick' }
    const said = parking((port) =>
      deed === 'skip' ? port.skip('writer', which, 'all') : port.release('writer', which),
    )
    expect(await said).toMatchObject({ devices: 1 })
    state.fails = () => false
    ready.release()
    await clock.advance(5_000)
    expect(effects()).toEqual(deed === 'skip' ? [] : [1, second])
    expect(storage.dead()).toHaveLength(deed === 'skip' ? 2 : 0)
  })

  test('skips what waits of a group that is paused, which tries nothing', async () => {
    const door = { closed: false }
    const paused: Gate = {
      ...openGate,
      get closed() {
        return door.closed
      },
      enter: (wanted, _, orClosed) => Promise.resolve(orClosed && door.closed ? 0 : wanted),
    }
    const { post, tried, start, clock, storage, parking } = ward(
      { then: 'hold', retry: [] },
      { pipeline: { gate: paused } },
    )
    const { pipeline } = start('a')
    for (const name of ['sick', 'sick', 'sick']) post(name)
    await settled()
    door.closed = true
    const first = await parking((port) => port.skip('writer', {}, 'first'))
    expect(first).toMatchObject({ devices: 1 })
    await clock.advance(5_000)
    expect(storage.dead()).toHaveLength(1)
    expect(tried).toHaveLength(1)
    await parking((port) => port.skip('writer', {}, 'all'))
    await clock.advance(5_000)
    expect(storage.dead()).toHaveLength(3)
    expect(tried).toHaveLength(1)
    expect(pipeline.parked).toMatchObject({ retrying: 0, held: 0, events: 0 })
  })
})

/** Devices that often fail, of a group with a rate: its places wait for the rate as it is paused. */
test.each([1, 4])(
  'what waits of a group that is paused is skipped to the last, also where all %i places had waited for its rate',
  async (concurrency) => {
    let door: GroupGate | undefined
    const tried: boolean[] = []
    const lazy: Gate = {
      get closed() {
        return door?.closed ?? false
      },
      get paces() {
        return door?.paces ?? false
      },
      enter: (wanted, signal, ...more) => (door as GroupGate).enter(wanted, signal, ...more),
      leave: (count, those) => door?.leave(count, those),
      tried: (_, failed) => void tried.push(failed),
      waited() {},
    }
    const world = setUp(
      writing({
        onFailure: 'park',
        handle({ sequence }) {
          if (sequence % 3 === 1) throw failure(true)
        },
      }),
      { pipeline: { gate: lazy, parking: { ...bounds, concurrency } } },
    )
    const { clock, storage } = world
    door = new GroupGate({
      ratePerSecond: 2,
      membersNow: () => 1,
      clock,
      onTried() {},
      onWaited() {},
      onTrial() {},
    })
    const { pipeline } = world.start('a')
    await fleetOf(8, world)(40)
    expect(pipeline.parked.retrying).toBe(8)
    door.close()
    await clock.advance(5_000)
    const before = tried.length
    await storage.transaction((tx) => fakeParking(tx).skip('writer', {}, 'all'), never)
    await clock.advance(60_000)
    expect(pipeline.parked).toMatchObject({ retrying: 0, held: 0, events: 0 })
    expect(tried).toHaveLength(before)
    door.open()
    await clock.advance(60_000)
    expect(tried.length).toBeGreaterThan(before)
  },
)

test('what is left of a batch by lines that have less than their share is for those that have more', () => {
  const queue = new BatchQueue<number>({
    batchMax: 10,
    lineOf: (item) => item % 2,
    nowMs: () => 0,
    failedMs: () => 0,
  })
  for (const item of [1, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]) queue.push(item)
  expect(queue.shift()?.items).toHaveLength(10)
  expect(queue.shift()?.items).toEqual([18, 20])
})
