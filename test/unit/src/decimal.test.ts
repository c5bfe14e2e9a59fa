import fc from 'fast-check'
import { expect, test } from 'vitest'
import { multiplesOf } from '../../../src/schemas/decimal.ts'

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
  [5e-324, 5e-324, true],
  [1e15, 0.1, true],
  [999999999999999.9, 0.1, true],
  [999999999999999.8, 0.3, false],
  [0.1234567890123457, 1e-16, true],
  [1e308, 1e-300, true],
  [1e308, 7, false],
  [300, 1e2, true],
  [1e22, 1e21, true],
  [1e21, 1e22, false],
  [-0, 3, true],
])('%d by %d: %s', ([value, divisor, expected]) => {
  expect(multiplesOf(divisor)(value)).toBe(expected)
})

test('every number that is written with so many decimals is a multiple of its last place, and of no coarser one', () => {
  fc.assert(
    fc.property(fc.integer({ min: -1e12, max: 1e12 }), fc.integer({ min: 1, max: 3 }), (units, decimals) => {
      const value = Number(`${units}e-${decimals}`)
      expect(multiplesOf(Number(`1e-${decimals}`))(value)).toBe(true)
      expect(multiplesOf(Number(`1e-${decimals - 1}`))(value)).toBe(units % 10 === 0)
    }),
  )
})

test('how it reckons, quickly or at length, makes no difference', () => {
  const decimal = fc
    .tuple(fc.bigInt({ min: -(10n ** 17n), max: 10n ** 17n }), fc.integer({ min: -30, max: 30 }))
    .map(([digits, exponent]) => Number(`${digits}e${exponent}`))
  const divisor = fc.oneof(
    decimal.map(Math.abs).filter((number) => number > 0),
    fc.constantFrom(0.1, 0.01, 0.25, 3, 7e-3, 1e-23),
  )
  fc.assert(
    fc.property(decimal, divisor, fc.integer({ min: 0, max: 1000 }), (value, divisor, times) => {
      const isMultiple = multiplesOf(divisor)
      for (const number of [value, times * divisor])
        expect(isMultiple(number)).toBe(atLength(number, divisor))
    }),
    { numRuns: 2000 },
  )
})

/** Both written out, in units of 10^-400. */
function atLength(value: number, divisor: number): boolean {
  return writtenOut(value) % writtenOut(divisor) === 0n
}

function writtenOut(number: number): bigint {
  const [mantissa = '', power = '0'] = number.toString().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  return BigInt(whole + fraction) * 10n ** BigInt(400 + Number(power) - fraction.length)
}
