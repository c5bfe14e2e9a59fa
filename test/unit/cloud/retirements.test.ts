import fc from 'fast-check'
import { expect, test } from 'vitest'
import { partedByRetired, type RetiredRange } from '../../../cloud/deeds/retirements.ts'

/** Ranges in order, that may touch and overlap. */
const ranges = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 9 })))
  .map((pairs): RetiredRange[] =>
    pairs
      .map(([from, length]) => ({ from, to: from + length, before: null, chain: `${from}-${from + length}` }))
      .toSorted((a, b) => a.from - b.from || a.to - b.to),
  )

test('a hole is parted without a gap, and each of its places is retired if any range has it', () => {
  fc.assert(
    fc.property(
      ranges,
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 20 }),
      (some, from, length) => {
        const to = from + length
        const parts = partedByRetired(some, from, to)
        const places = parts.flatMap((part) =>
          Array.from({ length: part.to - part.from + 1 }, (_, index) => ({
            at: part.from + index,
            range: part.range,
          })),
        )
        expect(places.map(({ at }) => at)).toEqual(
          Array.from({ length: length + 1 }, (_, index) => from + index),
        )
        for (const { at, range } of places) {
          const isIn = (one: RetiredRange): boolean => one.from <= at && at <= one.to
          expect(range === undefined ? !some.some(isIn) : isIn(range)).toBe(true)
        }
      },
    ),
  )
})

test('a hole that no range reaches is one part', () => {
  const range = { from: 10, to: 20, before: null, chain: '' }
  expect(partedByRetired([range], 1, 9)).toEqual([{ from: 1, to: 9, range: undefined }])
  expect(partedByRetired([range], 21, 22)).toEqual([{ from: 21, to: 22, range: undefined }])
  expect(partedByRetired([range], 22, 21)).toEqual([])
  expect(partedByRetired([range], 13, 12)).toEqual([])
})
