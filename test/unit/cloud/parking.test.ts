/* oxlint-disable unicorn/no-thenable -- the name of an option: nobody awaits these */
import { describe, expect, test } from 'vitest'
import { headers as names } from '../../../src/contract/wire.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import { type Gate, openGate } from '../../../cloud/protection/gate.ts'
import type { Replayed, SentLetter, SettledEvent } from '../../../cloud/replays/replayed.ts'
import { posted } from '../../support/cloud/cloud-events.ts'
import { failure, gate, partitions } from '../../support/cloud/test-pipeline.ts'
import { ward } from '../../support/cloud/ward.ts'
import { settled } from '../../support/fakes/clock.ts'
import { unreachable } from '../../support/fakes/storage.ts'

function replayed() {
  const resolved: number[] = []
  const counted: SettledEvent[] = []
  const port: Replayed = {
    hold: (_, letters: readonly SentLetter[]) => Promise.resolve(letters),
    resolve: (letters) => Promise.resolve(void resolved.push(...letters)),
    count: (settled) => Promise.resolve(void counted.push(...settled)),
  }
  return { resolved, counted, setup: { pipeline: { replayedIn: () => port } } }
}

const defined = (options: object) => () =>
  defineConsumer({ group: 'g', types: ['#'], handle() {}, ...options })

