import fc from 'fast-check'

/**
 * How far the tests of docs/FOUNDATIONS.md go: `TIDEGATE_CUTS=100` makes each of them cut a hundred times as often,
 * `TIDEGATE_CUTS_SEED` repeats a run. The seed is in the name of each test that draws.
 */
export const cutsSeed = Number(process.env['TIDEGATE_CUTS_SEED'] ?? Date.now() % 1_000_000)

const longer = Number(process.env['TIDEGATE_CUTS'] ?? 1)

/** Of a property or a loop that takes `ordinary` draws in the suite: how many now, and how long that may take. */
export function draws(ordinary: number, msEach: number): { count: number; timeoutMs: number } {
  const count = Math.ceil(ordinary * longer)
  return { count, timeoutMs: 30_000 + count * msEach }
}

/** Anywhere from 0 to 1, the ends no likelier than the rest. */
export const anyShare = fc
  .noBias(fc.integer({ min: 0, max: 1_000_000 }))
  .map((millionths) => millionths / 1_000_000)
