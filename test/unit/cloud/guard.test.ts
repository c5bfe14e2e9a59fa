import { expect, test } from 'vitest'
import { Guard } from '../../../cloud/protection/guard.ts'
import { startWatching } from '../../../cloud/protection/watch.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { fakeGroupStates } from '../../support/fakes/group-states.ts'

const everyMs = 5_000
const never = new AbortController().signal

/** Two instances of one group, and what all of them know. */
async function setUp({ ratePerSecond }: { ratePerSecond?: number } = {}) {
  const clock = new FakeClock()
  const states = fakeGroupStates(clock)
  const start = (instance: string) => {
    const guard = new Guard({
      group: 'alerts',
      instance,
      states,
      killSwitch: { after: 100, share: 0.5, windowMs: 60_000, pauseMs: 30_000 },
      ratePerSecond,
      membersNow: () => 2,
      clock,
      log: silentLog,
    })
    const queues = {
      paused: false,
      pause: () => void (queues.paused = true),
      resume: () => void (queues.paused = false),
    }
    guard.over(queues)
    const watching = startWatching({
      states,
      guards: [{ guard }],
      everyMs,
      clock,
      log: silentLog,
    })
    return { guard, queues, watching }
  }
  const instances = { a: start('a'), b: start('b') }
  await settled()
  return { clock, states, ...instances }
}

type Instance = Awaited<ReturnType<typeof setUp>>['a']

/** How many of so many may begin now. */
async function entering({ guard }: Instance, wanted: number): Promise<number | 'waits'> {
  const entered = guard.gate.enter(wanted, never)
  let count: number | 'waits' = 'waits'
  void entered.then((allowed) => (count = allowed))
  await settled()
  return count
}

function failAll({ guard }: Instance): void {
  for (let event = 0; event < 100; event++) guard.gate.tried(`device-${event % 10}`, true)
}

/** What is let in is tried, with this end. */
async function tryAll(instance: Instance, failed: boolean): Promise<number> {
  const count = await entering(instance, 1_000)
  if (count === 'waits') return 0
  for (let event = 0; event < count; event++) instance.guard.gate.tried(`device-${event}`, failed)
  instance.guard.gate.leave(count, count)
  await settled()
  return count
}

test('what a person pauses stops in every instance, and goes on when it is resumed', async () => {
  const { clock, states, a, b } = await setUp()
  expect(await entering(a, 10)).toBe(10)
  await states.pause({ group: 'alerts', actor: 'ada', reason: 'CRM is down' })
  await clock.advance(everyMs)
  for (const instance of [a, b]) {
    expect(instance.queues.paused).toBe(true)
    expect(instance.guard.state).toMatchObject({ state: 'paused', actor: 'ada', reason: 'CRM is down' })
    expect(await entering(instance, 10)).toBe('waits')
  }
  await states.resume('alerts')
  await clock.advance(everyMs)
  expect([a.queues.paused, b.queues.paused]).toEqual([false, false])
  expect(await entering(a, 10)).toBe(10)
})

test('a pause with an end is over by itself', async () => {
  const { clock, states, a } = await setUp()
  await states.pause({ group: 'alerts', actor: 'ada', reason: 'lunch', forMs: 60_000 })
  await clock.advance(everyMs)
  expect(a.queues.paused).toBe(true)
  await clock.advance(60_000)
  expect(a.queues.paused).toBe(false)
})

test('who waits at a closed gate is let in as soon as it is open, and let go when the pipeline stops', async () => {
  const { clock, states, a } = await setUp()
  await states.pause({ group: 'alerts', actor: 'ada', reason: 'r' })
  await clock.advance(everyMs)
  const stopping = new AbortController()
  const one = a.guard.gate.enter(3, never)
  const other = a.guard.gate.enter(3, stopping.signal)
  stopping.abort()
  expect(await other).toBe(0)
  await states.resume('alerts')
  await clock.advance(everyMs)
  expect(await one).toBe(3)
})