describe('a device whose event fails', () => {
  test('is parked: what comes later of it waits, in order, and what comes of others does not (G6)', async () => {
    const { state, tried, post, start, clock, effects, storage, broker } = ward()
    let left = 2
    state.fails = (sequence) => sequence === 1 && left-- > 0
    const { pipeline } = start('a')
    const [first, second, healthy] = [post(), post(), post('healthy')]
    await settled()
    expect(effects()).toEqual([healthy])
    const third = post()
    await settled()
    expect(broker.depth).toBe(0)
    expect(pipeline.parked).toMatchObject({ retrying: 1, events: 3 })
    await clock.advance(60_000)
    expect(effects()).toEqual([healthy, first, second, third])
    expect(tried.slice(0, 3).map(({ attempt }) => attempt)).toEqual([1, 2, 3])
    expect(storage.dead()).toEqual([])
    await clock.advance(6_000)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
    const fourth = post()
    await settled()
    expect(effects().at(-1)).toBe(fourth)
  })

  test('has its first event among the dead letters when the ladder ends, with its story, and the rest goes on (G5, G6)', async () => {
    const { state, post, start, clock, effects, storage } = ward()
    state.fails = (sequence) => sequence === 1
    start('a')
    post()
    const second = post()
    await settled()
    await clock.advance(60_000)
    expect(effects()).toEqual([second])
    expect(storage.dead()).toMatchObject([
      {
        code: 'SENSOR_ODD',
        attempts: 3,
        device: 'sick',
        failures: [{ attempt: 1 }, { attempt: 2 }, { attempt: 3 }],
      },
    ])
  })

  test('loses neither event nor place when the database fails as its letter is written: letter and removal are one (G5, G6)', async () => {
    let letters = 0
    let failed = 0
    const { state, tried, post, start, clock, effects, storage } = ward(
      { retry: ['5s'] },
      {
        storage: {
          at(point) {
            if (point === 'letters') letters++
            if (point === 'commit' && letters > failed && failed < 3) {
              failed++
              throw unreachable()
            }
          },
        },
      },
    )
    state.fails = (sequence) => sequence === 1
    start('a')
    post()
    const second = post()
    await settled()
    await clock.advance(60_000)
    expect(failed).toBe(3)
    expect(storage.dead()).toHaveLength(1)
    expect(effects()).toEqual([second])
    // What meets an outage is tried again from its beginning: others need not wait for it.
    expect(tried.map(({ sequence }) => sequence)).toEqual([1, 1, 1, 1, 1, 2])
  })

  test('is held at the end of the ladder if its group says so, and goes on when somebody releases it (G6)', async () => {
    const { state, post, start, clock, effects, storage, parking } = ward({ then: 'hold' })
    const { pipeline } = start('a')
    const [first, second] = [post(), post()]
    await settled()
    await clock.advance(600_000)
    expect(effects()).toEqual([])
    expect(storage.dead()).toEqual([])
    expect(pipeline.parked).toMatchObject({ retrying: 0, held: 1, events: 2 })
    state.fails = () => false
    expect(await parking((port) => port.release('writer', { device: 'sick' }))).toMatchObject({ devices: 1 })
    await clock.advance(10_000)
    expect(effects()).toEqual([first, second])
  })

  test('whose first event an operator skips has that among the dead letters, as what it failed with, and the rest goes on (G5, G6)', async () => {
    const { state, post, start, clock, effects, storage, parking } = ward({ then: 'hold' })
    start('a')
    post()
    const second = post()
    await settled()
    await clock.advance(600_000)
    state.fails = () => false
    expect(await parking((port) => port.skip('writer', { device: 'sick' }, 'first'))).toMatchObject({
      devices: 1,
    })
    await clock.advance(10_000)
    expect(storage.dead()).toMatchObject([
      {
        code: 'SENSOR_ODD',
        message: 'the sensor is odd',
        device: 'sick',
        attempts: 3,
        failures: [{ attempt: 1 }, { attempt: 2 }, { attempt: 3 }],
        lastFailedAt: '2026-01-01T00:00:35.000Z',
      },
    ])
    expect(effects()).toEqual([second])
  })

  test('whose first event fails with the code of an outage is skipped like another (G5)', async () => {
    const { state, post, start, clock, effects, storage, parking } = ward({
      then: 'hold',
      retry: [],
      async handle({ sequence }, { tx }) {
        if (state.fails(sequence)) throw Object.assign(new Error('theirs'), { code: 'DATABASE_UNREACHABLE' })
        await tx.query('insert', [sequence])
      },
    })
    start('a')
    post()
    const second = post()
    await settled()
    state.fails = () => false
    await parking((port) => port.skip('writer', { device: 'sick' }, 'first'))
    await clock.advance(10_000)
    expect(storage.dead()).toMatchObject([{ code: 'DATABASE_UNREACHABLE', message: 'theirs', attempts: 1 }])
    expect(effects()).toEqual([second])
  })

  test('has all that waits among the dead letters when an operator skips all, in order, and nothing waits then (G5, G6)', async () => {
    const { post, start, clock, storage, parking } = ward({ then: 'hold', retry: [] })
    const { pipeline } = start('a')
    const posts = [post(), post(), post()]
    await settled()
    await parking((port) => port.skip('writer', {}, 'all'))
    await clock.advance(10_000)
    expect(storage.dead().map(({ sequence, code, attempts }) => [sequence, code, attempts])).toEqual(
      posts.map((sequence, index) => [sequence, index === 0 ? 'SENSOR_ODD' : 'SKIPPED', 1]),
    )
    expect(pipeline.parked).toMatchObject({ retrying: 0, held: 0, events: 0 })
  })

  test('has the effect of what waits once, however long ago the inbox forgot it (G4)', async () => {
    const { state, next, broker, start, clock, effects, storage, parking } = ward({ then: 'hold', retry: [] })
    start('a')
    const [before, failing] = [next(), next()]
    state.fails = (sequence) => sequence === failing.event.sequence
    for (const event of [before, failing, before]) broker.post(posted(event, partitions))
    await settled()
    storage.committed.inbox.clear()
    state.fails = () => false
    await parking((port) => port.release('writer', {}))
    await clock.advance(10_000)
    expect(effects()).toEqual([before.event.sequence, failing.event.sequence])
  })

  test('whose letter is there already is done with when it is delivered again (G4, G6)', async () => {
    const { state, next, post, broker, start, effects, storage } = ward({ retry: [] })
    const first = next()
    start('a')
    state.fails = (sequence) => sequence === 1
    broker.post(posted(first, partitions))
    await settled()
    expect(storage.dead()).toHaveLength(1)
    const second = post()
    await settled()
    state.fails = () => false
    // As if its acknowledgement had been lost.
    broker.post({ ...posted(first, partitions), redelivered: true })
    await settled()
    expect(effects()).toEqual([second])
    expect(storage.dead()).toHaveLength(1)
  })

  test('that was parked has its effect when it is replayed (G4, G5)', async () => {
    const { resolved, setup } = replayed()
    const { state, next, broker, start, clock, effects, storage } = ward({ retry: ['5s'] }, setup)
    start('a')
    const event = next()
    broker.post(posted(event, partitions))
    await settled()
    await clock.advance(20_000)
    expect(storage.dead()).toHaveLength(1)
    state.fails = () => false
    broker.post({
      ...posted(event, partitions),
      exchange: '',
      headers: { [names.letter]: 7, [names.replay]: 3 },
    })
    await settled()
    expect(effects()).toEqual([event.event.sequence])
    expect(resolved).toEqual([7])
  })

  test('has its effect once when its letter is replayed beside another copy of it, in one transaction (G4, G5)', async () => {
    const { resolved, setup } = replayed()
    const { state, next, broker, start, effects, storage } = ward({ retry: [] }, setup)
    const event = next()
    const { pipeline, deliveries } = start('a')
    broker.post(posted(event, partitions))
    await settled()
    expect(storage.dead()).toHaveLength(1)
    deliveries.stop()
    await deliveries.close()
    await pipeline.close()
    state.fails = () => false
    broker.post({ ...posted(event, partitions), redelivered: true })
    broker.post({
      ...posted(event, partitions),
      exchange: '',
      headers: { [names.letter]: 7, [names.replay]: 3 },
    })
    start('b')
    await settled()
    expect(effects()).toEqual([event.event.sequence])
    expect(resolved).toEqual([7])
    expect(broker.depth).toBe(0)
  })

  test('whose letter is there waits for its replay, also as a second copy that its gateway has sent (G4, G6)', async () => {
    const { state, next, post, broker, start, effects, storage } = ward({ retry: [] })
    const first = next()
    start('a')
    state.fails = (sequence) => sequence === 1
    broker.post(posted(first, partitions))
    await settled()
    const second = post()
    await settled()
    state.fails = () => false
    broker.post(posted(first, partitions))
    await settled()
    expect(effects()).toEqual([second])
    expect(storage.dead()).toHaveLength(1)
  })

  test('neither holds up nor waits for what a replay sends out of history: that goes to a rung when it fails, and is counted (G4, G6)', async () => {
    const { counted, setup } = replayed()
    const { state, next, post, broker, start, clock, effects, tried } = ward({ retry: ['5s', '1h'] }, setup)
    const { pipeline } = start('a')
    post()
    await settled()
    state.fails = (sequence) => sequence === 1 || tried.filter((one) => one.sequence === sequence).length < 2
    const event = next()
    const sentOut = { [names.replay]: 4, [names.generation]: 'fix' }
    broker.post({ ...posted(event, partitions), exchange: '', headers: sentOut })
    await settled()
    expect(pipeline.parked).toMatchObject({ retrying: 1, events: 1 })
    expect([effects(), counted]).toEqual([[], []])
    await clock.advance(8_000)
    expect(effects()).toEqual([event.event.sequence])
    expect(counted).toMatchObject([{ replay: 4, outcome: 'resolved' }])
    expect(pipeline.parked).toMatchObject({ retrying: 1, events: 1 })
  })

  test('that somebody else has in hand is left alone until that claim is over (G6)', async () => {
    const { post, start, clock, tried, parking } = ward()
    start('a')
    post()
    await settled()
    await clock.advance(4_900)
    await parking((port) => port.release('writer', { device: 'sick' }))
    expect(await parking((port) => port.claim('writer', 'dead-runner', 30_000, 'all'))).toMatchObject({
      device: 'sick',
    })
    await clock.advance(29_000)
    expect(tried).toHaveLength(1)
    await clock.advance(3_000)
    expect(tried).toHaveLength(2)
  })

  test('is not tried while its group is paused, and is as soon as it goes on', async () => {
    const door = { closed: false }
    const paused: Gate = {
      ...openGate,
      get closed() {
        return door.closed
      },
    }
    const { state, post, start, clock, effects } = ward({}, { pipeline: { gate: paused } })
    start('a')
    const first = post()
    await settled()
    door.closed = true
    state.fails = () => false
    await clock.advance(60_000)
    expect(effects()).toEqual([])
    door.closed = false
    await clock.advance(3_000)
    expect(effects()).toEqual([first])
  })

  test('has what waited for longer than the group wants it shed, but not what has failed itself', async () => {
    const outcomes: string[] = []
    const { state, next, broker, start, clock, effects } = ward(
      { freshness: '10s' },
      {
        pipeline: {
          observer: {
            settled: (_, outcome) => void outcomes.push(outcome),
            transaction() {},
            applied() {},
            failed() {},
            held() {},
            replayed() {},
          },
        },
      },
    )
    let left = 2
    state.fails = (sequence) => sequence === 1 && left-- > 0
    start('a')
    const [first, second] = [next(), next()]
    for (const event of [first, second]) broker.post(posted(event, partitions))
    await settled()
    await clock.advance(60_000)
    expect(effects()).toEqual([1])
    expect(outcomes).toEqual(['parked', 'parked', 'parked', 'processed', 'shed'])
  })

  test('takes no place of a handler that its group has not', async () => {
    let running = 0
    let most = 0
    const open = gate()
    const { post, start, clock, broker } = ward({
      concurrency: 1,
      async handle({ partitionkey }, { attempt }) {
        most = Math.max(most, ++running)
        if (attempt > 1) await open.promise
        running--
        if (partitionkey === 'sick' && attempt === 1) throw failure(true)
      },
    })
    start('a')
    post()
    await settled()
    await clock.advance(8_000)
    expect(running).toBe(1)
    post('healthy')
    await settled()
    expect(broker.depth).toBe(1)
    open.release()
    await settled()
    expect(broker.depth).toBe(0)
    expect(most).toBe(1)
  })
})

