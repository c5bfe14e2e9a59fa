import { createHash } from 'node:crypto'
import { afterAll, describe, expect, test } from 'vitest'
import { openCrew } from './crew.ts'
import { hunt } from './mutation/mutate.ts'
import { type Mutation, mutations } from './mutation/mutations.ts'
import { makePlan } from './plan/plan.ts'
import { reduced, shrink } from './runs.ts'
import { play } from './world.ts'
import { wholeNumber } from '../../src/settings/command-line.ts'

/** Another base tries other runs: `SIMULATION_SEED=5000 npx vitest run test/simulation`. */
const firstSeed = wholeNumber({ min: 0 })(process.env['SIMULATION_SEED'] ?? '1')
const seeds = 75

/** Plays the compiled programs, which the mutants are made of too. */
const crew = openCrew(1)
afterAll(() => crew.close())

/** With the guarantees that are broken without it, so that `-t G3` tries all that is said to hold G3. */
function titleOf({ removed, breaks }: Mutation): string {
  const guarantees = breaks.filter((one) => /^G\d$/.test(one))
  return guarantees.length === 0 ? `${removed} is missed` : `${removed} is missed (${guarantees.join(', ')})`
}

async function traceHash(seed: number): Promise<string> {
  const { lines } = await play(makePlan(seed))
  return createHash('sha256').update(lines.join('\n')).digest('hex')
}

describe('the simulation', () => {
  test(`breaks no guarantee in ${seeds} runs from seed ${firstSeed} (G1, G2, G3, G4, G5, G6, G7, G8, G9)`, async () => {
    console.log(`seeds ${firstSeed} to ${firstSeed + seeds - 1}`)
    const broken: string[] = []
    await crew.playAll({
      seeds: Array.from({ length: seeds }, (_, index) => firstSeed + index),
      onReport({ seed, violations }) {
        for (const { guarantee, detail } of violations) broken.push(`seed ${seed}: ${guarantee}: ${detail}`)
      },
    })
    expect(broken).toEqual([])
  }, 180_000)

  test('makes the same run of the same seed, to the last line of its trace', async () => {
    for (const seed of [1, 7, 42]) expect(await traceHash(seed)).toBe(await traceHash(seed))
    expect(await traceHash(1)).not.toBe(await traceHash(2))
  })

  test('injects every kind of fault it knows, sooner or later', async () => {
    const kinds = new Set<string>()
    for (let seed = 1; seed <= 60; seed++) for (const { kind } of makePlan(seed).faults) kinds.add(kind)
    expect(kinds.size).toBe(new Set(Object.keys((await import('./plan/fault-kinds.ts')).faultSpecs)).size)
  })

  test('plays a part of a plan as it plays the whole', async () => {
    const plan = makePlan(3)
    const part = reduced(plan, { sends: [0, 1], faults: [] })
    expect(part.sends.map(({ n }) => n)).toEqual([0, 1])
    expect((await play(part)).violations).toEqual([])
  })

  test('gives a plan that fails nowhere back as it is', async () => {
    const plan = reduced(makePlan(3), { sends: [0, 1], faults: [] })
    expect(await shrink(plan, 'G1')).toEqual(plan)
  })
})

describe('every mechanism is watched by a check: removed on purpose,', () => {
  // The whole table: npm run sim -- --mutations
  test.each(mutations.filter(({ rare }) => !rare).map((mutation) => [titleOf(mutation), mutation] as const))(
    '%s',
    async (_, mutation) => {
      const { by } = await hunt(mutation, crew)
      expect(by).toMatchObject({ detail: expect.any(String) as string })
    },
    180_000,
  )
})
