import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { InvalidArgumentError } from 'commander'
import { messageOf } from '../src/errors.ts'
import { createScope, type Scope } from '../src/lifecycle.ts'
import { programOf, wholeNumber } from '../src/settings/command-line.ts'
import { prepareAttacks } from './cases/attacks.ts'
import { prepareConnack } from './cases/connack.ts'
import { prepareConsume } from './cases/consume.ts'
import { prepareDrain } from './cases/drain.ts'
import { prepareEndToEnd } from './cases/end-to-end/end-to-end.ts'
import { prepareIngest } from './cases/ingest.ts'
import { prepareLatency } from './cases/latency.ts'
import { prepareOutbox } from './cases/outbox.ts'
import { prepareRestart } from './cases/restart.ts'
import { prepareWriteAmplification } from './cases/write-amplification.ts'
import { pageOf } from './page/performance.ts'
import { reportOf } from './page/terminal.ts'
import type { Prepare, Product } from './run/case.ts'
import { type CaseName, catalogue, type CatalogueEntry } from './run/catalogue.ts'
import { closeOnSignal } from './run/signal.ts'
import { checkOut, revisionHere } from './run/checkout.ts'
import { thisMachine } from './run/machine.ts'
import { type CaseResult, mergeResults, readResults, type Results, subjectsOf } from './run/results.ts'
import { inTurns } from './run/rounds.ts'
import { thisCheckout } from './run/worker.ts'

const prepares: Readonly<Record<CaseName, Prepare>> = {
  ingest: prepareIngest,
  latency: prepareLatency,
  outbox: prepareOutbox,
  connack: prepareConnack,
  restart: prepareRestart,
  drain: prepareDrain,
  consume: prepareConsume,
  'end-to-end': prepareEndToEnd,
  'write-amplification': prepareWriteAmplification,
  attacks: prepareAttacks,
}

interface Options {
  rounds: number
  full: boolean
  json?: string
  write?: true
  against?: string
}

const say = (line: string): void => console.log(line)
const names = catalogue.map(({ name }) => name)
const resultsFile = join(thisCheckout.root, 'bench/results.json')

const program = programOf(
  'npm run bench --',
  'Measures Tidegate against references, in turns, on this machine.',
)
  .argument('[names...]', `what to measure: ${names.join(', ')} (default: all but attacks)`, nameOf)
  .option('--rounds <count>', 'turns of each subject', wholeNumber({ max: 1000 }), 3)
  .option('--full', 'go to the sizes that take their time', false)
  .option('--json <file>', 'write what was measured there, in the form of bench/results.json')
  .option('--write', 'take it into bench/results.json, and write docs/PERFORMANCE.md from that')
  .option(
    '--against <name>',
    `compare with another revision, which is built for it: ${names.filter((name) => entryOf(name).against).join(', ')}`,
  )
  .action(bench)
program
  .command('page')
  .description('write docs/PERFORMANCE.md from bench/results.json as it is')
  .action(() => writePage())
await program.parseAsync()
// A case that failed may have left a client behind that dials for ever.
process.exit()

function nameOf(name: string, former: CaseName[] = []): CaseName[] {
  if (!isCase(name)) throw new InvalidArgumentError(`There are ${names.join(', ')}.`)
  return [...former, name]
}

function isCase(name: string): name is CaseName {
  return names.some((one) => one === name)
}

function entryOf(name: CaseName): CatalogueEntry {
  return catalogue.find((entry) => entry.name === name) as CatalogueEntry
}

async function bench(asked: CaseName[], options: Options): Promise<void> {
  const { against } = options
  if (against !== undefined && options.write)
    program.error('error: --write keeps what this checkout shows, without --against')
  const chosen = names
    .filter((name) => (asked.length === 0 ? !entryOf(name).onlyByName : asked.includes(name)))
    .filter((name) => against === undefined || entryOf(name).against)
  if (chosen.length === 0) program.error('error: none of these can be compared with another revision')
  const dir = mkdtempSync(join(process.env['TIDEGATE_BENCH_DIR'] ?? tmpdir(), 'tidegate-bench-'))
  // PostgreSQL runs as a user of its own, who must come through.
  chmodSync(dir, 0o711)
  const scope = createScope()
  closeOnSignal(scope, dir)
  try {
    const products = [
      thisCheckout,
      ...(against === undefined ? [] : [checkOut(against, { dir, scope, say })]),
    ]
    const results: CaseResult[] = []
    for (const name of chosen) {
      const result = await measure(entryOf(name), {
        products,
        dir: join(dir, name),
        scope: scope.own(createScope()),
        options,
      }).catch((error: unknown) => {
        console.error(`${name}: ${messageOf(error)}`)
        process.exitCode = 1
      })
      if (!result) continue
      say(reportOf(entryOf(name), result))
      results.push(result)
    }
    if (options.json !== undefined) writeFileSync(options.json, textOf({ version: 1, cases: results }))
    if (options.write) {
      writeFileSync(resultsFile, textOf(mergeResults(formerResults(), results, names)))
      writePage()
    }
  } finally {
    await scope.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

interface Measure {
  products: Product[]
  dir: string
  scope: Scope
  options: Options
}

async function measure(
  { name }: CatalogueEntry,
  { products, dir, scope, options: { rounds, full } }: Measure,
): Promise<CaseResult> {
  const machine = thisMachine()
  say(`\n${name}`)
  mkdirSync(dir, { mode: 0o711 })
  try {
    const subjects = await prepares[name]({ products, full, dir, scope, say })
    const taking = subjects.filter(({ product }) => products.length === 1 || product !== undefined)
    const measured = await inTurns(taking, { rounds, say, settle: writeBack })
    return {
      name,
      measuredAt: new Date().toISOString(),
      revision: revisionHere(),
      full,
      rounds,
      machine,
      subjects: subjectsOf(measured),
    }
  } finally {
    await scope.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Has the kernel write what lies in its cache. */
function writeBack(): Promise<unknown> {
  return promisify(execFile)('sync')
}

function formerResults(): Results {
  try {
    return readResults(readFileSync(resultsFile, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { version: 1, cases: [] }
    throw error
  }
}

function writePage(): void {
  const docs = join(thisCheckout.root, 'docs')
  rmSync(join(docs, 'performance'), { recursive: true, force: true })
  for (const [path, text] of pageOf(readResults(readFileSync(resultsFile, 'utf8')))) {
    mkdirSync(dirname(join(docs, path)), { recursive: true })
    writeFileSync(join(docs, path), text)
  }
  say('docs/PERFORMANCE.md is written')
}

/** The values of the rounds in one line each. */
function textOf(results: object): string {
  const text = JSON.stringify(results, undefined, 2)
  return `${text.replaceAll(/\[[\s\d.,e+-]+\]/g, (values) => values.replaceAll(/\s+/g, ' '))}\n`
}
