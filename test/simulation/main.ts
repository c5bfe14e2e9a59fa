import { openCrew } from './crew.ts'
import { messageOf } from '../../src/errors.ts'
import { listOf, programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { explain } from './explain.ts'
import { showMutations } from './mutation/mutate.ts'
import { makePlan, type Plan } from './plan/plan.ts'
import { progress, Tally } from './report.ts'
import { reduced, type RunReport } from './runs.ts'
import { play } from './world.ts'

interface Options {
  seeds: number
  from: number
  jobs: number
  maxMs?: number
  seed?: number
  trace: boolean
  sends?: number[]
  faults?: number[]
  mutations: boolean
  mutation?: string
}

const seedOf = wholeNumber({ min: 0 })

const options = programOf('npm run sim --', 'plays the deterministic simulation, or one run of it')
  .option('--seeds <count>', 'how many runs', wholeNumber(), 1000)
  .option('--from <number>', 'the first seed', seedOf, 1)
  .option('--jobs <count>', 'processes', wholeNumber({ max: 1000 }), 2)
  .option('--max-ms <number>', 'begin no run after so many ms', wholeNumber())
  .option('--seed <number>', 'one run', seedOf)
  .option('--trace', '... and everything that happened in it', false)
  .option('--sends <numbers>', '... of whose sends only these are kept: 1,2,3 or none', keptOf)
  .option('--faults <numbers>', '... of whose faults only these are kept: 1,2 or none', keptOf)
  .option('--mutations', 'break each mechanism on purpose; show which check notices', false)
  .option('--mutation <name>', '... only this one of mutations.ts')
  .parse()
  .opts<Options>()

async function main(): Promise<number> {
  const { seeds, from, jobs, maxMs = 0, seed, trace, sends, faults, mutations, mutation } = options
  if (mutations || mutation !== undefined) return showMutations(jobs, mutation)
  if (seed !== undefined) return showOne(reduced(makePlan(seed), { sends, faults }), trace)
  return showMany({ from, seeds, jobs, maxMs })
}

async function showOne(plan: Plan, trace: boolean): Promise<number> {
  const { violations, lines } = await play(plan)
  if (trace) process.stdout.write(`${lines.join('\n')}\n`)
  for (const { guarantee, detail } of violations) process.stdout.write(`${guarantee}: ${detail}\n`)
  process.stdout.write(`seed ${plan.seed}: ${violations.length} violations\n`)
  return violations.length === 0 ? 0 : 1
}

interface Many {
  from: number
  seeds: number
  jobs: number
  maxMs: number
}

async function showMany({ from, seeds, jobs, maxMs }: Many): Promise<number> {
  const tally = new Tally()
  const bar = progress(process.stdout)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const onReport = (report: RunReport): void => {
    tally.add(report)
    for (const { guarantee, detail } of report.violations.slice(0, 1)) {
      bar.end()
      process.stdout.write(`seed ${report.seed} breaks ${guarantee}: ${detail}\n`)
    }
    if (tally.failed.length >= 5 || (maxMs > 0 && tally.seconds * 1000 >= maxMs)) stop.abort()
    bar.show(tally.line(seeds))
  }
  const crew = openCrew(jobs)
  try {
    await crew.playAll({ seeds: range(from, seeds), onReport, stop: stop.signal })
  } finally {
    crew.close()
  }
  bar.end()
  process.stdout.write(`${tally.summary()}\n`)
  if (tally.failed[0]) await explain(tally.failed[0], (text) => process.stdout.write(text))
  return tally.failed.length === 0 ? 0 : 1
}

/** The numbers of what is kept of a plan. */
function keptOf(text: string): number[] {
  return text === 'none' ? [] : listOf(wholeNumber({ min: 0 }))(text)
}

function* range(from: number, count: number): Generator<number> {
  for (let seed = from; seed < from + count; seed++) yield seed
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 2
}