describe('the replay of a dead letter', () => {
  const replay = { exchange: '', headers: { [names.letter]: 7, [names.replay]: 3 } }

  test('that fails is a letter again at once, and holds up nothing of its device (G5, G7)', async () => {
    const { setup } = replayed()
    const { state, next, post, broker, start, effects, storage } = ward({}, setup)
    state.fails = (sequence) => sequence === 1
    const { pipeline } = start('a')
    broker.post({ ...posted(next(), partitions), ...replay })
    const second = post()
    await settled()
    expect(effects()).toEqual([second])
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
    expect(broker.retries).toEqual([])
    expect(storage.dead()).toMatchObject([{ sent: { letter: 7, replay: 3 } }])
  })

  test('to a device that is parked does not wait, and resolves its letter with its effect (G4)', async () => {
    const { resolved, setup } = replayed()
    const { state, next, post, broker, start, clock, effects } = ward({}, setup)
    const letter = next()
    const { pipeline } = start('a')
    const second = post()
    await settled()
    state.fails = () => false
    broker.post({ ...posted(letter, partitions), ...replay })
    await settled()
    expect(effects()).toEqual([letter.event.sequence])
    expect(resolved).toEqual([7])
    expect(pipeline.parked).toMatchObject({ retrying: 1, events: 1 })
    await clock.advance(10_000)
    expect(effects()).toEqual([letter.event.sequence, second])
  })
})

