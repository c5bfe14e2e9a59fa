import { expect, test } from 'vitest'
import { Rate } from '../../../src/pace/rate.ts'

test('as many as come in a second may come at once, and then so many a second (G7)', () => {
  let nowMs = 0
  const rate = new Rate(10, () => nowMs)
  rate.spend(9)
  expect(rate.waitMs()).toBe(0)
  rate.spend(1)
  expect(rate.waitMs()).toBeCloseTo(0, 3)
  expect(rate.waitMs()).toBeGreaterThan(0)
  rate.spend(5)
  expect(rate.waitMs()).toBeCloseTo(500, 2)
  nowMs += rate.waitMs()
  expect(rate.waitMs()).toBe(0)
  expect(rate.forgetMs()).toBeCloseTo(1000, 2)
})

test('what was not used for an hour is not saved up (G7)', () => {
  let nowMs = 0
  const rate = new Rate(10, () => nowMs)
  nowMs = 3_600_000
  rate.spend(20)
  expect(rate.waitMs()).toBeCloseTo(1000, 2)
})

test('one every ten seconds is a rate too', () => {
  let nowMs = 0
  const rate = new Rate(0.1, () => nowMs)
  expect(rate.waitMs()).toBe(0)
  rate.spend(1)
  expect(rate.waitMs()).toBeCloseTo(0, 1)
  rate.spend(1)
  expect(rate.waitMs()).toBeCloseTo(10_000, 1)
})

test('one of something that is whole is taken when there is a whole one', () => {
  let nowMs = 0
  const rate = new Rate(0.1, () => nowMs)
  expect([rate.take(), rate.take()]).toEqual([true, false])
  nowMs = 9_900
  expect(rate.take()).toBe(false)
  nowMs = 10_001
  expect([rate.take(), rate.take()]).toEqual([true, false])
})
