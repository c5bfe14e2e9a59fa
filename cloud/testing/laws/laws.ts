import { TidegateError } from '../../../src/errors.ts'
import { execute, type ExecutionOptions, letterText, type Outcome, type Plan } from './execution.ts'
import { type LawName, type LawOptions, type LawReport, laws } from './options.ts'
import { calmed, planOf, undisturbed } from './plans.ts'
import { seeded } from './random.ts'
import { type Broken, brokenText } from './report.ts'
import type { Sample, Samples } from './sample.ts'

export interface Trial extends ExecutionOptions {
  samples: Samples
  /** Codes of errors that are as they should be. */
  expected: ReadonlySet<string>
}

const runsDefault = 10
const eventsDefault = 8
const devicesMax = 3
/** Cases that are tried to make one that fails simpler. */
const simplerMax = 150

/** @throws TidegateError `LAW_BROKEN` */
export async function testLaws(trial: Trial, options: LawOptions): Promise<LawReport> {
  const { seed = 1, runs = runsDefault, events = eventsDefault, only, except = [] } = options
  const names = (Object.keys(laws) as LawName[]).filter(
    (law) => (only?.includes(law) ?? true) && !except.includes(law),
  )
  const random = seeded(seed)
  let executions = 0
  for (let run = 0; run < runs; run++) {
    // Whose order is not to matter are of one device.
    const samples = trial.samples.some(random, events, names.includes('order') ? devicesMax : 1)
    const once = await execute(samples, undisturbed, trial)
    executions++
    for (const law of names) {
      const plan = planOf(law, random)
      const broken = await tried(law, { samples, plan, once }, trial)
      if (law !== 'limits') executions++
      if (broken) throw lawBroken(await explained(broken, plan, trial), trial, seed)
    }
  }
  return { seed, laws: names, cases: runs, executions }
}

async function tried(
  law: LawName,
  { samples, plan, once }: { samples: readonly Sample[]; plan: Plan; once: Outcome },
  trial: Trial,
): Promise<Broken | undefined> {
  if (law === 'limits') return failsUnexpectedly(once, trial) ? { law, samples, once, here: once } : undefined
  const here = await execute(samples, plan, trial)
  return isSame(once, here) ? undefined : { law, samples, once, here }
}

function failsUnexpectedly(outcome: Outcome, trial: Trial): boolean {
  return Object.keys(outcome.letters).some((id) => isUnexpected(outcome, id, trial))
}

/** A letter of an error that nobody has meant: neither final, nor said not to be mended by an attempt. */
function isUnexpected({ letters, thrown }: Outcome, id: string, { consumer, expected }: Trial): boolean {
  const code = letters[id] ?? ''
  if (consumer.final.has(code) || expected.has(code)) return false
  const error = thrown.get(id)
  return !(error instanceof Error && 'retryable' in error && error.retryable === false)
}

function comparable({ tables, letters, outside }: Outcome): string {
  return JSON.stringify([tables, letters, outside])
}

function isSame(one: Outcome, other: Outcome): boolean {
  return comparable(one) === comparable(other)
}

/** By the law that it is a matter of, and with the simplest events that show it. */
async function explained(broken: Broken, plan: Plan, trial: Trial): Promise<Broken> {
  if (broken.law === 'limits') return simplest(broken, plan, trial)
  const calm = calmed(plan)
  const order = await tried('order', { ...broken, plan: calm }, trial)
  return order ? simplest(order, calm, trial) : simplest(broken, plan, trial)
}

/** As few events as possible, and as simple, of which the same law is broken by the same plan. */
async function simplest(broken: Broken, plan: Plan, trial: Trial): Promise<Broken> {
  let best = broken
  let left = simplerMax
  for (let found = true; found && left > 0;) {
    found = false
    for (const samples of simplerCases(best.samples, trial.samples)) {
      if (left-- <= 0) break
      const once = await execute(samples, undisturbed, trial)
      const still = await tried(best.law, { samples, plan, once }, trial)
      if (still === undefined) continue
      best = still
      found = true
      break
    }
  }
  return best
}

function* simplerCases(samples: readonly Sample[], source: Samples): Generator<readonly Sample[]> {
  if (samples.length > 2) {
    yield samples.slice(0, samples.length >> 1)
    yield samples.slice(samples.length >> 1)
  }
  if (samples.length > 1) for (const index of samples.keys()) yield samples.toSpliced(index, 1)
  for (const [index, sample] of samples.entries())
    for (const one of source.simpler(sample)) yield samples.with(index, one)
}

function lawBroken(broken: Broken, { consumer }: Trial, seed: number): TidegateError {
  const failing = Object.keys(broken.here.letters).map((id) => letterText(broken.here, id))
  return new TidegateError('LAW_BROKEN', {
    message: brokenText(consumer.group, broken, { seed, failing }),
    retryable: false,
    hint: `laws({ seed: ${seed} }) shows it again; docs/CONSUMERS.md, "The laws", says what to do about each`,
  })
}
