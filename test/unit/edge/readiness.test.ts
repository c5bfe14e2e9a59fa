import { expect, test } from 'vitest'
import type { OutboxStats } from '../../../edge/outbox/outbox.ts'
import { createReadiness, type Readiness } from '../../../edge/ops/readiness.ts'
import { createThrottle } from '../../../src/throttle.ts'
import { createUplinkState, type UplinkFollower } from '../../../edge/ops/uplink-state.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

interface Watched {
  clock: FakeClock
  uplink: UplinkFollower
  session: (up: boolean) => void
  readiness: Readiness
  stats: Pick<OutboxStats, 'depth' | 'waiting' | 'stuckMs' | 'refusing' | 'pausing'>
}

function watched(offlineMaxMs?: number): Watched {
  const clock = new FakeClock()
  const uplink = createUplinkState(clock)
  const stats: Watched['stats'] = {
    depth: { high: 0, normal: 0 },
    waiting: 0,
    stuckMs: 0,
    refusing: undefined,
    pausing: false,
  }
  const readiness = createReadiness({
    stats: () => stats as unknown as OutboxStats,
    uplink,
    stallAfterMs: 60_000,
    reconnectMsMax: 30_000,
    offlineMaxMs,
    clock,
  })
  readiness.listening([8883])
  const session = (up: boolean): void => {
    uplink.changed(up)
    readiness.uplinkChanged(up)
  }
  return { clock, uplink, session, readiness, stats }
}

const faults = (readiness: Readiness): string[] =>
  Object.entries(readiness.checks()).flatMap(([name, { ok }]) => (ok ? [] : [name]))

test('an edge that does not listen yet is not ready', () => {
  const clock = new FakeClock()
  const readiness = createReadiness({
    stats: () => ({ depth: { high: 0, normal: 0 }, waiting: 0, stuckMs: 0 }) as unknown as OutboxStats,
    uplink: createUplinkState(clock),
    stallAfterMs: 1000,
    reconnectMsMax: 1000,
    offlineMaxMs: undefined,
    clock,
  })
  expect(faults(readiness)).toEqual(['mqtt'])
})

test('being offline with events to send is no fault, unless a bound says so', async () => {
  const patient = watched()
  patient.stats.depth.normal = 5
  await patient.clock.advance(86_400_000)
  expect(faults(patient.readiness)).toEqual([])
  const bounded = watched(3_600_000)
  await bounded.clock.advance(3_599_000)
  expect(faults(bounded.readiness)).toEqual([])
  await bounded.clock.advance(1000)
  expect(faults(bounded.readiness)).toEqual(['uplink'])
})

test('connected, with work, and nothing proven for too long is a fault, until something moves', async () => {
  const { clock, session, readiness, stats } = watched()
  session(true)
  stats.depth.normal = 5
  await clock.advance(59_000)
  expect(faults(readiness)).toEqual([])
  await clock.advance(1000)
  expect(faults(readiness)).toEqual(['uplink'])
  readiness.proved()
  expect(faults(readiness)).toEqual([])
})

test('an uplink that comes and goes and proves nothing is a fault, whether it is up just now or not', async () => {
  const { clock, session, readiness, stats } = watched()
  stats.depth.normal = 5
  for (let round = 0; round < 3; round++) {
    expect(faults(readiness)).toEqual([])
    session(true)
    await clock.advance(10_000)
    session(false)
    await clock.advance(15_000)
  }
  expect(faults(readiness)).toEqual(['uplink'])
  session(true)
  expect(faults(readiness)).toEqual(['uplink'])
  readiness.proved()
  expect(faults(readiness)).toEqual([])
})

test('an uplink that goes down for days is no fault, whatever its last session did', async () => {
  const fruitful = watched()
  fruitful.session(true)
  fruitful.stats.depth.normal = 5
  await fruitful.clock.advance(50_000)
  fruitful.readiness.proved()
  fruitful.session(false)
  const fruitless = watched()
  fruitless.stats.depth.normal = 5
  fruitless.session(true)
  await fruitless.clock.advance(5000)
  fruitless.session(false)
  for (const { clock, readiness, session } of [fruitful, fruitless]) {
    for (let hour = 0; hour < 72 * 3600; hour += 600) {
      expect(faults(readiness)).toEqual([])
      await clock.advance(600_000)
    }
    session(true)
    await clock.advance(59_000)
    expect(faults(readiness)).toEqual([])
  }
})

