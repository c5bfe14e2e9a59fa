import { expect, test, vi } from 'vitest'
import { createPipeline, type Pipeline } from '../../../cloud/pipeline/pipeline.ts'
import { Unavailable } from '../../../cloud/pipeline/consumer.ts'
import { noObserver, type Outcome } from '../../../cloud/pipeline/observer.ts'
import { createBreakers } from '../../../cloud/protection/breakers.ts'
import { Guard } from '../../../cloud/protection/guard.ts'
import { startWatching } from '../../../cloud/protection/watch.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { failure, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'
import { fakeGroupStates } from '../../support/fakes/group-states.ts'

const everyMs = 5_000
const never = new AbortController().signal

/** A group with a guard over it. */
async function guarded(more: Parameters<typeof writing>[0], ratePerSecond?: number) {
  const outcomes: Outcome[] = []
  const observer = { ...noObserver, settled: (_: string, outcome: Outcome) => void outcomes.push(outcome) }
  const { clock, broker, storage, options } = setUp(writing(more), { pipeline: { observer } })
  const states = fakeGroupStates(clock)
  const guard = new Guard({
    group: 'writer',
    instance: 'a',
    states,
    killSwitch: { after: 20, share: 0.5, windowMs: 60_000, pauseMs: 30_000 },
    ratePerSecond,
    membersNow: () => 1,
    clock,
    log: silentLog,
  })
  startWatching({ states, guards: [{ guard }], everyMs, clock, log: silentLog })
  const pipeline: Pipeline = createPipeline({ ...options('a'), gate: guard.gate })
  const deliveries = broker.connect()
  deliveries.start((delivery) => pipeline.take(delivery))
  guard.over(deliveries)
  await settled()
  const ledger = new Ledger()
  const post = (
    devices: number,
    events: number,
    recordedtime = new Date(clock.now()).toISOString(),
  ): void => {
    for (let index = 0; index < events; index++)
      broker.post(posted(ledger.next(`device-${index % devices}`, { recordedtime }), partitions))
  }
  return { clock, broker, storage, states, guard, outcomes, pipeline, post }
}

test('what fails in a group that trips is held, and not dead: all comes through when the handler works again (G5)', async () => {
  let broken = true
  const { clock, broker, storage, guard, post } = await guarded({
    retry: [],
    async handle(event, { tx }) {
      if (broken) throw new Error('the CRM says 500')
      await tx.query('insert', [event.id])
    },
  })
  post(20, 400)
  await settled()
  await clock.advance(everyMs)
  expect(guard.state).toMatchObject({ state: 'tripped' })
  const deadBefore = storage.dead().length
  // Until the switch had seen enough; a letter that was being written just then is there, and its event in the queue as well.
  expect(deadBefore).toBeLessThanOrEqual(25)
  expect(broker.depth + deadBefore).toBeGreaterThanOrEqual(400)
  await clock.advance(20_000)
  expect(storage.dead()).toHaveLength(deadBefore)
  broken = false
  await clock.advance(60_000)
  expect(guard.state).toBeUndefined()
  expect(broker.depth).toBe(0)
  const done = storage.effects().map(({ params }) => params[0])
  expect(new Set(done).size).toBe(done.length)
  expect(new Set([...done, ...storage.dead().map(({ id }) => id)]).size).toBe(400)
})

test('what events themselves are at fault for trips no group: neither a schema nor an error that says so', async () => {
  const { clock, storage, guard, post } = await guarded({
    handle() {
      throw failure(false)
    },
  })
  post(20, 400)
  await clock.advance(everyMs)
  expect(guard.state).toBeUndefined()
  expect(storage.dead()).toHaveLength(400)
})

test('a group that is paused gives its deliveries back and handles none, and goes on where it was (G6)', async () => {
  const seen: number[] = []
  const { clock, broker, states, pipeline, post } = await guarded({
    handle({ sequence }) {
      seen.push(sequence)
    },
  })
  await states.pause({ group: 'writer', actor: 'ada', reason: 'CRM is moved' })
  await clock.advance(everyMs)
  post(1, 50)
  await clock.advance(60_000)
  expect(seen).toEqual([])
  expect([broker.depth, pipeline.inFlight]).toEqual([50, 0])
  await states.resume('writer')
  await clock.advance(everyMs)
  expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => index + 1))
})

test('so many a second and no more begin, and none is lost by waiting', async () => {
  const { clock, storage, broker, post } = await guarded({}, 10)
  post(5, 100)
  await settled()
  expect(storage.effects()).toHaveLength(10)
  await clock.advance(3_000)
  expect(storage.effects().length).toBeGreaterThanOrEqual(39)
  expect(storage.effects().length).toBeLessThanOrEqual(40)
  await clock.advance(7_000)
  expect(storage.effects()).toHaveLength(100)
  expect(broker.depth).toBe(0)
})

