import { readFileSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { eventsFileOf } from './events-file.ts'

interface TypesOptions {
  folder: string
  out: string
  check?: true
}

/** `tidegate schema types`. */
export function addTypes(schema: Command): void {
  schema
    .command('types')
    .description('write the TypeScript types of events, from their schemas')
    .option('--folder <folder>', 'the folder of schemas', 'schemas')
    .option('--out <file>', 'where to write', 'tidegate-events.d.ts')
    .option('--check', 'write nothing; exit 1 unless the file is as it would be written')
    .action((options: TypesOptions) => writeTypes(options))
}

/** @throws TidegateError `SCHEMA_FOLDER` | `TYPES_OUTDATED` | `TYPES_UNWRITABLE` */
function writeTypes({ folder, out, check }: TypesOptions): void {
  const { text, types, versions } = eventsFileOf(folder)
  const about = `${types} types in ${versions} versions`
  if (check) {
    if (read(out) !== text) throw outdated(out, folder)
    process.stdout.write(`${out} is as the schemas are: ${about}\n`)
    return
  }
  try {
    writeFileSync(out, text)
  } catch (cause) {
    throw new TidegateError('TYPES_UNWRITABLE', {
      message: `cannot write ${out}: ${messageOf(cause)}`,
      retryable: false,
      hint: 'name a file that can be written with --out',
      cause,
    })
  }
  process.stdout.write(`${out}: ${about}\n`)
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function outdated(out: string, schemas: string): TidegateError {
  return new TidegateError('TYPES_OUTDATED', {
    message: `${out} is not what the schemas in ${schemas} make of it`,
    retryable: false,
    hint: 'run tidegate schema types, and commit what it writes',
  })
}
