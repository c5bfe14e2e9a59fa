/* oxlint-disable unicorn/no-thenable -- the name of an option: nobody awaits these */
import { describe, expect, test } from 'vitest'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { createPipeline, type Pipeline } from '../../../cloud/pipeline/pipeline.ts'
import { GroupGate } from '../../../cloud/protection/gate.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { failure, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { ward } from '../../support/cloud/ward.ts'
import { settled } from '../../support/fakes/clock.ts'

const bounds = { concurrency: 2, devicesMax: 1000, eventsMax: 100_000, eventsMaxPerDevice: 100_000 }

const ladder = { retry: ['5s', '30s', '5m', '30m'] }

describe('what there is no room for', () => {
  test('is among the dead letters, in its order, until nothing waits; healthy devices of its batch go on, and nobody is held (G6, G7)', async () => {
    const tried: boolean[] = []
    const { state, post, start, clock, effects, storage, broker } = ward(
      { retry: ['5s'] },
      { pipeline: { parking: { ...bounds, eventsMaxPerDevice: 2 }, gate: watching(tried) } },
    )
    const { pipeline } = start('a')
    const sick = [post(), post(), post()]
    const healthy = post('healthy')
    sick.push(post())
    await settled()
    expect(pipeline.heldBy).toBeUndefined()
    expect(broker.depth).toBe(0)
    expect(effects()).toEqual([healthy])
    expect(storage.dead()).toMatchObject([
      { code: 'PARKING_FULL', sequence: sick[2] },
      { code: 'PARKING_FULL', sequence: sick[3] },
    ])
    // One attempt has failed; what was never tried says nothing of the group.
    expect(tried).toEqual([true, false])
    state.fails = () => false
    await clock.advance(5_500)
    const late = post()
    await clock.advance(10_000)
    expect(effects()).toEqual([healthy, sick[0], sick[1], late])
  })

  test('of a group goes to the rungs if its device waits for nothing yet, is overtaken, and has all its attempts (G5, G7)', async () => {
    const { state, post, start, clock, effects, storage, broker } = ward(
      {},
      { pipeline: { parking: { ...bounds, devicesMax: 0 } } },
    )
    const { pipeline } = start('a')
    state.fails = (sequence) => sequence === 1
    post()
    const second = post()
    await settled()
    expect(pipeline.heldBy).toBeUndefined()
    expect(broker.depth).toBe(0)
    expect(effects()).toEqual([second])
    expect(storage.dead()).toEqual([])
    await clock.advance(60_000)
    expect(storage.dead()).toMatchObject([{ code: 'SENSOR_ODD', attempts: 3 }])
  })

  test('does not slow down a fleet: one device that is held and full, and forty that go on as before (G7)', async () => {
    const done = new Map<string, number>()
    const world = setUp(
      writing({
        onFailure: 'park',
        then: 'hold',
        retry: [],
        handle({ partitionkey }) {
          if (partitionkey === 'sick') throw failure(true)
          done.set(partitionkey, (done.get(partitionkey) ?? 0) + 1)
        },
      }),
      { broker: { prefetch: 40 }, pipeline: { lanes: 4, parking: { ...bounds, eventsMax: 50 } } },
    )
    const { pipeline } = world.start('a')
    const ledger = new Ledger()
    const fleet = Array.from({ length: 40 }, (_, index) => `ok${index}`)
    for (let second = 0; second < 300; second++) {
      for (const name of ['sick', ...fleet]) world.broker.post(posted(ledger.next(name), partitions))
      await settled()
      await world.clock.advance(1_000)
    }
    expect([...done.values()]).toEqual(fleet.map(() => 300))
    expect(pipeline.heldBy).toBeUndefined()
    expect(pipeline.parked).toMatchObject({ held: 1, events: 50 })
    expect(world.storage.dead()).toHaveLength(250)
  })
})

