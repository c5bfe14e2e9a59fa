import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { TidegateError } from '../../src/errors.ts'
import { untilSignal } from '../../src/lifecycle.ts'
import {
  readSchemaFolder,
  readSchemas,
  type SchemaFolder,
  usableSchemaFolder,
} from '../../src/schemas/folder.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { registryOf } from '../../src/schemas/registry.ts'
import { noUpcasts, type Upcasts } from '../../src/schemas/upcast/chain.ts'
import { loadUpcasts } from '../../src/schemas/upcast/folder.ts'
import { wholeNumber } from '../../src/settings/command-line.ts'
import { didYouMean } from '../../src/settings/nearest.ts'
import { visible } from '../../src/visible.ts'
import { askingForDatabase, type DatabaseChoice, schemasChosen } from '../database-choice.ts'
import { addTypes } from '../typing/command.ts'
import { addVersion, type AddOptions } from './adding.ts'
import { askingForRegistry, type RegistryChoice, withRegistry } from './apply/choosing.ts'
import { addApply } from './apply/command.ts'
import { besideEachOther, besideText } from './apply/list.ts'
import { checkFolder, compareVersions, type Direction, versionsOf } from './checks.ts'
import { checkStored } from './gate/check-stored.ts'
import { settledBy } from './gate/settled.ts'
import { gateText } from './gate/told.ts'
import { addSnapshots } from './snapshots.ts'
import { addViews } from './views/command.ts'
import { checkedText, comparisonText, differenceText, noteOf } from './told.ts'

const examples = `
Examples:
  tidegate schema check
  tidegate schema check --stored --config cloud.yaml
  tidegate schema diff com.acme.climate 1 2
  tidegate schema add com.acme.climate climate-new.json
  tidegate schema apply --reason 'rooms have a humidity' --key registry.key --config cloud.yaml
  tidegate schema list --json
  tidegate schema snapshot --key registry.pem --out schemas.snapshot
  tidegate schema types --check
  tidegate schema views --config cloud.yaml

Exit codes: 0 nothing found, 1 something found, 2 the command line cannot be read.`

interface Choice {
  folder: string
  json?: boolean
}

interface ComparingChoice extends Choice {
  formats: Formats
}

/** Where it says what it found; a test listens itself. */
export interface SchemaCommandParts {
  say?: (text: string) => void
  /** Something was found: the exit code is 1. */
  onFound?: () => void
  /** Ends what takes long; by default with the process. */
  until?: () => AbortSignal
}

type Parts = Required<SchemaCommandParts>

/** `tidegate schema` */
export function registerSchemaCommand(
  program: Command,
  {
    say = print,
    onFound = () => (process.exitCode = 1),
    until = () => untilSignal(process),
  }: SchemaCommandParts = {},
): void {
  const parts = { say, onFound, until }
  const schema = program
    .command('schema')
    .description('event types and their versions: what is there, and whether versions understand each other')
    .addHelpText('after', examples)
  addCheck(schema, parts)
  addDiff(schema, parts)
  addAdd(schema, parts)
  addList(schema, parts)
  addApply(comparing(schema.command('apply')), parts)
  addSnapshots(schema, say)
  addTypes(schema)
  addViews(schema, say)
}

function taking(command: Command): Command {
  return command
    .option('--folder <folder>', 'the folder of schemas', 'schemas')
    .option('--json', 'one JSON object, for programs')
}

/** What compares reads formats as the sides do. */
function comparing(command: Command): Command {
  return taking(command).addOption(
    new Option('--formats <formats>', 'whether format checks anything, as schemas.formats says of both sides')
      .choices(['checked', 'annotation'])
      .default('checked'),
  )
}

