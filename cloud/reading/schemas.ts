import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { type SchemaFolder, usableSchemasInTurns } from '../../src/schemas/folder.ts'
import { noSchemas, registryOf, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { ambiguitiesIn, ambiguityHint, tellingOf } from '../../src/schemas/upcast/ambiguous.ts'
import { noUpcasts, type Upcasts, upcastersTo } from '../../src/schemas/upcast/chain.ts'
import { loadUpcasts } from '../../src/schemas/upcast/folder.ts'
import { createReadAs, type ReadAs } from '../../src/schemas/upcast/read-as.ts'
import { type FoundSchemas, folderOrigin } from './origin.ts'
import { noSchemaCheck, type SchemaCheck, schemaCheck } from './schema-check.ts'
import { UnknownSchemas } from './unknown-schemas.ts'

/** What events are checked against, and how whoever asks for a version of one gets it: all of one state of the schemas. */
interface SchemaParts {
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
}

/** Which schemas are in use, for whoever looks. */
export interface SchemasInUse {
  /** `none`: nothing is checked. */
  origin: 'none' | 'folder' | 'registry'
  digest: string | undefined
  revision: number | undefined
  types: number
  /** Steps of upcasters whose code is not here, as `<type>/<from>-<to>`. */
  absent: readonly string[]
  /** Why what is there now is not in use, if it is not. */
  fault: { code: string; message: string } | undefined
}

/**
 * The schemas that are in use. Each part is that of now whenever it is called, so it may be kept; all of them change at once, between two
 * events: what is called one after the other without waiting is of one state.
 */
export interface Schemas extends SchemaParts {
  unknown: UnknownSchemas
  readonly inUse: SchemasInUse
  /**
   * Uses these from now on, and answers whether they are others; what was known and what they bring is told.
   * @throws TidegateError `SCHEMA_FOLDER` | `SCHEMA_WANTED`: they cannot be used, and those of before are
   */
  take(found: FoundSchemas): Promise<boolean>
  /** What is there cannot be read, or used; undefined: it can. */
  refused(error: unknown): void
  /** Others that cannot be used either: what this throws is why. */
  refuse(rule: (parts: Pick<SchemaParts, 'registry'>) => void): void
  /** Called behind each change. */
  onChange(listener: () => void): void
}

export interface SchemasOptions {
  origin: SchemasInUse['origin']
  unchecked: 'accept' | 'reject'
  formats: Formats
  log: Logger
}

/** Nothing is known, and nothing is checked, until something is taken. */
export function createSchemas(options: SchemasOptions): Schemas {
  return new LiveSchemas(options)
}

/** Without a folder nothing is checked, and no version can be asked for; of a database nothing is read yet. @throws TidegateError `SCHEMA_FOLDER` */
export async function openSchemas({
  folder,
  registry = 'folder',
  ...options
}: Omit<SchemasOptions, 'origin'> & {
  folder?: string | undefined
  registry?: 'folder' | 'database'
}): Promise<Schemas> {
  if (registry === 'database') return createSchemas({ ...options, origin: 'registry' })
  const schemas = createSchemas({ ...options, origin: folder === undefined ? 'none' : 'folder' })
  if (folder !== undefined) await schemas.take(await folderOrigin(folder).read())
  return schemas
}

class LiveSchemas implements Schemas {
  readonly unknown: UnknownSchemas
  readonly registry: SchemaRegistry
  readonly #options: SchemasOptions
  readonly #rules: ((parts: SchemaParts) => void)[] = []
  readonly #listeners: (() => void)[] = []
  #parts: SchemaParts
  #inUse: SchemasInUse
  #identity: string | undefined
  /** What they were made of: of types that are as before nothing is made anew. */
  #folder: SchemaFolder | undefined

  constructor(options: SchemasOptions) {
    const { origin, log } = options
    this.#options = options
    this.unknown = new UnknownSchemas(log)
    const nothing = partsOf(noSchemas, noUpcasts, 'accept', this.unknown)
    this.#parts = origin === 'none' ? { ...nothing, ...unchecking } : nothing
    this.#inUse = { origin, digest: undefined, revision: undefined, types: 0, absent: [], fault: undefined }
    const now = (): SchemaRegistry => this.#parts.registry
    this.registry = {
      latest: (type) => now().latest(type),
      has: (type, version) => now().has(type, version),
      versions: (type) => now().versions(type),
      retired: (type) => now().retired(type),
      faults: (type, version, data) => now().faults(type, version, data),
      firstFault: (type, version, data, budget) => now().firstFault(type, version, data, budget),
      get types() {
        return now().types
      },
    }
  }

  readonly check: SchemaCheck = (event) => this.#parts.check(event)
  readonly checkStrictly: SchemaCheck = (event) => this.#parts.checkStrictly(event)
  readonly readAs: ReadAs = (event, version) => this.#parts.readAs(event, version)
  readonly readStoredAs: ReadAs = (event, version) => this.#parts.readStoredAs(event, version)
  readonly upcastersTo = (type: string, version: number): readonly string[] =>
    this.#parts.upcastersTo(type, version)

  get inUse(): SchemasInUse {
    return this.#inUse
  }

  async take({ source, digest, revision }: FoundSchemas): Promise<boolean> {
    const { unchecked, formats, log, origin } = this.#options
    // To compile them all takes seconds: events go on meanwhile, type by type, by what is in use.
    const folder = await usableSchemasInTurns(source, { formats, before: this.#folder })
    const registry = registryOf(folder.types)
    refuseLost(this.#parts.registry, registry, source.name)
    const upcasts = await loadUpcasts(source, registry)
    const { absent = [] } = upcasts
    const parts = partsOf(registry, upcasts, unchecked, this.unknown)
    for (const rule of this.#rules) rule(parts)
    const identity = [digest, ...absent].join(' ')
    const isOther = identity !== this.#identity
    if (isOther) {
      for (const text of tellingOf(ambiguitiesIn(source, registry)))
        log.warn({ code: 'SCHEMA_AMBIGUOUS', hint: ambiguityHint }, text)
      if (absent.length > 0) log.warn({ code: 'SCHEMA_FOLDER', absent, hint: absentHint }, absentText)
    }
    // Nothing waits from here on: all of it changes at once.
    const isFirst = this.#identity === undefined
    this.#parts = parts
    this.#folder = folder
    this.#identity = identity
    this.#inUse = { origin, digest, revision, types: registry.types.length, absent, fault: undefined }
    if (isOther && !isFirst) for (const listener of this.#listeners) listener()
    return isOther
  }

  refused(error: unknown): void {
    const fault = error === undefined ? undefined : { code: codeOf(error), message: messageOf(error) }
    this.#inUse = { ...this.#inUse, fault }
  }

  refuse(rule: (parts: Pick<SchemaParts, 'registry'>) => void): void {
    this.#rules.push(rule)
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }
}

/**
 * What is published stays: a folder that somebody empties, or that is not mounted, takes no check away from a cloud that runs.
 * @throws TidegateError `SCHEMA_FOLDER`
 */
function refuseLost(before: SchemaRegistry, after: SchemaRegistry, where: string): void {
  const lost = before.types.flatMap((type) =>
    before
      .versions(type)
      .filter((version) => !after.has(type, version))
      .map((version) => `${schemaName(type, version)}.json`),
  )
  if (lost.length === 0) return
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${where} lacks versions that are in use: ${lost.slice(0, 20).join(', ')}${lost.length > 20 ? ` and ${lost.length - 20} more` : ''}`,
    retryable: false,
    hint: 'put them back; what no device may send any more is `retired` in type.yaml. A cloud that is to go without them is started anew',
  })
}

const absentText =
  'the registry has upcasters that are code, which is taken from schemas.folder alone, and they are not there as they were published: what needs them waits'
const absentHint = 'put the files into schemas.folder; they are taken within some seconds'

const unchecking = { check: noSchemaCheck, checkStrictly: noSchemaCheck }

function partsOf(
  registry: SchemaRegistry,
  upcasts: Upcasts,
  unchecked: 'accept' | 'reject',
  unknown: UnknownSchemas,
): SchemaParts {
  return {
    registry,
    check: schemaCheck(registry, unchecked, (name) => unknown.note(name)),
    checkStrictly: schemaCheck(registry, unchecked),
    readAs: createReadAs(registry, upcasts),
    readStoredAs: createReadAs(registry, upcasts, { recorded: 'unchecked' }),
    upcastersTo: (type, version) => upcastersTo(type, version, { registry, upcasts }),
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
    message: `versions are asked for that are not among the schemas:\n${missing.map((one) => `  ${one}`).join('\n')}`,
    retryable: false,
    hint: 'add <type>/<version>.json to the folder of schemas.folder, or apply it (tidegate schema apply); or correct `events` of the module, `versions` of rollups',
  })
}

/** The same of those that are in use, once they are known, and of all that are to be later. @throws TidegateError `SCHEMA_WANTED` */
export function requireWanted(wanting: readonly Wanting[], schemas: Schemas): void {
  schemas.refuse((parts) => refuseUnknownWanted(wanting, parts))
  if (schemas.inUse.origin !== 'registry') refuseUnknownWanted(wanting, schemas)
}