test('a flapping uplink that is down for good at last is no fault any more', async () => {
  const { clock, session, readiness, stats } = watched()
  stats.depth.normal = 5
  session(true)
  await clock.advance(60_000)
  session(false)
  await clock.advance(89_000)
  expect(faults(readiness)).toEqual(['uplink'])
  await clock.advance(1000)
  expect(faults(readiness)).toEqual([])
})

test('a quiet hour is no stall when work comes after it', async () => {
  const { clock, session, readiness, stats } = watched()
  session(true)
  const watching = readiness.watch()
  await clock.advance(3_600_000)
  stats.depth.normal = 1
  stats.waiting = 1
  stats.stuckMs = 1
  expect(faults(readiness)).toEqual([])
  watching.stop()
})

test('publishes that wait while nothing is accepted are a fault of the outbox', async () => {
  const { clock, readiness, stats } = watched()
  stats.waiting = 3
  await clock.advance(60_000)
  stats.stuckMs = 60_000
  expect(faults(readiness)).toEqual(['outbox'])
  readiness.accepted()
  expect(faults(readiness)).toEqual([])
})

test('a device that waits because it has filled its own share is no fault of the outbox', async () => {
  const { clock, readiness, stats } = watched()
  stats.waiting = 1
  stats.refusing = 'device-share'
  await clock.advance(3_600_000)
  stats.stuckMs = 3_600_000
  expect(faults(readiness)).toEqual([])
  stats.refusing = 'events'
  expect(faults(readiness)).toEqual(['outbox'])
})

test('a backlog that keeps its pace is no stall of the uplink', async () => {
  const { clock, session, readiness, stats } = watched()
  session(true)
  stats.depth.normal = 5
  stats.pausing = true
  const watching = readiness.watch()
  await clock.advance(120_000)
  expect(faults(readiness)).toEqual([])
  stats.pausing = false
  await clock.advance(61_000)
  expect(faults(readiness)).toEqual(['uplink'])
  watching.stop()
})

test('the time away between two sessions is no stall when the first had nothing to send', async () => {
  const { clock, session, readiness, stats } = watched()
  session(true)
  await clock.advance(60_000)
  expect(faults(readiness)).toEqual([])
  session(false)
  await clock.advance(80_000)
  stats.depth.normal = 3
  session(true)
  await clock.advance(1000)
  expect(faults(readiness)).toEqual([])
})

test('the uplink knows how long it has been away', async () => {
  const { clock, uplink } = watched()
  await clock.advance(5000)
  expect(uplink.offlineMs()).toBe(5000)
  uplink.changed(true)
  expect(uplink.offlineMs()).toBe(0)
})

test('the time to drain counts what comes in, is there from the start, and is unknown once the uplink is lost', async () => {
  const { clock, uplink } = watched()
  uplink.admitted(50_000)
  expect([uplink.drainMs(0), uplink.drainMs(50_000)]).toEqual([0, undefined])
  uplink.changed(true)
  expect(uplink.drainMs(50_000)).toBeUndefined()
  const drainS: (number | undefined)[] = []
  for (const [seconds, coming] of [
    [3, 150],
    [300, 150],
    [300, 250],
    [300, 0],
  ] as const) {
    for (let second = 0; second < seconds; second += 1) {
      await clock.advance(1000)
      uplink.forwarded(200)
      uplink.admitted(coming)
    }
    const drainMs = uplink.drainMs(50_000)
    // To the nearest 50 s.
    drainS.push(drainMs === undefined ? undefined : Math.round(drainMs / 50_000) * 50)
  }
  expect(drainS).toEqual([1000, 1000, undefined, 250])
  uplink.changed(false)
  expect(uplink.drainMs(50_000)).toBeUndefined()
})

test('what only passes through is gone in no time, though as much comes in as leaves', async () => {
  const { clock, uplink } = watched()
  uplink.changed(true)
  for (let second = 0; second < 60; second += 1) {
    await clock.advance(1000)
    uplink.admitted(200)
    uplink.forwarded(200)
  }
  expect(uplink.drainMs(100)).toBeGreaterThan(400)
  expect(uplink.drainMs(100)).toBeLessThan(600)
})

test('of many alike one is let through per interval, and says how many were held back', async () => {
  const clock = new FakeClock()
  const throttle = createThrottle(clock, 10_000)
  expect([throttle('a'), throttle('a'), throttle('a'), throttle('b')]).toEqual([0, undefined, undefined, 0])
  await clock.advance(10_000)
  expect(throttle('a')).toBe(2)
})
