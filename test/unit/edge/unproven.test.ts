import { expect, test } from 'vitest'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { Unproven } from '../../../edge/uplink/unproven.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const event = (position: number): Queued => ({ position }) as Queued

test('there is room for as many events as the window has, and for one more with each that has its outcome (G7)', () => {
  const clock = new FakeClock()
  const unproven = new Unproven({ clock, windowEvents: 2, observer: { unconfirmed() {} } })
  const [first, second] = [event(1), event(2)]
  unproven.add(first)
  expect(unproven.room).toBe(1)
  unproven.add(second)
  expect([unproven.room, unproven.count]).toEqual([0, 2])
  unproven.remove(first, clock.monotonicMs())
  expect([unproven.room, unproven.count]).toEqual([1, 1])
})

test('the oldest event’s wait is told and counted, but for the time in which the broker blocked', async () => {
  const clock = new FakeClock()
  const told: [number, number | undefined][] = []
  const observer = { unconfirmed: (...what: [number, number | undefined]) => void told.push(what) }
  const unproven = new Unproven({ clock, windowEvents: 10, observer })
  const [first, second] = [event(1), event(2)]
  unproven.add(first)
  await clock.advance(1000)
  unproven.add(second)
  unproven.tell()
  expect(told).toEqual([[2, 0]])
  await clock.advance(1000)
  expect(unproven.look(false)).toBe(2000)
  expect(unproven.look(true)).toBe(0)
  await clock.advance(3000)
  expect(unproven.look(false)).toBe(3000)
  expect(unproven.remove(first, clock.monotonicMs())).toBe(5000)
  unproven.remove(second, clock.monotonicMs())
  expect(unproven.look(false)).toBe(0)
  unproven.tell()
  expect(told.at(-1)).toEqual([0, undefined])
})
