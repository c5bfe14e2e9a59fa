import { describe, expect, test } from 'vitest'
import { partedBy } from '../../../cloud/deeds/acceptances.ts'

const by = (from: number, to: number) => ({ from, to, by: 'ada', at: '2026-01-01T00:00:00Z', reason: 'r' })

describe('a hole and who has accepted it', () => {
  test.each<[string, [number, number][], [number, number, boolean][]]>([
    ['nobody', [], [[5, 9, false]]],
    ['all of it', [[5, 9]], [[5, 9, true]]],
    ['more than it', [[1, 20]], [[5, 9, true]]],
    [
      'its beginning',
      [[1, 6]],
      [
        [5, 6, true],
        [7, 9, false],
      ],
    ],
    [
      'its end',
      [[8, 12]],
      [
        [5, 7, false],
        [8, 9, true],
      ],
    ],
    [
      'its middle, twice',
      [
        [6, 7],
        [7, 8],
      ],
      [
        [5, 5, false],
        [6, 7, true],
        [8, 8, true],
        [9, 9, false],
      ],
    ],
    [
      'something else',
      [
        [1, 4],
        [10, 12],
      ],
      [[5, 9, false]],
    ],
  ])('%s', (_name, accepted, parts) => {
    const found = partedBy(
      accepted.map(([from, to]) => by(from, to)),
      5,
      9,
    )
    expect(found.map(({ from, to, acceptance }) => [from, to, acceptance !== undefined])).toEqual(parts)
  })
})
