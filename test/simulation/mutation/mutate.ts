import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { TidegateError } from '../../../src/errors.ts'
import { playAll } from '../crew.ts'
import type { Guarantee } from '../parts/journal.ts'
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

/** Breaks a mechanism in a copy of the compiled programs, and plays seeds on it until a check notices. */
export async function hunt(mutation: Mutation, jobs: number): Promise<Caught> {
  const folder = new URL(`mutants/${mutation.name}-${process.pid}/`, dist)
  await rm(folder, { recursive: true, force: true })
  try {
    await makeMutant(folder, mutation)
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
    const worker = new URL('test/simulation/worker.js', folder)
    await playAll({ worker, jobs, seeds: seeds(mutation), onReport, stop: stop.signal })
    return { mutation, by, runs }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function makeMutant(folder: URL, { name, file, find, replace }: Mutation): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const part of [
    'src',
    'edge',
    'cloud',
    'dev/fleet/random.js',
    'test/support/fakes',
    'test/simulation',
  ]) {
    await cp(new URL(part, dist), new URL(part, folder), {
      recursive: true,
      filter: (path) => !/\.(d\.ts|map|tsbuildinfo)$/.test(path),
    })
  }
  const path = new URL(file, folder)
  const text = await readFile(path, 'utf8')
  if (text.split(find).length !== 2) {
    throw new TidegateError('MUTATION_STALE', {
      message: `${name}: ${fileURLToPath(path)} does not hold "${find}" exactly once`,
      retryable: false,
      hint: 'the mechanism has moved: correct test/simulation/mutation/mutations.ts',
    })
  }
  await writeFile(
    path,
    text.replace(find, () => replace),
  )
}

/** First the seed that is known to notice, then any. */
function* seeds({ seed }: Mutation): Generator<number> {
  yield seed
  for (let other = 1; other <= seedsMax; other++) yield other
}

/** Prints mechanism removed → check that caught it: of all, or of the one that is named so. */
export async function showMutations(jobs: number, only?: string): Promise<number> {
  let missed = 0
  const tried = mutations.filter(({ name }) => only === undefined || name === only)
  for (const mutation of tried) {
    const { by, runs } = await hunt(mutation, jobs)
    if (!by) missed += 1
    const caught = by ? `${by.guarantee.padEnd(5)} seed ${by.seed}: ${by.detail.slice(0, 90)}` : 'NOT CAUGHT'
    process.stdout.write(`${mutation.removed.padEnd(76)} → ${caught} (${runs} runs)\n`)
  }
  process.stdout.write(`${tried.length} mechanisms removed, ${missed} not noticed\n`)
  return missed === 0 && tried.length > 0 ? 0 : 1
}