test('a group that fails for most devices stops in every instance, at once where it was noticed', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  expect(a.queues.paused).toBe(true)
  expect(await entering(a, 1)).toBe('waits')
  await clock.advance(everyMs)
  expect(b.queues.paused).toBe(true)
  expect(b.guard.state).toMatchObject({ state: 'tripped', reason: '10 of 10 devices fail, of 100 events' })
})

test('one instance tries a few, then more, and all go on when those come through', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  await clock.advance(30_000 + everyMs)
  const trial = [a, b].filter(({ queues }) => !queues.paused)
  expect(trial).toHaveLength(1)
  const [trying] = trial as [Instance]
  expect(await tryAll(trying, false)).toBe(3)
  expect(await tryAll(trying, false)).toBe(10)
  expect(await tryAll(trying, false)).toBe(100)
  await clock.advance(everyMs)
  expect([a.queues.paused, b.queues.paused]).toEqual([false, false])
  expect(a.guard.state).toBeUndefined()
})

test('a trial that fails makes the wait twice as long, up to a quarter of an hour', async () => {
  const { clock, states, a, b } = await setUp()
  failAll(a)
  const waits: number[] = []
  let sinceMs = clock.now()
  await clock.advance(everyMs)
  for (let trial = 0; trial < 7; trial++) {
    while (a.queues.paused && b.queues.paused) await clock.advance(1_000)
    waits.push(Math.round((clock.now() - sinceMs) / 1_000))
    await tryAll(a.queues.paused ? b : a, true)
    sinceMs = clock.now()
    expect([a.queues.paused, b.queues.paused]).toEqual([true, true])
  }
  const { states: known } = await states.read()
  expect(known[0]).toMatchObject({ state: 'tripped', trips: 8 })
  waits.forEach((seconds, index) => {
    const expected = Math.min(900, 30 * 2 ** index)
    expect(seconds).toBeGreaterThanOrEqual(expected)
    expect(seconds).toBeLessThanOrEqual(expected + 2 * (everyMs / 1_000))
  })
})

test('one sick device among those that are tried ends no trial', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  await clock.advance(30_000 + everyMs)
  const trying = a.queues.paused ? b : a
  expect(await entering(trying, 3)).toBe(3)
  trying.guard.gate.tried('sick', true)
  trying.guard.gate.tried('well-1', false)
  trying.guard.gate.tried('well-2', false)
  trying.guard.gate.leave(3, 3)
  expect(await entering(trying, 50)).toBe(10)
})

test('what was let in for a trial and not tried makes room for others', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  await clock.advance(30_000 + everyMs)
  const trying = a.queues.paused ? b : a
  expect(await entering(trying, 10)).toBe(3)
  const waiting = trying.guard.gate.enter(10, never)
  expect(await entering(trying, 10)).toBe('waits')
  trying.guard.gate.leave(3, 0)
  expect(await waiting).toBe(3)
})

test('an instance that dies amid a trial is followed by another', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  await clock.advance(30_000 + everyMs)
  const [dying, other] = a.queues.paused ? [b, a] : [a, b]
  await dying.watching.close()
  await clock.advance(60_000 + 2 * everyMs)
  expect(other.queues.paused).toBe(false)
  expect(await entering(other, 10)).toBe(3)
})

test('a person who resumes it ends the wait of one that tripped', async () => {
  const { clock, states, a, b } = await setUp()
  failAll(a)
  await clock.advance(everyMs)
  await states.resume('alerts')
  await clock.advance(everyMs)
  expect([a.queues.paused, b.queues.paused]).toEqual([false, false])
  expect(await entering(a, 500)).toBe(500)
})

test('what cannot be read stays as it is: a database that is away neither pauses nor resumes', async () => {
  const { clock, states, a, b } = await setUp()
  await states.pause({ group: 'alerts', actor: 'ada', reason: 'r' })
  await clock.advance(everyMs)
  states.down = true
  await clock.advance(10 * everyMs)
  expect([a.queues.paused, b.queues.paused]).toEqual([true, true])
  states.down = false
  await states.resume('alerts')
  await clock.advance(everyMs)
  expect([a.queues.paused, b.queues.paused]).toEqual([false, false])
})

