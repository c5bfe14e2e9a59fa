import { expect, test } from 'vitest'
import { runFlips } from '../../proof/flip-runs.ts'

/** As many as take some seconds; `npm run fuzz -- --messages 0 --flips 1` flips each. No divisor of what repeats in a file. */
const every = 8009

test('whatever byte of an outbox’s files is flipped, what is served is what was written, and what is not is named (G1, G2)', async () => {
  const { flips, faults } = await runFlips({ every, jobs: 2 })
  expect(faults).toEqual([])
  expect(flips).toBeGreaterThan(15)
}, 60_000)
