import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { numericFields } from '../../../cloud/projections/rollups/numeric-fields.ts'
import { aggregate } from '../../../cloud/projections/rollups/rollups.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

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
    // For PostgreSQL these two would be one key.
    expect(numericFields({ '\ud800': 1, b: { '\ud801': 2 }, '😀': 3 })).toEqual([['😀', 3]])
    expect(
      numericFields(Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`f${n}`, n]))),
    ).toHaveLength(64)
  })

  test('go by the gateway’s clock when the device’s is implausible', () => {
    const ledger = new Ledger()
    const { event } = ledger.next('d', { time: '1970-01-01T00:00:00Z', timestatus: 'implausible', data: 1 })
    expect(aggregate([event]).map(({ bucketMs }) => bucketMs)).toEqual([
      Date.parse('2026-01-01T00:00:00Z'),
      Date.parse('2026-01-01T00:00:00Z'),
    ])
  })

  test('agree with a naive count of every point (model)', () => {
    const point = fc.record({
      device: fc.constantFrom('a', 'b'),
      minute: fc.integer({ min: 0, max: 3 }),
      value: fc.integer({ min: -50, max: 50 }),
    })
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 60 }), (points) => {
        const ledger = new Ledger()
        const startMs = Date.UTC(2026, 0, 1)
        const events = points.map(
          ({ device, minute, value }, index) =>
            ledger.next(device, {
              time: new Date(startMs + minute * 60_000 + index).toISOString(),
              data: { t: value },
            }).event,
        )
        const minutes = aggregate(events).filter(({ width }) => width === 'minute')
        expect(minutes.reduce((sum, { count }) => sum + count, 0)).toBe(points.length)
        for (const rollup of minutes) {
          const values = points
            .filter(
              ({ device, minute }) =>
                device === rollup.device && startMs + minute * 60_000 === rollup.bucketMs,
            )
            .map(({ value }) => value)
          expect(rollup).toMatchObject({
            count: values.length,
            min: Math.min(...values),
            max: Math.max(...values),
            sum: values.reduce((sum, value) => sum + value, 0),
            last: values.at(-1),
          })
        }
      }),
    )
  })
})
