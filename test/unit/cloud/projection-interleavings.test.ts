import { describe, expect, test } from 'vitest'
import { type ProjectionFault, ProjectionWorld } from '../../support/cloud/projection-world.ts'

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

const seeds = 200

async function violationsOf(seed: number, fault?: ProjectionFault): Promise<string[]> {
  const world = new ProjectionWorld(randomOf(seed), 12, fault)
  await world.run(300)
  return world.violations
}

describe('a projection that several instances would run, in any order of what they do', () => {
  test(`has each event once and in order, without those that somebody left out, killed at every step in ${seeds} runs (G4, G5)`, async () => {
    for (let seed = 1; seed <= seeds; seed++) expect(await violationsOf(seed), `seed ${seed}`).toEqual([])
  })

  test.each<ProjectionFault>([
    'cursor-outside-the-transaction',
    'effects-outside-the-transaction',
    'lease-unchecked',
    'row-not-locked',
    'halted-behind-the-event',
    'halted-whatever-was-done-meanwhile',
  ])('what breaks is noticed when a mechanism is removed: %s', async (fault) => {
    let noticed = 0
    for (let seed = 1; seed <= seeds && noticed === 0; seed++)
      noticed = (await violationsOf(seed, fault)).length
    expect(noticed).toBeGreaterThan(0)
  })
})
