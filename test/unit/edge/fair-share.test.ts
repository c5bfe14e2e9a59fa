import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createHighRate } from '../../../edge/admission/high-rate.ts'
import { defaultQuota, type QuotaOptions } from '../../../edge/outbox/options.ts'
import { Arrival, type Pending } from '../../../edge/outbox/rules/arrival.ts'
import { createHolding } from '../../../edge/outbox/rules/holding.ts'
import { boundMet, minimumOf, reservedOf } from '../../../edge/outbox/rules/quota.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

interface Filled {
  total: { events: number; bytes: number }
  devices: Map<string, { events: number; bytes: number }>
  /** Whether one more was let in. */
  offer(device: string, bytes: number, qos?: 0 | 1): boolean
}

/** An outbox of which nothing leaves. */
function filling(quota: QuotaOptions): Filled {
  const total = { events: 0, bytes: 0 }
  const devices = new Map<string, { events: number; bytes: number }>()
  return {
    total,
    devices,
    offer(device, bytes, qos = 1) {
      const usage = devices.get(device) ?? { events: 0, bytes: 0 }
      if (boundMet(quota, total, usage, Infinity, { bytes, qos }) !== undefined) return false
      devices.set(device, { events: usage.events + 1, bytes: usage.bytes + bytes })
      total.events += 1
      total.bytes += bytes
      return true
    },
  }
}

describe('in an outage', () => {
  const bounds = fc.record({
    eventsMax: fc.integer({ min: 20, max: 400 }),
    bytesMax: fc.integer({ min: 2000, max: 400_000 }),
    deviceShare: fc.constantFrom(0.2, 0.5, 1),
    deviceMinimum: fc.constantFrom(0.001, 0.01, 0.05),
    reservedShare: fc.constantFrom(0.05, 0.1, 0.3),
  })
  const offers = fc.array(
    fc.record({ device: fc.integer({ min: 0, max: 5 }), bytes: fc.integer({ min: 1, max: 3000 }) }),
    { minLength: 100, maxLength: 600, size: 'max' },
  )

  test('devices above their minimum leave the reserve alone, and each of as many as what is left serves finds room for its minimum (G7)', () => {
    fc.assert(
      fc.property(bounds, offers, (bound, before) => {
        const quota = { ...defaultQuota, ...bound }
        const outbox = filling(quota)
        for (const { device, bytes } of before) outbox.offer(`early${device}`, bytes)
        const minimum = minimumOf(quota)
        const reserved = reservedOf(quota)
        const above = [...outbox.devices.values()].filter(
          ({ events, bytes }) => events > 1 && (events > minimum.events || bytes > minimum.bytes),
        )
        // Whoever is above its minimum has left what is reserved alone.
        const sum = above.reduce((all, { events }) => all + events, 0)
        expect(sum).toBeLessThanOrEqual(quota.eventsMax - reserved.events)
        const sumBytes = above.reduce((all, { bytes }) => all + bytes, 0)
        expect(sumBytes).toBeLessThanOrEqual(quota.bytesMax - reserved.bytes)
        const free = quota.eventsMax - outbox.total.events
        const freeBytes = quota.bytesMax - outbox.total.bytes
        const served = Math.min(free / minimum.events, freeBytes / Math.max(1, minimum.bytes))
        const bytesEach = Math.floor(minimum.bytes / minimum.events)
        for (let device = 1; device <= served; device++)
          for (let event = 0; event < minimum.events; event++)
            expect(outbox.offer(`late${device}`, bytesEach)).toBe(true)
      }),
    )
  })

  test('by default 500 devices that had queued nothing find room for their whole minimum, when two have filled the rest (G7)', () => {
    const bytes = 400
    const outbox = filling({ ...defaultQuota, eventsMax: 1_000_000, bytesMax: 430_000_000 })
    for (let more = true; more;) more = ['a', 'b'].filter((device) => outbox.offer(device, bytes)).length > 0
    // Two devices alone have half each, but for what is reserved.
    expect([...outbox.devices.values()].map(({ events }) => events)).toEqual([475_000, 475_000])
    for (let device = 0; device < 500; device++)
      for (let event = 0; event < 100; event++) expect(outbox.offer(`late${device}`, bytes)).toBe(true)
    expect(outbox.total.events).toBe(1_000_000)
    expect(outbox.offer('one more', bytes)).toBe(false)
  })

  test('one device alone has its share, to the last event (G7)', () => {
    const outbox = filling({ ...defaultQuota, eventsMax: 1000 })
    let events = 0
    while (outbox.offer('a', 100)) events += 1
    expect(events).toBe(500)
  })

  test('what is unpromised does not take what is reserved for the promised (G7)', () => {
    const outbox = filling({ ...defaultQuota, eventsMax: 1000, deviceShare: 1 })
    while (outbox.offer('a', 100, 0));
    expect(outbox.total.events).toBe(902)
  })
})

