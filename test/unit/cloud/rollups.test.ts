import { describe, expect, test } from 'vitest'
import { numericFields } from '../../../cloud/projections/built-in/numeric-fields.ts'

describe('rollups', () => {
  test('take numbers by dotted path, four levels deep and 64 at most', () => {
    expect(
      numericFields({ a: 1, b: { c: 2, d: { e: { f: 3, g: { h: 4 } } } }, i: '5', j: [6], k: null }),
    ).toEqual([
      ['a', 1],
      ['b.c', 2],
      ['b.d.e.f', 3],
    ])
    expect(numericFields(7)).toEqual([['value', 7]])
    expect(numericFields({ n: Number.POSITIVE_INFINITY })).toEqual([])
    // Two of these would have a sum that is no double, for ever.
    expect(numericFields({ n: 1.7e308, m: -1.7e308, last: -1e290 })).toEqual([['last', -1e290]])
    // And the mean of this one and some zeros no double either.
    expect(numericFields({ n: -5e-324, m: 1e-290 })).toEqual([
      ['n', 0],
      ['m', 1e-290],
    ])
    // For PostgreSQL these two would be one key.
    expect(numericFields({ '\ud800': 1, b: { '\ud801': 2 }, '😀': 3 })).toEqual([['😀', 3]])
    expect(
      numericFields(Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`f${n}`, n]))),
    ).toHaveLength(64)
  })
})