describe('what a group says of failures', () => {
  test.each<[object, RegExp]>([
    [{ onFailure: 'wait' }, /onFailure must be park or overtake/],
    [{ then: 'stop' }, /then must be skip or hold/],
    [{ final: 'SITE_UNKNOWN' }, /final must be a list of codes/],
    [{ ordered: false, onFailure: 'park' }, /onFailure: park is for ordered groups/],
    [{ ordered: false, then: 'hold' }, /then is for groups whose devices are parked/],
    [{ onFailure: 'overtake', then: 'hold' }, /then is for groups whose devices are parked/],
  ])('%j is refused', (options, message) => {
    expect(defined(options)).toThrow(message)
  })

  test('an ordered group parks, one without order does not, and hopeless codes are dead letters at once', () => {
    const defaults = { ladderMs: [], timeoutMs: 1 }
    expect(configured(defined({})(), defaults).parks).toBe(true)
    expect(configured(defined({})(), { ...defaults, parks: false }).parks).toBe(false)
    expect(configured(defined({ then: 'hold' })(), { ...defaults, parks: false }).parks).toBe(true)
    const ladders = { ladderMs: [5], parkedLadderMs: [1], timeoutMs: 1 }
    expect(configured(defined({})(), ladders).ladderMs).toEqual([1])
    expect(configured(defined({ retry: ['7s'] })(), ladders).ladderMs).toEqual([7_000])
    expect(configured(defined({ onFailure: 'overtake' })(), ladders).ladderMs).toEqual([5])
    expect(defined({ ordered: false })().parks).toBe(false)
    expect([...defined({ final: ['A', 'B'] })().final]).toEqual(['A', 'B'])
  })
})
