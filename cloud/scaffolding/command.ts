import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { TidegateError } from '../../src/errors.ts'
import { eventTypePattern } from '../../src/contract/event.ts'
import { loadSchemas } from '../../src/schemas/folder.ts'
import { noSchemas, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { didYouMean } from '../../src/settings/nearest.ts'
import { documentOf } from '../testing/laws/documents.ts'
import { seeded } from '../testing/laws/random.ts'
import { filesOf, type NewConsumer, tsconfig } from './templates.ts'

interface NewOptions {
  type?: string
  schemas: string
  in: string
  js?: true
  runner?: NewConsumer['runner']
}

const groupPattern = /^[a-z][a-z0-9-]{0,31}$/
const tsconfigName = 'tsconfig.json'
const typeDefault = 'com.acme.climate'

/** `tidegate new consumer NAME`. */
export function registerNewCommand(program: Command): void {
  program
    .command('new')
    .description('begin something of your own')
    .command('consumer')
    .description('write a consumer: its module, the SQL of its tables, and a test that runs')
    .argument('<name>', 'its group: small letters, digits and -')
    .option('--type <type>', 'the events that it takes (default: the first of the schemas)')
    .option('--schemas <folder>', 'the folder of schemas', 'schemas')
    .option('--in <folder>', 'where to write', '.')
    .option('--js', 'JavaScript in place of TypeScript')
    .addOption(
      new Option('--runner <runner>', 'what runs the test (default: vitest if the project has it)').choices([
        'vitest',
        'node',
      ]),
    )
    .action((name: string, options: NewOptions) => writeConsumer(name, options))
}

/** @throws TidegateError `OPTIONS_INVALID` | `SCHEMA_FOLDER` */
function writeConsumer(group: string, options: NewOptions): void {
  if (!groupPattern.test(group))
    throw unusable(`${JSON.stringify(group)} is no name of a group`, `it must match ${groupPattern.source}`)
  const schemas = existsSync(options.schemas) ? loadSchemas(options.schemas) : noSchemas
  const type = options.type ?? schemas.types[0] ?? typeDefault
  if (!eventTypePattern.test(type))
    throw unusable(`${JSON.stringify(type)} is no event type`, 'a type is such as com.acme.climate')
  if (options.type !== undefined && schemas.types.length > 0 && !schemas.types.includes(type))
    throw unusable(
      `${options.schemas} has no schema of ${type}${didYouMean(type, schemas.types)}`,
      'name one that it has, or add its schema first',
    )
  const runner = options.runner ?? runnerHere()
  const isUnread = runner === 'node' && !readsTypeScript()
  const language = options.js || isUnread ? 'js' : 'ts'
  const files = filesOf({ group, type, schema: schemaOf(type, schemas, options.schemas), language, runner })
  const paths = Object.keys(files).map((name) => join(options.in, name))
  const there = paths.filter((path) => existsSync(path))
  if (there.length > 0)
    throw unusable(`${there.join(', ')} is there already`, 'choose another name, or another folder with --in')
  mkdirSync(options.in, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(options.in, name), text)
  const configured = ['.', options.in].some((folder) => existsSync(join(folder, tsconfigName)))
  const isNew = language === 'ts' && !configured
  if (isNew) writeFileSync(tsconfigName, tsconfig)
  const written = isNew ? [...paths, tsconfigName] : paths
  const needs = [
    '@electric-sql/pglite',
    ...(language === 'ts' ? ['typescript', '@types/node'] : []),
    ...(runner === 'vitest' ? ['vitest'] : []),
  ]
  const why = isUnread && !options.js ? `${unread}\n` : ''
  process.stdout.write(`${written.join('\n')}\n\n${why}${needed(needs)}`)
}

/** Whether this Node runs a test that is written in TypeScript: from 22.18 on. */
function readsTypeScript(): boolean {
  return 'typescript' in process.features && Boolean(process.features.typescript)
}

const unread = `JavaScript, since Node ${process.version} runs no test that is in TypeScript: with vitest (--runner vitest) or Node 22.18
it is TypeScript.
`

/** What a project of consumers needs is on no registry. */
function needed(others: readonly string[]): string {
  return `The test needs @tidegate/consumer, which is on no registry yet: \`npm run pack:consumer\`
in a checkout of Tidegate makes its tarball, and says where. Then, if they are not installed:

  npm install --save-dev TARBALL ${others.join(' ')}
`
}

function schemaOf(type: string, schemas: SchemaRegistry, folder: string): NewConsumer['schema'] {
  const version = schemas.latest(type)
  if (version === undefined) return undefined
  const schema = JSON.parse(readFileSync(join(folder, type, `${version}.json`), 'utf8')) as unknown
  const random = seeded(1)
  const tried = Array.from({ length: 200 }, () => documentOf(schema, random))
  const valid = tried.filter((data) => schemas.faults(type, version, data).length === 0)
  return { version, example: valid.toSorted((a, b) => lengthOf(a) - lengthOf(b))[0] ?? {} }
}

function lengthOf(data: unknown): number {
  return JSON.stringify(data).length
}

function runnerHere(): NewConsumer['runner'] {
  try {
    const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Readonly<
      Record<string, object | undefined>
    >
    return 'vitest' in { ...dependencies, ...devDependencies } ? 'vitest' : 'node'
  } catch {
    return 'node'
  }
}

function unusable(message: string, hint: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', { message, retryable: false, hint })
}
