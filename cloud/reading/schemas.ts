import { TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { usableSchemaFolder } from '../../src/schemas/folder.ts'
import { noSchemas, registryOf, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { ambiguitiesIn, ambiguityHint, tellingOf } from '../../src/schemas/upcast/ambiguous.ts'
import { noUpcasts, type Upcasts, upcastersTo } from '../../src/schemas/upcast/chain.ts'
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
  /** The same of what comes out of history, where what was not known when it came was stored as it was recorded. */
  readStoredAs: ReadAs
  /** What brings events to this version: other than before, what was derived of them is as well. */
  upcastersTo: (type: string, version: number) => readonly string[]
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
  const { source, types } = usableSchemaFolder(folder, formats)
  const registry = registryOf(types)
  const upcasts = await loadUpcasts(source, registry)
  for (const text of tellingOf(ambiguitiesIn(source, registry)))
    log.warn({ code: 'SCHEMA_AMBIGUOUS', hint: ambiguityHint }, text)
  return schemasOf(registry, upcasts, unchecked, log)
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
    readStoredAs: createReadAs(registry, upcasts, { recorded: 'unchecked' }),
    upcastersTo: (type, version) => upcastersTo(type, version, { registry, upcasts }),
    unknown,
  }
}

/** Who asks for versions of events. */
interface Wanting {
  /** `consumer alerts` */
  name: string
  /** By type. */
  versions: Readonly<Record<string, number>>
  wants: (type: string) => boolean
}

interface Consuming {
  group: string
  types: readonly string[]
  wantedVersion(type: string): number | undefined
  wants(type: string): boolean
}

interface Projecting {
  name: string
  versions: Readonly<Record<string, number>>
  wants(type: string): boolean
}

export function wantingOf(consumers: readonly Consuming[], projections: readonly Projecting[]): Wanting[] {
  return [
    ...consumers.map((consumer) => ({
      name: `consumer ${consumer.group}`,
      versions: versionsOf(consumer),
      wants: (type: string) => consumer.wants(type),
    })),
    ...projections.map((projection) => ({
      name: `projection ${projection.name}`,
      versions: projection.versions,
      wants: (type: string) => projection.wants(type),
    })),
  ]
}

function versionsOf(consumer: Consuming): Record<string, number> {
  return Object.fromEntries(
    consumer.types.flatMap((type) => {
      const version = consumer.wantedVersion(type)
      return version === undefined ? [] : [[type, version] as const]
    }),
  )
}

/**
 * @throws TidegateError `SCHEMA_WANTED` naming each version that somebody asks for and that is not there, for it would wait for ever, and
 *   each of a type that it does not take, for it would never be asked
 */
export function refuseUnknownWanted(
  wanting: readonly Wanting[],
  { registry }: Pick<Schemas, 'registry'>,
): void {
  const missing = wanting.flatMap(({ name, versions, wants }) =>
    Object.entries(versions).flatMap(([type, version]) => {
      const asked = `${name}: ${schemaName(type, version)}`
      if (!registry.has(type, version)) return [asked]
      return wants(type) ? [] : [`${asked}, whose type none of its patterns takes`]
    }),
  )
  if (missing.length === 0) return
  throw new TidegateError('SCHEMA_WANTED', {
    message: `versions are asked for that are not in the schema folder:\n${missing.map((one) => `  ${one}`).join('\n')}`,
    retryable: false,
    hint: 'add <type>/<version>.json to the folder of schemas.folder, or correct `events` of the module, `versions` of rollups',
  })
}