test('an event that is too old for its group is shed and counted, and neither failed nor handled', async () => {
  const { clock, storage, outcomes, post } = await guarded({ freshness: '10m' })
  post(1, 3, new Date(clock.now() - 601_000).toISOString())
  post(1, 2)
  // Of a gateway without a clock nobody knows how old it is.
  post(1, 1, '1970-01-01T00:01:00.000Z')
  await settled()
  expect(outcomes.toSorted()).toEqual(['processed', 'processed', 'processed', 'shed', 'shed', 'shed'])
  expect(storage.effects()).toHaveLength(3)
  expect(storage.dead()).toEqual([])
})

test('what waited on a rung was fresh when it came, and is handled', async () => {
  const { clock, storage, outcomes, post } = await guarded({
    freshness: '10s',
    retry: ['1m'],
    async handle(event, { tx, attempt }) {
      if (attempt === 1) throw new Error('not yet')
      await tx.query('insert', [event.id])
    },
  })
  post(1, 1)
  await settled()
  await clock.advance(61_000)
  expect(outcomes).toEqual(['retried', 'processed'])
  expect(storage.effects()).toHaveLength(1)
})

test.each([
  ['the class', (): Error => new Unavailable('the CRM is down')],
  ['its shape', (): Error => Object.assign(new Error('the CRM is down'), { unavailable: true })],
])(
  'a handler that says by %s that what it needs is not there waits, and burns no attempt (G5)',
  async (_, unavailable) => {
    let down = true
    const { clock, storage, pipeline, outcomes, post } = await guarded({
      retry: [],
      async handle(event, { tx }) {
        if (down) throw unavailable()
        await tx.query('insert', [event.id])
      },
    })
    post(30, 60)
    await clock.advance(600_000)
    expect(pipeline.heldBy).toMatchObject({
      code: 'CONSUMER_UNAVAILABLE',
      message: expect.stringContaining('the CRM is down'),
    })
    expect(outcomes).toEqual([])
    down = false
    await clock.advance(10_000)
    expect(storage.effects()).toHaveLength(60)
    expect(storage.dead()).toEqual([])
  },
)

test('as many handlers run at once as the group asks for', async () => {
  let [running, most] = [0, 0]
  const { clock, post } = await guarded({
    concurrency: 1,
    async handle() {
      most = Math.max(most, ++running)
      await clock.sleep(10)
      running--
    },
  })
  post(20, 40)
  await clock.advance(10_000)
  expect(most).toBe(1)
})

test('a breaker leaves what fails alone, says so without calling it, and tries it again after a while', async () => {
  vi.useFakeTimers()
  try {
    const breaker = createBreakers()(never)('crm')
    let [calls, down] = [0, true]
    const call = (): Promise<string> =>
      breaker.execute(async () => {
        calls++
        if (down) throw new Error('HTTP 500')
        return 'ok'
      })
    for (let attempt = 0; attempt < 100; attempt++) {
      await call().catch(() => {})
      vi.advanceTimersByTime(100)
    }
    const before = calls
    expect(before).toBeLessThan(100)
    await expect(call()).rejects.toMatchObject({
      name: 'Unavailable',
      unavailable: true,
      message: expect.stringContaining('crm'),
    })
    expect(calls).toBe(before)
    down = false
    vi.advanceTimersByTime(10_001)
    expect(await call()).toBe('ok')
  } finally {
    vi.useRealTimers()
  }
})

test('a call that tries whether a breaker may close harms no other while it hangs, and ends with its handler', async () => {
  vi.useFakeTimers()
  try {
    const breakers = createBreakers()
    const handler = new AbortController()
    for (let attempt = 0; attempt < 100; attempt++) {
      await breakers(never)('crm')
        .execute(() => {
          throw new Error('HTTP 500')
        })
        .catch(() => {})
      vi.advanceTimersByTime(100)
    }
    vi.advanceTimersByTime(10_001)
    const hanging = breakers(handler.signal)('crm').execute(() => new Promise<void>(() => {}))
    await expect(breakers(never)('crm').execute(() => 'ok')).rejects.toMatchObject({ unavailable: true })
    handler.abort(new Error('its time is over'))
    await expect(hanging).rejects.toThrow('its time is over')
    vi.advanceTimersByTime(10_001)
    expect(await breakers(never)('crm').execute(() => 'ok')).toBe('ok')
  } finally {
    vi.useRealTimers()
  }
})

test('breakers are few: who names them after devices is told (G7)', () => {
  const breakers = createBreakers()(never)
  for (let index = 0; index < 100; index++) breakers(`device-${index}`)
  expect(breakers('device-1')).toBeDefined()
  expect(() => breakers('one-more')).toThrow('more than 100 breakers')
})
