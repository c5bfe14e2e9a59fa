import { randomUUID } from 'node:crypto'
import { type Command, Option } from 'commander'
import { explain, TidegateError } from '../../../src/errors.ts'
import { readSchemaFolder, type SchemaFolder } from '../../../src/schemas/folder.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import { loadSnapshotSigner } from '../../../src/schemas/snapshot.ts'
import { visible } from '../../../src/visible.ts'
import { exitCodes } from '../../tool/session.ts'
import { RefusedByApi } from '../../tool/client.ts'
import { keyOf } from '../../tool/readers.ts'
import { lockFindings } from '../checks.ts'
import type { ApplyWish } from './apply.ts'
import { askingForRegistry, type RegistryChoice, withRegistry } from './choosing.ts'
import type { Door } from './door.ts'
import { doneText, verdictText } from './told.ts'

export interface ApplyChoice extends RegistryChoice {
  folder: string
  formats: Formats
  strict?: boolean
  /** The file of the private key. */
  key?: string
  dryRun?: boolean
  reason?: string
  deed?: string
  json?: boolean
}

interface Parts {
  say: (text: string) => void
  onFound: () => void
  until: () => AbortSignal
}

/** `tidegate schema apply` */
export function addApply(apply: Command, parts: Parts): void {
  askingForRegistry(apply)
    .description('publish what a folder has and the registry of a cloud has not')
    .argument('[types...]', 'these types alone')
    .option('--strict', 'count what breaks only data with names that nobody described')
    .option('--key <file>', 'sign the state that comes of it for gateways: a private key of Ed25519, PEM')
    .option('--reason <text>', 'why; it is on record')
    .option('--dry-run', 'say what would be done, and do nothing')
    .addOption(
      new Option('--deed <uuid>', 'the idempotency key, of one whose answer was lost').argParser(keyOf),
    )
    .action((types: string[], options: ApplyChoice) => refusing(() => applyFolder(types, options, parts)))
}

async function applyFolder(
  types: string[],
  options: ApplyChoice,
  { say, onFound, until }: Parts,
): Promise<void> {
  const { dryRun, json, formats } = options
  const key = options.key === undefined ? undefined : loadSnapshotSigner(options.key)
  const reason = reasonOf(options)
  const folder = readSchemaFolder(options.folder, formats)
  refuseFaulty(folder, types)
  const wish: Omit<ApplyWish, 'sign'> = { files: folder.source.files, types, strict: options.strict ?? false }
  const entering = { formats, moduleAt: folder.source.moduleAt, signal: until() }
  await withRegistry(options, entering, async (door: Door) => {
    const verdict = await door.judge(wish)
    // Of one that is asked for again nothing may be left to do, and its answer is still owed.
    const isAsked = verdict.changes.length > 0 || key !== undefined || options.deed !== undefined
    const isToDo = verdict.ok && !dryRun && isAsked
    const deed = options.deed ?? randomUUID()
    const done = isToDo ? await door.apply(wish, { reason, deed, key }) : undefined
    if (json) say(JSON.stringify({ ...verdict, done: done && pick(done) }))
    else say([verdictText(verdict), doneText(verdict, done)].join('\n'))
    if (!verdict.ok) onFound()
  })
}

type Done = Awaited<ReturnType<Door['apply']>>

const pick = ({ revision, digest, isSigned }: Done): Done => ({ revision, digest, isSigned })

/** What is not as its own lock says, or cannot be used, goes nowhere. @throws TidegateError `SCHEMA_FOLDER` */
function refuseFaulty(folder: SchemaFolder, types: readonly string[]): void {
  const isMeant = (file: string): boolean => types.length === 0 || types.includes(file.split('/', 1)[0] ?? '')
  const { unlocked, missing } = lockFindings(folder)
  const unknown = types.filter((type) => !folder.types.has(type)).map((type) => `${type}: is not there`)
  const faults = [
    ...folder.faults,
    ...unknown,
    ...(folder.lock === undefined
      ? []
      : unlocked.filter(isMeant).map((file) => `${file}: is not in schemas.lock yet: tidegate schema add`)),
    ...missing.filter(isMeant).map((file) => `${file}: is in schemas.lock and not on the disk`),
  ]
  if (faults.length === 0) return
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${folder.source.name} cannot be published:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    retryable: false,
    hint: 'tidegate schema check says the same and more',
  })
}

/** @throws TidegateError `OPTIONS_INVALID` */
function reasonOf({ reason, dryRun }: ApplyChoice): string {
  if (dryRun) return reason ?? 'dry run'
  if (reason !== undefined && reason.trim() !== '') return reason
  throw new TidegateError('OPTIONS_INVALID', {
    message: 'this changes something, and needs a reason',
    retryable: false,
    hint: '--reason "why": it is on record, with who and when; or look first: --dry-run',
  })
}

/** What the API refuses ends with 3, a command line that is not understood with 2. */
async function refusing(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    const isRefused = error instanceof RefusedByApi && error.status < 500
    const isNotUnderstood = error instanceof TidegateError && error.code === 'OPTIONS_INVALID'
    if (!isRefused && !isNotUnderstood) throw error
    process.stderr.write(`${visible(explain(error))}\n`)
    process.exitCode = isRefused ? exitCodes.refused : exitCodes.notUnderstood
  }
}
