import { TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { loadSchemas } from '../../src/schemas/folder.ts'
import { noSchemas, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { noUpcasts, type Upcasts } from '../../src/schemas/upcast/chain.ts'
import { loadUpcasts } from '../../src/schemas/upcast/folder.ts'
import { createReadAs, type ReadAs } from '../../src/schemas/upcast/read-as.ts'
import { noSchemaCheck, type SchemaCheck, schemaCheck } from './schema-check.ts'
import { UnknownSchemas } from './unknown-schemas.ts'

/** What events are checked against, and how whoever asks for a version of one gets it. */
export interface Schemas {
  registry: SchemaRegistry
  /** Of what comes from gateways: a version that is not known here is taken as it was recorded. */
  check: SchemaCheck
  /** Of what a person makes here: nobody else has checked it. */
  checkStrictly: SchemaCheck
  readAs: ReadAs
  unknown: UnknownSchemas
}

export interface SchemasOptions {
  folder?: string | undefined
  unchecked: 'accept' | 'reject'
  formats: Formats
  log: Logger
}

/** Without a folder nothing is checked, and no version can be asked for. @throws TidegateError `SCHEMA_FOLDER` */
export async function openSchemas({ folder, unchecked, formats, log }: SchemasOptions): Promise<Schemas> {
  if (folder === undefined) return { ...schemasOf(noSchemas, noUpcasts, 'accept', log), ...unchecking }
  const registry = loadSchemas(folder, formats)
  return schemasOf(registry, await loadUpcasts(folder, registry), unchecked, log)
}

const unchecking = { check: noSchemaCheck, checkStrictly: noSchemaCheck }

export function schemasOf(
  registry: SchemaRegistry,
  upcasts: Upcasts,
  unchecked: 'accept' | 'reject',
  log: Logger,
): Schemas {
  const unknown = new UnknownSchemas(log)
  return {
    registry,
    check: schemaCheck(registry, unchecked, (name) => unknown.note(name)),
    checkStrictly: schemaCheck(registry, unchecked),
    readAs: createReadAs(registry, upcasts),
    unknown,
  }
}

/** Who asks for versions of events, of the types that it names. */
interface Wanting {
  /** `consumer alerts` */
  name: string
  types: readonly string[]
  wantedVersion(type: string): number | undefined
}

export function wantingOf(
  consumers: readonly (Omit<Wanting, 'name'> & { group: string })[],
  projections: readonly (Omit<Wanting, 'types'> & { events: readonly string[] })[],
): Wanting[] {
  return [
    ...consumers.map(({ group, ...rest }) => ({ ...rest, name: `consumer ${group}` })),
    ...projections.map(({ name, events, ...rest }) => ({
      ...rest,
      types: events,
      name: `projection ${name}`,
    })),
  ]
}

/** @throws TidegateError `SCHEMA_WANTED` naming each version that somebody asks for and that is not there: it would wait for ever */
export function refuseUnknownWanted(
  wanting: readonly Wanting[],
  { registry }: Pick<Schemas, 'registry'>,
): void {
  const missing = wanting.flatMap((one) =>
    one.types.flatMap((type) => {
      const version = one.wantedVersion(type)
      return version === undefined || registry.has(type, version)
        ? []
        : [`${one.name}: ${schemaName(type, version)}`]
    }),
  )
  if (missing.length === 0) return
  throw new TidegateError('SCHEMA_WANTED', {
    message: `versions are asked for that are not in the schema folder:\n${missing.map((one) => `  ${one}`).join('\n')}`,
    retryable: false,
    hint: 'add <type>/<version>.json to the folder of schemas.folder, or correct `events` of the module',
  })
}