function addCheck(schema: Command, { say, onFound }: Parts): void {
  askingForDatabase(comparing(schema.command('check')))
    .description(
      'hold the files to schemas.lock, and each newest version to those before it, by the mode of its type',
    )
    .argument('[types...]', 'these types alone')
    .option('--all', 'every version, not the newest and what is not in the lock yet')
    .option('--strict', 'count what breaks only data with names that nobody described')
    .option('--stored', 'hold what is stored, in history and among open dead letters, against them as well')
    .action(async (types: string[], given: CheckChoice, command: Command) => {
      if (!given.stored && (given.config ?? given.database) !== undefined)
        command.error('error: --config and --database are for --stored', { exitCode: 2 })
      const options = asConfigured(given, command)
      const folder = readSchemaFolder(options.folder, options.formats)
      for (const type of types) knownType(folder, type, command)
      const { upcasts, fault } = await upcastsOf(folder)
      const faults = fault === undefined ? folder.faults : [...folder.faults, fault]
      const compared = checkFolder({ ...folder, faults }, types, { ...options, upcasts })
      // With files that cannot be used nobody can say what they would make of anything.
      const stored =
        options.stored && faults.length === 0
          ? await checkStored(options, folder, compared, { formats: options.formats, upcasts })
          : undefined
      const checked = stored ? settledBy(compared, stored, options.strict === true) : compared
      const unread =
        options.stored && stored === undefined
          ? ['stored: not looked at: with files that are at fault nobody can say what they would make of it']
          : []
      if (options.json) say(JSON.stringify({ ...checked, ...(stored && { stored }) }))
      else say([checkedText(checked), ...(stored ? [gateText(stored)] : unread)].join('\n'))
      if (!checked.ok || stored?.ok === false) onFound()
    })
}

/** What the command line does not say, the configuration may. */
function asConfigured(options: CheckChoice, command: Command): CheckChoice {
  const isSaid = (name: string): boolean => command.getOptionValueSource(name) !== 'default'
  const { folder = options.folder, formats = options.formats } = schemasChosen(options)
  return {
    ...options,
    folder: isSaid('folder') ? options.folder : folder,
    formats: isSaid('formats') ? options.formats : formats,
  }
}

interface CheckChoice extends ComparingChoice, DatabaseChoice {
  all?: boolean
  stored?: boolean
  strict?: boolean
}

/** What brings data forward; what is wrong with it is told with the rest. */
async function upcastsOf({ source, types }: SchemaFolder): Promise<{ upcasts: Upcasts; fault?: string }> {
  try {
    return { upcasts: await loadUpcasts(source, registryOf(types)) }
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    return { upcasts: noUpcasts, fault: error.message }
  }
}

function addDiff(schema: Command, { say, onFound }: Parts): void {
  comparing(schema.command('diff'))
    .description('what one version of a type lets pass and another does not, each way')
    .argument('<type>', 'the event type')
    .argument('<earlier>', 'a version', wholeNumber())
    .argument('<later>', 'another', wholeNumber())
    .action((type: string, earlier: number, later: number, options: ComparingChoice, command: Command) => {
      const folder = usableSchemaFolder(options.folder, options.formats)
      const stored = knownType(folder, type, command)
      for (const version of [earlier, later])
        if (!stored.versions.has(version))
          command.error(`error: ${type} has no version ${version}; it has ${versionsOf(stored).join(', ')}`, {
            exitCode: 2,
          })
      const ways = (['BACKWARD', 'FORWARD'] as const).map((direction) => ({
        direction,
        ...compareVersions(stored, { version: later, against: earlier, direction }, options.formats),
      }))
      if (options.json) say(JSON.stringify({ type, earlier, later, ways }))
      else say(ways.map((way) => wayText(way, earlier, later)).join('\n'))
      if (ways.some(({ answer }) => answer !== 'compatible')) onFound()
    })
}

function wayText(
  { direction, answer, findings }: { direction: Direction } & ReturnType<typeof compareVersions>,
  earlier: number,
  later: number,
): string {
  const [writer, reader] = direction === 'BACKWARD' ? [earlier, later] : [later, earlier]
  const first = `${direction}: what version ${writer} accepts is ${answer === 'compatible' ? 'all' : answer === 'unknown' ? 'perhaps not all' : 'not all'} accepted by version ${reader}`
  return [first, ...findings.map((finding) => differenceText(direction, finding, earlier, later))].join('\n')
}

