import type { Command } from 'commander'
import { systemClock } from '../../../src/clock.ts'
import { durationOf } from '../../../src/settings/command-line.ts'
import { visible } from '../../../src/visible.ts'
import { addAcceptCommand } from '../../deeds/accept-command.ts'
import { askingForDatabase, openChosenDatabase } from '../../database-choice.ts'
import type { Database } from '../../database/database-postgres.ts'
import type { Registry } from '../../gateways/registry.ts'
import type { LedgerReport } from '../ledger.ts'
import { addToSummary, emptySummary, formatLedger, formatSummary, headText } from '../report.ts'
import { formatDuplicate } from './duplicates.ts'
import { expectedOf, ledgersOf, readExpected } from './expected.ts'
import { checkOptions, notTogether, type Options } from './options.ts'
import type { MarksKey } from './marks-file.ts'
import type { MarksLock } from './lock.ts'
import type { Mark } from './marks.ts'

/** `tidegate audit` */
export function registerAuditCommand(program: Command): void {
  const audit = askingForDatabase(program.command('audit'))
  addAcceptCommand(audit)
  addKeyCommand(audit)
  audit
    .description('prove per gateway that history is complete and untouched; exit code 1 if it is not')
    .option('-g, --gateway <name>', 'only this gateway')
    .option(
      '--settle <duration>',
      'take gaps younger than this as still on the way: reported, and no alarm',
      durationOf({ min: '0s' }),
    )
    .option(
      '--marks <file>',
      'go on from the marks in it, and write new ones, with --key; what stands in front of them is read with --full alone',
    )
    .option(
      '--key <file>',
      'with --marks: the key of “tidegate audit key”; FILE.pub verifies, and makes no marks',
    )
    .option('--full', 'with --marks: read everything; the first time, and now and then')
    .option(
      '--forget <ledger...>',
      'with --marks: of these (GATEWAY/EPOCH) make new marks, though they are not as they were marked',
      ledgersOf,
    )
    .option(
      '--expect <head...>',
      'demand that it is still there: GATEWAY=EPOCH/SEQUENCE:CHAIN, as an audit prints it, or @FILE with such lines',
      expectedOf,
    )
    .option(
      '--heads <file>',
      'write the newest signed heads and the keys of the gateways, to be kept elsewhere',
    )
    .option('--against <file>', 'demand that the heads written to it before are still there')
    .option(
      '--trust <fingerprint...>',
      'with --against: keys that are registered, not in the file, and were compared at the gateway',
    )
    .option(
      '--duplicates',
      'only look for events that are stored twice, further apart than history.dedupWindow',
    )
    .option('--json', 'one JSON object, for programs')
    .action(async (options: Options) => {
      if (!(await runAudit(options))) process.exitCode = 1
    })
}

async function runAudit(options: Options): Promise<boolean> {
  const expected = await readExpected(options.expect ?? [])
  checkOptions(options, expected)
  const marks = await openMarks(options)
  try {
    const database = await openChosenDatabase(options, 'tidegate-audit')
    try {
      await database.probe()
      if (options.duplicates) return await listDuplicates(database, options)
      return await auditAll(database, options, { marks, expected })
    } finally {
      await database.close()
    }
  } finally {
    await marks?.lock?.release()
  }
}

/** `tidegate audit key` */
function addKeyCommand(audit: Command): void {
  audit
    .command('key')
    .description(
      'make the key that marks are signed with, in FILE, for this user alone, and FILE.pub to verify them',
    )
    .argument('<file>', 'where the database, and whoever writes it, cannot come')
    .action(async (file: string) => {
      const { makeMarksKey } = await import('./marks-file.ts')
      print(`${file}  SHA-256 ${await makeMarksKey(file)}`)
    })
}

interface OpenMarks {
  file: string
  key: MarksKey
  /** Who cannot write marks needs none. */
  lock: MarksLock | undefined
  before: Mark[]
}

/** @throws TidegateError `OPTIONS_INVALID` | `MARKS_KEY` | `MARKS_FILE` | `MARKS_LOCKED` */
async function openMarks({
  marks: file,
  key: keyFile,
  full,
  forget = [],
}: Options): Promise<OpenMarks | undefined> {
  if (file === undefined || keyFile === undefined) return undefined
  const { readMarks, readMarksKey } = await import('./marks-file.ts')
  const { lockMarks } = await import('./lock.ts')
  const { ledgerKey } = await import('../../deeds/acceptances.ts')
  const key = await readMarksKey(keyFile)
  const lock = key.privateKey && (await lockMarks(file))
  try {
    const before = await readMarks(file, key, { mayBegin: full === true })
    const marked = new Set(before.map(ledgerKey))
    const unknown = forget.find((name) => !marked.has(name))
    if (unknown !== undefined) throw notTogether(`--forget ${unknown}: there is no mark of it in ${file}`)
    return { file, key, lock, before }
  } catch (error) {
    await lock?.release()
    throw error
  }
}

async function auditAll(
  database: Database,
  options: Options,
  { marks, expected }: { marks: OpenMarks | undefined; expected: Awaited<ReturnType<typeof readExpected>> },
): Promise<boolean> {
  const { gateway, settle: settleMs, json, full: isFull = false, forget: forgotten = [] } = options
  const { auditDatabase } = await import('../audit-postgres.ts')
  const { markingIn } = await import('./marking-postgres.ts')
  const { HeadsToKeep, readHeads, writeHeads } = await import('../heads.ts')
  const trusted = options.trust ?? []
  const kept = options.against === undefined ? undefined : { ...(await readHeads(options.against)), trusted }
  const heads = new HeadsToKeep(kept)
  const nowMs = systemClock.now()
  const at = new Date(nowMs).toISOString()
  const marking = marks && markingIn({ marks: marks.before, isFull, forgotten, at })
  let registry: Registry | undefined
  const onRegistry = (read: Registry): void => void (registry = read)
  const summary = emptySummary()
  const ledgers: (LedgerReport & { head: string | null })[] = []
  const asked = { gateway, settleMs, kept, expected, marking, onRegistry, nowMs }
  for await (const report of auditDatabase(database, asked)) {
    addToSummary(summary, report)
    heads.add(report)
    if (json) ledgers.push({ ...report, head: headText(report) })
    else print(visible(formatLedger(report)))
  }
  print(json ? JSON.stringify({ ...summary, reports: ledgers }) : formatSummary(summary))
  const { privateKey } = marks?.key ?? {}
  const { writeMarks } = await import('./marks-file.ts')
  // The report comes first: what cannot be kept takes nothing of it.
  if (marks && marking && privateKey) {
    await marks.lock?.confirm()
    await writeMarks(marks.file, marking.made(), { privateKey, at })
  }
  if (options.heads !== undefined && registry) await writeHeads(options.heads, heads.of(registry))
  return summary.ok
}

async function listDuplicates(database: Database, { json }: Options): Promise<boolean> {
  const { findDuplicates } = await import('./duplicates-postgres.ts')
  let count = 0
  for await (const found of findDuplicates(database)) {
    count++
    print(json ? JSON.stringify(found) : visible(formatDuplicate(found)))
  }
  if (!json)
    print(
      count === 0
        ? 'no event is stored twice'
        : `${count.toLocaleString('en')} events are stored more than once`,
    )
  return count === 0
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
