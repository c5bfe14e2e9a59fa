import { expect, test } from 'vitest'
import { InboxMemory } from '../../../cloud/database/inbox-weeks-postgres.ts'

const minuteMs = 60_000
const weekFromMs = Date.UTC(2026, 10, 23)

/** So many minutes after the border, while the oldest transaction under way and the next to come have these numbers. */
const at = (minutes: number, xmin: number, xmax: number) => ({
  nowMs: weekFromMs + minutes * minuteMs,
  xmin: BigInt(xmin),
  xmax: BigInt(xmax),
})

test('the week before is left alone once nobody is at work who may have claimed in it (G4)', () => {
  const memory = new InboxMemory(async () => {}, { monotonicMs: () => 0 })
  const isSettled = (minutes: number, xmin: number, xmax: number): boolean =>
    memory.isSettled(weekFromMs, at(minutes, xmin, xmax))
  // Of what has begun before the border some may yet claim.
  expect(isSettled(0, 100, 100)).toBe(false)
  expect(isSettled(4, 200, 200)).toBe(false)
  // Whoever is to be waited for has a number by now.
  expect(isSettled(6, 150, 300)).toBe(false)
  expect(isSettled(7, 299, 400)).toBe(false)
  expect(isSettled(8, 300, 500)).toBe(true)
  expect(memory.isSettled(weekFromMs + 7 * 24 * 60 * minuteMs, at(7 * 24 * 60, 900, 900))).toBe(false)
})