test('a rate is shared by the instances that are there', async () => {
  const { clock, a } = await setUp({ ratePerSecond: 20 })
  expect(await entering(a, 100)).toBe(10)
  const waiting = a.guard.gate.enter(100, never)
  await clock.advance(99)
  let count = 0
  void waiting.then((allowed) => (count = allowed))
  await settled()
  expect(count).toBe(0)
  await clock.advance(2)
  expect(count).toBe(1)
})

test('what was read before its own word came to the database does not open it again', async () => {
  const { clock, states, a } = await setUp()
  const releases: (() => void)[] = []
  const read = states.read.bind(states)
  states.read = async () => {
    const known = await read()
    await new Promise<void>((resolve) => void releases.push(resolve))
    return known
  }
  await clock.advance(everyMs)
  failAll(a)
  await settled()
  releases.forEach((release) => release())
  await settled()
  expect(a.queues.paused).toBe(true)
})

test('an instance that gets nothing to try makes way for another, and a single one tries again', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  await clock.advance(30_000 + everyMs)
  const [first, second] = a.queues.paused ? [b, a] : [a, b]
  await clock.advance(60_000 + 2 * everyMs)
  expect([first.queues.paused, second.queues.paused]).toEqual([true, false])
  await second.watching.close()
  await clock.advance(60_000 + 2 * everyMs)
  expect(first.queues.paused).toBe(false)
  await clock.advance(60_000 + everyMs)
  expect(first.queues.paused).toBe(true)
  await clock.advance(20_000 + everyMs)
  expect(first.queues.paused).toBe(false)
  expect(await tryAll(first, false)).toBe(3)
})

test('a backlog of one sick device ends no trial, and a second device that fails does', async () => {
  const { clock, a, b } = await setUp()
  failAll(a)
  await clock.advance(30_000 + everyMs)
  const trying = a.queues.paused ? b : a
  const trySick = async (places: number): Promise<void> => {
    expect(await entering(trying, places)).toBe(places)
    for (let event = 0; event < places; event++) trying.guard.gate.tried('sick', true)
    trying.guard.gate.leave(places, places)
  }
  await trySick(3)
  await trySick(10)
  await trySick(99)
  expect(await entering(trying, 1)).toBe(1)
  trying.guard.gate.tried('sick-too', true)
  expect(trying.queues.paused).toBe(true)
})

test('every instance begins to count anew when the group works again', async () => {
  const { clock, states, a, b } = await setUp()
  failAll(a)
  for (let event = 0; event < 99; event++) b.guard.gate.tried(`device-${event % 10}`, true)
  await clock.advance(everyMs)
  await states.resume('alerts')
  await clock.advance(everyMs)
  b.guard.gate.tried('device-1', true)
  expect([a.queues.paused, b.queues.paused]).toEqual([false, false])
})

test('what was let in by the rate and was not tried costs nothing', async () => {
  const { a } = await setUp({ ratePerSecond: 20 })
  expect(await entering(a, 100)).toBe(10)
  a.guard.gate.leave(10, 4)
  expect(a.guard.gate.paces).toBe(false)
  expect(await entering(a, 100)).toBe(6)
  expect(await entering(a, 1)).toBe('waits')
  expect(a.guard.gate.paces).toBe(true)
})

test('what waits behind devices that failed says nothing in a trial', async () => {
  const { clock, a } = await setUp()
  failAll(a)
  expect(a.guard.gate.closed).toBe(true)
  await clock.advance(40_000)
  for (let event = 0; event < 1_000; event++) a.guard.gate.waited(`device-${event % 10}`)
  expect(await tryAll(a, false)).toBe(3)
  expect(await tryAll(a, false)).toBe(10)
})
