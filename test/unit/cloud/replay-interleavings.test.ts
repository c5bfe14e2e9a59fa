import { describe, expect, test } from 'vitest'
import { type ReplayFault, ReplayWorld } from '../../support/cloud/replay-world.ts'

/** mulberry32: a run is its seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const seeds = 400

async function violationsOf(seed: number, fault?: ReplayFault): Promise<string[]> {
  const world = new ReplayWorld(randomOf(seed), 8, fault)
  await world.run(150)
  return world.violations
}

describe('letters that come back, in any order of what replayers, consumers and operators do', () => {
  test(`have each effect once, of the edit that was sent, and are stuck nowhere, killed at every step in ${seeds} runs (G4, G5)`, async () => {
    for (let seed = 1; seed <= seeds; seed++) expect(await violationsOf(seed), `seed ${seed}`).toEqual([])
  })

  test.each<ReplayFault>([
    'resolved-outside-the-transaction',
    'held-in-any-state',
    'held-in-any-replay',
    'page-forgotten',
    'never-given-back',
    'taken-when-not-open',
  ])('what breaks is noticed when a mechanism is removed: %s', async (fault) => {
    let noticed = 0
    for (let seed = 1; seed <= seeds && noticed === 0; seed++)
      noticed = (await violationsOf(seed, fault)).length
    expect(noticed).toBeGreaterThan(0)
  })
})
