import { describe, expect, test } from 'vitest'
import { growthOf, type Reading } from '../../../bench/soak/growth.ts'
import { median, percentile, ratioOf, slopeOf, spreadOf } from '../../../bench/run/statistics.ts'

describe('of some values', () => {
  test('the median is the middle one, whatever their order, or lies between the two in the middle', () => {
    expect(median([30, 1, 2])).toBe(2)
    expect(median([4, 1, 3, 2])).toBe(2.5)
    expect(median([])).toBeNaN()
  })

  test('the spread holds the lowest and the highest, and there is none of nothing', () => {
    expect(spreadOf([10, 30, 11])).toEqual({ median: 11, min: 10, max: 30 })
    expect(spreadOf([])).toBeUndefined()
  })

  test('a percentile is one of the values, of which so large a share lies at it or below', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(percentile(values, 0.5)).toBe(50)
    expect(percentile(values, 0.99)).toBe(99)
    expect(percentile([7], 0.99)).toBe(7)
    expect(percentile([], 0.5)).toBeNaN()
  })
})

describe('a ratio', () => {
  test('is taken round by round: a slow moment that hit both is not in it', () => {
    expect(ratioOf([100, 10, 100], [50, 5, 50])).toEqual({ median: 2, min: 2, max: 2 })
  })

  test('of a subject to a reference that was measured once takes it in every round', () => {
    expect(ratioOf([10, 20, 30], [10])).toEqual({ median: 2, min: 1, max: 3 })
  })

  test('is none where one of the two was not measured, or the reference is 0', () => {
    expect(ratioOf([], [1])).toBeUndefined()
    expect(ratioOf([1], [])).toBeUndefined()
    expect(ratioOf([1], [0])).toBeUndefined()
  })
})

test('a slope is that of the line through points that lie around it', () => {
  expect(slopeOf([0, 1, 2, 3].map((x) => [x, 5 + 2 * x + (x % 2 === 0 ? 0.1 : -0.1)]))).toBeCloseTo(1.96)
  expect(slopeOf([[1, 1]])).toBeNaN()
})

function reading(minute: number, memoryMiB: number): Reading {
  return {
    atMs: minute * 60_000,
    memoryMiB,
    handles: 40 + minute,
    diskBytes: 0,
    eventLoopP99Ms: undefined,
    queued: undefined,
  }
}

test('a program that warms up and then stays as it is does not grow in a soak', () => {
  const warmingUp = [50, 100, 150].map((memoryMiB, minute) => reading(minute, memoryMiB))
  const steady = [3, 4, 5, 6, 7, 8].map((minute) => reading(minute, 200))
  const { memoryMiBPerHour, handlesPerHour } = growthOf([...warmingUp, ...steady])
  expect(memoryMiBPerHour).toBeCloseTo(0)
  expect(handlesPerHour).toBeCloseTo(60)
})
