import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backoffMs } from '../../../src/backoff.ts'

test('a delay doubles up to its bound, and is always between half and all of it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (attempt, chance) => {
        const delayMs = backoffMs(attempt, { delayMsMin: 100, delayMsMax: 30_000 }, () => chance)
        const ceilingMs = Math.min(30_000, 100 * 2 ** (attempt - 1))
        expect(delayMs).toBeGreaterThanOrEqual(Math.floor(ceilingMs / 2))
        expect(delayMs).toBeLessThanOrEqual(ceilingMs)
      },
    ),
  )
})
