import { expect, test } from 'vitest'
import type { Shipment } from '../../../edge/uplink/exchange.ts'
import { Unproven } from '../../../edge/uplink/unproven.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const shipment = (...positions: [number, ...number[]]): Shipment =>
  positions.map((position) => ({ position })) as unknown as Shipment

test('there is room for as many events as the window has, and for those of a message when it has its outcome (G7)', () => {
  const clock = new FakeClock()
  const unproven = new Unproven({ clock, windowEvents: 4, observer: { unconfirmed() {} } })
  const [first, second] = [shipment(1), shipment(2, 3, 4)]
  unproven.add(first)
  expect(unproven.room).toBe(3)
  unproven.add(second)
  expect([unproven.room, unproven.count]).toEqual([0, 4])
  unproven.remove(second, clock.monotonicMs())
  expect([unproven.room, unproven.count]).toEqual([3, 1])
  expect(unproven.remove(second, clock.monotonicMs())).toBe(0)
  expect(unproven.room).toBe(3)
})

test('the oldest event’s wait is told and counted, but for the time in which the broker blocked', async () => {
  const clock = new FakeClock()
  const told: [number, number | undefined][] = []
  const observer = { unconfirmed: (...what: [number, number | undefined]) => void told.push(what) }
  const unproven = new Unproven({ clock, windowEvents: 10, observer })
  const [first, second] = [shipment(1), shipment(2)]
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