describe('a parked device', () => {
  test('of which one event in ten fails catches up: of a stay the first climbs the whole ladder, the others one step (G6)', async () => {
    const { state, post, start, clock, effects, storage } = ward(ladder, { pipeline: { parking: bounds } })
    state.fails = (sequence) => sequence % 10 === 1
    const { pipeline } = start('a')
    let isFree = 0
    // Four readings a minute, for two hours.
    for (let reading = 0; reading < 4 * 60 * 2; reading++) {
      post()
      await settled()
      await clock.advance(15_000)
      if (pipeline.parked.retrying === 0) isFree++
    }
    await clock.advance(2_400_000)
    expect(isFree).toBeGreaterThan(0)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
    expect(effects()).toHaveLength(432)
    expect(effects()).toEqual(effects().toSorted((a, b) => Number(a) - Number(b)))
    expect(storage.dead()).toHaveLength(48)
  })

  test('that sends 300 events a second to a consumer of batches is let go again', async () => {
    let handled = 0
    const world = setUp(
      defineConsumer({
        group: 'writer',
        types: ['#'],
        onFailure: 'park',
        async handleBatch(entries) {
          await world.clock.sleep(5)
          const nowMs = world.clock.monotonicMs()
          if (nowMs > 3_000 && nowMs < 3_200) throw failure(true)
          handled += entries.length
        },
      }),
      { pipeline: { batchMax: 100, parking: bounds } },
    )
    const { pipeline } = world.start('a')
    const ledger = new Ledger()
    for (let tenth = 0; tenth < 200; tenth++) {
      for (let one = 0; one < 30; one++) world.broker.post(posted(ledger.next('busy'), partitions))
      await settled()
      await world.clock.advance(100)
    }
    await world.clock.advance(1_000)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
    expect(handled).toBe(6_000)
  })

  test('has its turn, however much others that failed once have to do (G7)', async () => {
    const failedOnce = new Set<string>()
    const calls: string[] = []
    const world = setUp(
      writing({
        onFailure: 'park',
        async handle({ partitionkey }) {
          if (!failedOnce.has(partitionkey)) {
            failedOnce.add(partitionkey)
            throw failure(true)
          }
          calls.push(partitionkey)
          await world.clock.sleep(20)
        },
      }),
      { pipeline: { parking: bounds } },
    )
    world.start('a')
    const ledger = new Ledger()
    const post = (device: string): void => world.broker.post(posted(ledger.next(device), partitions))
    post('busy1')
    post('busy2')
    await settled()
    await world.clock.advance(100)
    post('quiet')
    for (let second = 0; second < 20; second++) {
      for (let one = 0; one < 60; one++) {
        post('busy1')
        post('busy2')
      }
      await settled()
      await world.clock.advance(1_000)
    }
    expect(calls).toContain('quiet')
  })

  test('that failed once has its second try, though a hundred hang in theirs', async () => {
    const tried: string[] = []
    const world = setUp(
      writing({
        onFailure: 'park',
        timeout: '30s',
        retry: ['5s', '30s', '30s', '30s'],
        async handle({ partitionkey }, { attempt }) {
          if (partitionkey.startsWith('hangs') && attempt > 1) await new Promise(() => {})
          if (partitionkey.startsWith('hangs'))
            throw Object.assign(new Error('slow'), { code: 'HANDLER_TIMEOUT' })
          if (attempt === 1) throw failure(true)
          tried.push(partitionkey)
        },
      }),
      { pipeline: { parking: bounds } },
    )
    world.start('a')
    const ledger = new Ledger()
    for (let one = 0; one < 100; one++) world.broker.post(posted(ledger.next(`hangs${one}`), partitions))
    await settled()
    await world.clock.advance(20_000)
    world.broker.post(posted(ledger.next('once'), partitions))
    await settled()
    await world.clock.advance(10_000)
    expect(tried).toEqual(['once'])
  })

  test.each([
    [2, ['a', 'b']],
    [6, ['a', 'b']],
    [2, ['a']],
  ])('of a group with a rate of %i a minute has its share of it, in %j', async (perMinute, names) => {
    const failed = new Set<string>()
    const done: string[] = []
    const world = setUp(
      writing({
        onFailure: 'park',
        handle({ partitionkey }) {
          if (partitionkey.startsWith('sick') && !failed.has(partitionkey)) {
            failed.add(partitionkey)
            throw failure(true)
          }
          done.push(partitionkey)
        },
      }),
    )
    const pipelines = names.map((name) => {
      const gate = new GroupGate({
        ratePerSecond: perMinute / 60,
        membersNow: () => names.length,
        clock: world.clock,
        onTried() {},
        onWaited() {},
        onTrial() {},
      })
      const pipeline: Pipeline = createPipeline({ ...world.options(name), gate })
      world.broker.connect().start((delivery) => pipeline.take(delivery))
      return pipeline
    })
    const ledger = new Ledger()
    for (const name of ['sick', 'sick2']) world.broker.post(posted(ledger.next(name), partitions))
    await settled()
    for (let minute = 0; minute < 30; minute++) {
      for (let one = 0; one < 4; one++) world.broker.post(posted(ledger.next(`busy${one}`), partitions))
      await settled()
      await world.clock.advance(60_000)
    }
    expect(done.filter((name) => name.startsWith('sick')).toSorted()).toEqual(['sick', 'sick2'])
    expect(done.length).toBeGreaterThan(perMinute * 13)
    await Promise.all(pipelines.map((pipeline) => pipeline.close(0)))
  })

  test('keeps its place at a rate that lets less begin than a claim lasts', async () => {
    const failed = new Set<string>()
    const done: string[] = []
    const world = setUp(
      writing({
        onFailure: 'park',
        handle({ partitionkey }) {
          if (!failed.has(partitionkey)) {
            failed.add(partitionkey)
            throw failure(true)
          }
          done.push(partitionkey)
        },
      }),
    )
    const { clock } = world
    const rate = { ratePerSecond: 0.5 / 60, membersNow: () => 1, onTried() {}, onWaited() {}, onTrial() {} }
    const pipeline = createPipeline({ ...world.options('a'), gate: new GroupGate({ ...rate, clock }) })
    world.broker.connect().start((delivery) => pipeline.take(delivery))
    world.broker.post(posted(new Ledger().next('sick'), partitions))
    await settled()
    await clock.advance(300_000)
    expect(done).toEqual(['sick'])
    await pipeline.close(0)
  })

  test('of a group with one place for handlers takes every other turn at the most', async () => {
    let healthy = 0
    const world = setUp(
      writing({
        onFailure: 'park',
        concurrency: 1,
        retry: ['1s', '1s', '1s', '1s', '1s', '1s', '1s', '1s'],
        async handle({ partitionkey }) {
          await world.clock.sleep(100)
          if (partitionkey.startsWith('sick')) throw failure(true)
          healthy++
        },
      }),
      { pipeline: { batchMax: 1, parking: { ...bounds, concurrency: 64 } } },
    )
    world.start('a')
    const ledger = new Ledger()
    for (let one = 0; one < 50; one++) world.broker.post(posted(ledger.next(`sick${one}`), partitions))
    await settled()
    await world.clock.advance(15_000)
    for (let one = 0; one < 1_000; one++) world.broker.post(posted(ledger.next('healthy'), partitions))
    await settled()
    await world.clock.advance(4_000)
    expect(healthy).toBeGreaterThanOrEqual(19)
  })
})

