import { TidegateError } from '../../../src/errors.ts'
import type { Consumer } from '../../pipeline/definition.ts'
import {
  execute,
  type ExecutionOptions,
  failureText,
  type Outcome,
  told,
  unavailableCode,
} from './execution.ts'
import { type LawName, type LawOptions, type LawReport, laws } from './options.ts'
import { calmed, type Plan, planOf, reversed, undisturbed } from './plans.ts'
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
/** Cases that are tried to make one that fails simpler: some seconds. */
const simplerMax = 40

/** @throws TidegateError `LAW_BROKEN` | `LAW_VACUOUS` */
export async function testLaws(trial: Trial, options: LawOptions): Promise<LawReport> {
  const { seed = 1, runs = runsDefault, events = eventsDefault } = options
  const names = lawsOf(trial.consumer, options)
  const random = seeded(seed)
  const before = await beforeAll(trial)
  let executions = 0
  let effective = 0
  for (let run = 0; run < runs; run++) {
    // Whose order is not to matter are of one device.
    const samples = trial.samples.some(random, events, names.includes('order') ? devicesMax : 1)
    const once = await execute(samples, undisturbed, trial)
    executions++
    if (!isSame(before, once)) effective++
    for (const law of names) {
      const plan = planOf(law, random)
      const broken = await tried(law, { samples, plan, once }, trial)
      if (law !== 'limits') executions++
      if (broken) throw lawBroken(await explained(broken, plan, trial), trial, seed)
    }
  }
  if (effective === 0 && runs > 0 && !options.mayDoNothing) throw lawVacuous(trial, runs)
  return { seed, laws: names, cases: runs, executions, effective, uncompared: trial.tables.uncompared }
}

/** Of a consumer without a second attempt nothing is tried again; what is too old by then is not handed over again. */
function lawsOf({ ladderMs, freshnessMs }: Consumer, { only, except = [] }: LawOptions): LawName[] {
  const triesAgain = ladderMs?.length !== 0 && freshnessMs === undefined
  return (Object.keys(laws) as LawName[]).filter(
    (law) => (only?.includes(law) ?? (law !== 'attempt' || triesAgain)) && !except.includes(law),
  )
}

async function beforeAll({ tables, reset, outside }: Trial): Promise<Outcome> {
  await tables.reset()
  await reset()
  return {
    tables: await tables.read(),
    letters: {},
    waiting: {},
    outside: told(outside()),
    thrown: new Map(),
  }
}

async function tried(
  law: LawName,
  { samples, plan, once }: { samples: readonly Sample[]; plan: Plan; once: Outcome },
  trial: Trial,
): Promise<Broken | undefined> {
  if (law === 'limits') return failsUnexpectedly(once, trial) ? { law, samples, once, here: once } : undefined
  const here = await execute(samples, plan, trial)
  // When a group is held up, what has been done by then is a matter of who came first.
  const isHeldUp = [once, here].some(({ waiting }) => Object.values(waiting).includes(unavailableCode))
  return isHeldUp || isSame(once, here) ? undefined : { law, samples, once, here }
}

function failsUnexpectedly(outcome: Outcome, trial: Trial): boolean {
  return (
    Object.keys(outcome.letters).some((id) => isUnexpected(outcome, id, trial)) ||
    Object.values(outcome.waiting).some((code) => !trial.expected.has(code))
  )
}

/** A letter of an error that nobody has meant: neither final, nor said not to be mended by an attempt. */
function isUnexpected({ letters, thrown }: Outcome, id: string, { consumer, expected }: Trial): boolean {
  const code = letters[id] ?? ''
  if (consumer.final.has(code) || expected.has(code)) return false
  const error = thrown.get(id)
  return !(error instanceof Error && 'retryable' in error && error.retryable === false)
}

function comparable({ tables, letters, waiting, outside }: Outcome): string {
  return JSON.stringify([
    tables,
    letters,
    Object.entries(waiting).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    outside,
  ])
}

function isSame(one: Outcome, other: Outcome): boolean {
  return comparable(one) === comparable(other)
}

/** By the law that it is a matter of, and with the simplest events that show it. */
async function explained(broken: Broken, plan: Plan, trial: Trial): Promise<Broken> {
  if (broken.law === 'limits') return simplest(broken, [plan], trial)
  // What is disturbed comes in another order as well.
  for (const calm of [calmed(plan), reversed]) {
    const order = await tried('order', { ...broken, plan: calm }, trial)
    if (order) return simplest(order, [reversed, calm], trial)
  }
  return simplest(broken, [plan], trial)
}

/** As few events as possible, and as simple, of which the same law is broken by one of the plans. */
async function simplest(broken: Broken, plans: readonly Plan[], trial: Trial): Promise<Broken> {
  let best = broken
  let left = simplerMax
  for (let found = true; found && left > 0;) {
    found = false
    for (const samples of simplerCases(best.samples, trial.samples)) {
      if (left-- <= 0) break
      const still = await triedAll(best.law, { samples, plans }, trial)
      if (still === undefined) continue
      best = still
      found = true
      break
    }
  }
  return best
}

async function triedAll(
  law: LawName,
  { samples, plans }: { samples: readonly Sample[]; plans: readonly Plan[] },
  trial: Trial,
): Promise<Broken | undefined> {
  const once = await execute(samples, undisturbed, trial)
  for (const plan of plans) {
    const broken = await tried(law, { samples, plan, once }, trial)
    if (broken) return broken
  }
  return undefined
}

function* simplerCases(samples: readonly Sample[], source: Samples): Generator<readonly Sample[]> {
  if (samples.length > 2) {
    yield samples.slice(0, samples.length >> 1)
    yield samples.slice(samples.length >> 1)
  }
  if (samples.length > 1) for (const index of samples.keys()) yield samples.toSpliced(index, 1)
  const punctual = source.punctual(samples)
  if (punctual.some(({ time }, index) => time !== samples[index]?.time)) yield punctual
  for (const [index, sample] of samples.entries())
    for (const one of source.simpler(sample)) yield samples.with(index, one)
}

function lawBroken(broken: Broken, { consumer }: Trial, seed: number): TidegateError {
  const { here } = broken
  const failing = Object.keys({ ...here.letters, ...here.waiting }).map((id) => failureText(here, id))
  return new TidegateError('LAW_BROKEN', {
    message: brokenText(consumer.group, broken, { seed, failing }),
    retryable: false,
    hint: `laws({ seed: ${seed} }) shows it again; docs/CONSUMERS.md, "The laws", says what to do about each`,
  })
}

function lawVacuous({ consumer }: Trial, runs: number): TidegateError {
  return new TidegateError('LAW_VACUOUS', {
    message: `nothing is shown of consumer ${consumer.group}: the events of ${runs} cases changed no table, became no dead letter and did not show in outside`,
    retryable: false,
    hint: 'name its tables with the option sql of testConsumer, or what it does elsewhere with outside; give data on which it acts with samples; if it is to do nothing, laws({ mayDoNothing: true })',
  })
}
