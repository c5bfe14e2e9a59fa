import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isMultiple } from '../../../src/contract/decimal.ts'

test.for<[number, number, boolean]>([
  [8.1, 0.1, true],
  [0.3, 0.1, true],
  [-0.7, 0.1, true],
  [143.48, 0.01, true],
  [6.25, 0.1, false],
  [8.15, 0.1, false],
  [12, 0.1, true],
  [0, 0.1, true],
  [1e21, 0.1, true],
  [1.5e300, 0.5, true],
  [1e-7, 1e-8, true],
  [1e-7, 2e-8, true],
  [1e-7, 3e-8, false],
  [9007199254740991, 7, false],
  [10, 2.5, true],
  [11, 2.5, false],
  [5e-324, 1, false],
])('%d by %d: %s', ([value, divisor, expected]) => {
  expect(isMultiple(value, divisor)).toBe(expected)
})

test('every number that is written with so many decimals is a multiple of its last place, and of no coarser one', () => {
  fc.assert(
    fc.property(fc.integer({ min: -1e12, max: 1e12 }), fc.integer({ min: 1, max: 3 }), (units, decimals) => {
      const value = Number(`${units}e-${decimals}`)
      expect(isMultiple(value, Number(`1e-${decimals}`))).toBe(true)
      expect(isMultiple(value, Number(`1e-${decimals - 1}`))).toBe(units % 10 === 0)
    }),
  )
})