describe('one device that hangs', () => {
  const fleet = Array.from({ length: 40 }, (_, index) => `ok${index}`)

  function hanging(onFailure: 'park' | 'overtake') {
    const lastMs = new Map<string, number>()
    const world = setUp(
      writing({
        onFailure,
        timeout: '10s',
        async handle({ partitionkey }) {
          if (partitionkey === 'hanging') await new Promise(() => {})
          lastMs.set(partitionkey, world.clock.monotonicMs())
        },
      }),
      { broker: { prefetch: 10 }, pipeline: { lanes: 2, parking: bounds } },
    )
    world.start('a')
    const ledger = new Ledger()
    const one = posted(ledger.next('hanging'), partitions)
    world.broker.post(one)
    const run = async (seconds: number): Promise<void> => {
      for (let second = 0; second < seconds; second++) {
        for (const name of fleet) world.broker.post(posted(ledger.next(name), partitions))
        await settled()
        await world.clock.advance(1_000)
      }
    }
    return { ...world, lastMs, run, ledger, partition: one.partition }
  }

  test('fills the prefetch of other partitions for one timeout at the most, in a group that parks (G7)', async () => {
    const { run, broker, lastMs } = hanging('park')
    await run(15)
    expect(broker.depth).toBe(0)
    expect(Math.min(...lastMs.values())).toBeGreaterThanOrEqual(14_000)
  })

  test('holds up the partitions of its lane and no other, in a group that does not park (G7)', async () => {
    const { run, lastMs, ledger, partition } = hanging('overtake')
    await run(8)
    const others = fleet.filter(
      (name) => posted(ledger.next(name), partitions).partition % 2 !== partition % 2,
    )
    expect(others.length).toBeGreaterThan(5)
    for (const name of others) expect(lastMs.get(name)).toBeGreaterThanOrEqual(7_000)
  })

  test('one that has more to do than its lane can holds up no other partition (G7)', async () => {
    const lastMs = new Map<string, number>()
    const postedAtMs = new Map<number, number>()
    let worstMs = 0
    const world = setUp(
      writing({
        onFailure: 'park',
        async handle({ partitionkey, sequence }) {
          await world.clock.sleep(10)
          lastMs.set(partitionkey, world.clock.monotonicMs())
          const sinceMs = postedAtMs.get(sequence)
          if (sinceMs !== undefined) worstMs = Math.max(worstMs, world.clock.monotonicMs() - sinceMs)
        },
      }),
      { broker: { prefetch: 100 }, pipeline: { lanes: 2, batchMax: 20, parking: bounds } },
    )
    world.start('a')
    const ledger = new Ledger()
    const busy = posted(ledger.next('busy'), partitions)
    world.broker.post(busy)
    const fleet = Array.from({ length: 40 }, (_, index) => `ok${index}`).filter(
      (name) => posted(ledger.next(name), partitions).partition !== busy.partition,
    )
    for (let second = 0; second < 20; second++) {
      for (let one = 0; one < 200; one++) world.broker.post(posted(ledger.next('busy'), partitions))
      for (const name of fleet) {
        const event = ledger.next(name)
        postedAtMs.set(event.event.sequence, world.clock.monotonicMs())
        world.broker.post(posted(event, partitions))
      }
      await settled()
      await world.clock.advance(1_000)
    }
    expect(worstMs).toBeLessThan(1_000)
  })
})

/** A gate that lets all begin, and notes what came of attempts. */
function watching(tried: boolean[]) {
  return {
    closed: false,
    paces: false,
    enter: (wanted: number, signal: AbortSignal) => Promise.resolve(signal.aborted ? 0 : wanted),
    leave() {},
    tried: (_: string, failed: boolean) => void tried.push(failed),
    waited() {},
  }
}
