import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { TidegateError } from '../../../src/errors.ts'
import { type Crew, openCrew } from '../crew.ts'
import type { Guarantee } from '../parts/journal.ts'
import { isStale } from './mutant.ts'
import { type Mutation, mutations } from './mutations.ts'
import type { RunReport } from '../runs.ts'

export interface Caught {
  mutation: Mutation
  /** The first run that noticed; absent: none did. */
  by: { guarantee: Guarantee; detail: string; seed: number } | undefined
  runs: number
}

/** The compiled programs, whether we are one of them or run from source. */
const dist = new URL(import.meta.url.endsWith('.ts') ? '../../../dist/' : '../../../', import.meta.url)
const seedsMax = 5000

/**
 * Breaks a mechanism in a copy of the compiled programs, which the crew loads beside them, and plays seeds on it
 * until a check notices. @throws TidegateError `MUTATION_STALE`
 */
export async function hunt(mutation: Mutation, crew: Crew): Promise<Caught> {
  await refuseStale(mutation)
  const stop = new AbortController()
  let runs = 0
  let by: Caught['by']
  const onReport = ({ seed, violations }: RunReport): void => {
    runs += 1
    const found = violations.find(({ guarantee }) => mutation.breaks.includes(guarantee))
    if (!found || by) return
    by = { ...found, seed }
    stop.abort()
  }
  await crew.playAll({ mutant: mutation.name, seeds: seeds(mutation), onReport, stop: stop.signal })
  return { mutation, by, runs }
}

async function refuseStale(mutation: Mutation): Promise<void> {
  const path = new URL(mutation.file, dist)
  if (!isStale(mutation, await readFile(path, 'utf8'))) return
  throw new TidegateError('MUTATION_STALE', {
    message: `${mutation.name}: ${fileURLToPath(path)} does not hold "${mutation.find}" exactly once`,
    retryable: false,
    hint: 'the mechanism has moved: correct test/simulation/mutation/mutations.ts',
  })
}

/** First the seed that is known to notice, then any. */
function* seeds({ seed }: Mutation): Generator<number> {
  yield seed
  for (let other = 1; other <= seedsMax; other++) yield other
}

/** Prints mechanism removed → check that caught it: of all, or of the one that is named so. */
export async function showMutations(jobs: number, only?: string): Promise<number> {
  let missed = 0
  const crew = openCrew(jobs)
  const tried = mutations.filter(({ name }) => only === undefined || name === only)
  try {
    for (const mutation of tried) {
      const { by, runs } = await hunt(mutation, crew)
      if (!by) missed += 1
      const caught = by
        ? `${by.guarantee.padEnd(5)} seed ${by.seed}: ${by.detail.slice(0, 90)}`
        : 'NOT CAUGHT'
      process.stdout.write(`${mutation.removed.padEnd(76)} → ${caught} (${runs} runs)\n`)
    }
  } finally {
    crew.close()
  }
  process.stdout.write(`${tried.length} mechanisms removed, ${missed} not noticed\n`)
  return missed === 0 && tried.length > 0 ? 0 : 1
}