function addAdd(schema: Command, { say, onFound }: Parts): void {
  comparing(schema.command('add'))
    .description('write the next version of a type, if its mode allows it, and put it into schemas.lock')
    .argument('<type>', 'the event type')
    .argument('[file]', 'the schema; left out, or already in its place: what is there is put into the lock')
    .option('--strict', 'count what breaks only data with names that nobody described')
    .option(
      '--as-published',
      'what is there was in use before there was a lock: it is not judged, and type.yaml says so',
    )
    .action(async (type: string, file: string | undefined, options: AddOptions & ComparingChoice) => {
      const { checked, added, isAdded } = await addVersion(options.folder, type, file, options)
      if (options.json) say(JSON.stringify({ ok: isAdded, added, checked }))
      else {
        const told = checked.comparisons.flatMap((one) => [
          ...(one.findings.length > 0 ? [comparisonText(one)] : []),
          ...noteOf(one),
        ])
        const verdict = isAdded
          ? added.length === 0
            ? 'nothing to add: schemas.lock has it all'
            : `added: ${added.join(', ')}`
          : 'not added: nothing was written (what was in use before there was a lock: --as-published)'
        say([...told, verdict].join('\n'))
      }
      if (!isAdded) onFound()
    })
}

function addList(schema: Command, { say }: Parts): void {
  askingForRegistry(taking(schema.command('list')))
    .description(
      'the event types of a folder, their versions, modes and owners; or what a registry has beside it',
    )
    .action(async (options: Choice & RegistryChoice) => {
      const { config, database, api } = options
      if ([config, database, api].some((one) => one !== undefined)) return listBeside(options, say)
      const folder = usableSchemaFolder(options.folder)
      const types = [...folder.types].map(([type, stored]) => {
        const { compatibility, owner, description, retired } = stored.settings
        const versions = versionsOf(stored)
        const unlocked = versions.filter((version) => !folder.lock?.has(`${type}/${version}.json`))
        return { type, versions, retired, unlocked, compatibility, owner, description }
      })
      if (options.json) say(JSON.stringify({ types }))
      else say(types.map(typeText).join('\n'))
    })
}

/** Of a folder that is not there, the registry alone. */
async function listBeside(options: Choice & RegistryChoice, say: Parts['say']): Promise<void> {
  const folder = existsSync(options.folder)
    ? usableSchemaFolder(options.folder)
    : readSchemas({ name: options.folder, files: new Map(), faults: [], moduleAt: () => undefined })
  const entering = {
    formats: 'checked' as const,
    moduleAt: folder.source.moduleAt,
    signal: new AbortController().signal,
  }
  const listing = await withRegistry(options, entering, (door) => door.list())
  const files = besideEachOther(listing, folder)
  const { revision, digest } = listing
  say(options.json ? JSON.stringify({ revision, digest, files }) : besideText(listing, files))
}

function typeText(one: {
  type: string
  versions: readonly number[]
  retired: readonly number[]
  unlocked: readonly number[]
  compatibility: string
  owner: string | undefined
}): string {
  const versions = one.versions.map(
    (version) =>
      `${version}${one.retired.includes(version) ? ' (retired)' : ''}${one.unlocked.includes(version) ? ' (not in the lock)' : ''}`,
  )
  return `${one.type}  ${versions.join(', ')}  ${one.compatibility}${one.owner === undefined ? '' : `  ${one.owner}`}`
}

function knownType(folder: SchemaFolder, type: string, command: Command) {
  const stored = folder.types.get(type)
  if (stored) return stored
  return command.error(
    `error: there is no type ${visible(type)}${didYouMean(type, [...folder.types.keys()])}`,
    { exitCode: 2 },
  )
}

function print(text: string): void {
  process.stdout.write(`${visible(text)}\n`)
}