test('of more devices that wait than are tried at once those that have little are tried first (G7)', () => {
  const holding = createHolding()
  const pendings = ['a', 'b', 'c', 'd'].map((device) => waiting(device))
  for (const pending of pendings) holding.hold(pending, 'events')
  const tried = (limit: number): string[] =>
    holding
      .next(limit, (deviceId) => deviceId === 'd')
      .map(({ submission: { candidate } }) => candidate.partitionkey)
  expect(tried(2)).toEqual(['d', 'a'])
  expect(tried(4)).toEqual(['a', 'b', 'c', 'd'])
})

test('of each device those that waited longest are tried, and none that came after one that is not (G6)', () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.boolean()), { maxLength: 60 })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 12 }), (held, limit) => {
      const holding = createHolding()
      const queues = new Map<string, Pending[]>()
      for (const [device, isServed] of held) {
        const queue = queues.get(`d${device}`) ?? []
        queues.set(`d${device}`, queue)
        const pending = waiting(`d${device}`)
        holding.hold(pending, 'events')
        queue.push(pending)
        const first = isServed ? queue.shift() : undefined
        if (first) holding.drop(first)
      }
      const tried = holding.next(limit, (deviceId) => deviceId === 'd1')
      expect(tried.length).toBeLessThanOrEqual(limit)
      for (const [device, queue] of queues) {
        const own = tried.filter(({ submission: { candidate } }) => candidate.partitionkey === device)
        expect(own.map((pending) => queue.indexOf(pending))).toEqual([...own.keys()])
      }
    }),
  )
})

function waiting(device: string): Pending {
  const [pending] = new Arrival([submission(device, 'e')], {
    answered: () => {},
    signal: undefined,
    account: { settled: () => {} },
    atMs: 0,
  }).pendings
  return pending as Pending
}

describe('the rate of a device in the high lane', () => {
  test('is its burst and what a second brings back, and no other’s (G7)', async () => {
    const clock = new FakeClock()
    const mayGoHigh = createHighRate({ eventsPerSecond: 2, burst: 3 }, clock)
    const passed = (device: string): number =>
      Array.from({ length: 10 }, () => mayGoHigh(device)).filter(Boolean).length
    expect(passed('a')).toBe(3)
    expect(passed('b')).toBe(3)
    await clock.advance(60_000)
    expect(passed('a')).toBe(3)
    await clock.advance(1000)
    expect(passed('c')).toBe(3)
  })

  test('keeps who was over it out until it has been under it for a minute (G7)', async () => {
    const clock = new FakeClock()
    const mayGoHigh = createHighRate({ eventsPerSecond: 2, burst: 3 }, clock)
    const all = (count: number): boolean[] => Array.from({ length: count }, () => mayGoHigh('a'))
    expect(all(4)).toEqual([true, true, true, false])
    // Under the rate, but not for long enough.
    for (let second = 0; second < 30; second++) {
      await clock.advance(1000)
      expect(all(1)).toEqual([false])
    }
    expect(all(5)).toContain(false)
    await clock.advance(59_000)
    expect(all(1)).toEqual([false])
    await clock.advance(1000)
    expect(all(3)).toEqual([true, true, true])
  })

  test('is kept of so many devices at once, and those that are forgotten had all of it (G7)', async () => {
    const clock = new FakeClock()
    const mayGoHigh = createHighRate({ eventsPerSecond: 1, burst: 2 }, clock)
    for (let device = 0; device < 9999; device++) mayGoHigh(`d${device}`)
    await clock.advance(1500)
    expect([mayGoHigh('spent'), mayGoHigh('spent'), mayGoHigh('spent')]).toEqual([true, true, false])
    expect(mayGoHigh('new')).toBe(true)
    expect(mayGoHigh('spent')).toBe(false)
  })
})
