import { parseArgs } from 'node:util'
import { playAll } from './crew.ts'
import { messageOf } from '../../src/errors.ts'
import { explain } from './explain.ts'
import { showMutations } from './mutation/mutate.ts'
import { makePlan, type Plan } from './plan/plan.ts'
import { progress, Tally } from './report.ts'
import { type Kept, reduced, type RunReport } from './runs.ts'
import { play } from './world.ts'

const usage = `npm run sim -- [options]

  --seeds N        how many runs (1000)
  --from N         the first seed (1)
  --jobs N         processes (2)
  --max-ms N       begin no run after so many ms
  --seed N         one run
  --trace          ... and everything that happened in it
  --sends 1,2,3    ... of whose sends only these are kept
  --faults 1,2     ... of whose faults only these are kept
  --mutations      break each mechanism on purpose; show which check notices
  --mutation NAME  ... only this one of mutations.ts
`

const worker = new URL('worker.js', import.meta.url)

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '2' },
      'max-ms': { type: 'string', default: '0' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      sends: { type: 'string' },
      faults: { type: 'string' },
      mutations: { type: 'boolean', default: false },
      mutation: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return 0
  }
  if (values.mutations || values.mutation !== undefined)
    return showMutations(Number(values.jobs), values.mutation)
  if (values.seed !== undefined) {
    const kept: Kept = { sends: numbers(values.sends), faults: numbers(values.faults) }
    return showOne(reduced(makePlan(Number(values.seed)), kept), values.trace)
  }
  return showMany({
    from: Number(values.from),
    seeds: Number(values.seeds),
    jobs: Number(values.jobs),
    maxMs: Number(values['max-ms']),
  })
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
  await playAll({ worker, jobs, seeds: range(from, seeds), onReport, stop: stop.signal })
  bar.end()
  process.stdout.write(`${tally.summary()}\n`)
  if (tally.failed[0]) await explain(tally.failed[0], (text) => process.stdout.write(text))
  return tally.failed.length === 0 ? 0 : 1
}

function numbers(text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined
  return text === 'none' ? [] : text.split(',').map(Number)
}

function* range(from: number, count: number): Generator<number> {
  for (let seed = from; seed < from + count; seed++) yield seed
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n${usage}`)
  process.exitCode = 2
}
