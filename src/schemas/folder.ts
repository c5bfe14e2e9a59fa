import { eventTypePattern } from '../contract/event.ts'
import { messageOf, TidegateError } from '../errors.ts'
import { compileVersions } from './compiler.ts'
import type { Formats } from './formats.ts'
import { digestOf, type Lock, lockName, parseLock } from './lock.ts'
import { registryOf, type SchemaRegistry, type StoredType } from './registry.ts'
import { folderSource, namesIn, pathsOf, type SchemaSource, textIn, topNamesIn } from './source.ts'
import { readTypeFile, type TypeSettings, typeFileName } from './type-file.ts'

/** What files of schemas hold, wherever they came from. */
export interface SchemaFolder {
  source: SchemaSource
  types: ReadonlyMap<string, StoredType>
  /** Files that a lock is about, versions and upcasters, with their SHA-256, by path from the folder. */
  digests: ReadonlyMap<string, string>
  /** Undefined: there is none. */
  lock: Lock | undefined
  /** Everything that cannot be used, each with its file; a published file that was changed among them. */
  faults: readonly string[]
}

/** Beside the versions of a type. */
export const upcastFolder = 'upcast'

/**
 * Reads `<folder>/<type>/{<version>.json, type.yaml, upcast/…}` and `schemas.lock`. Finds all that is wrong with them.
 * @throws TidegateError `SCHEMA_FOLDER` the folder itself cannot be read
 */
export function readSchemaFolder(folder: string, formats: Formats = 'checked'): SchemaFolder {
  return readSchemas(folderSource(folder), formats)
}

/** The same of files that have been read. */
export function readSchemas(source: SchemaSource, formats: Formats = 'checked'): SchemaFolder {
  const reading = new Reading(source, formats)
  for (const type of topNamesIn(source)) reading.readTop(type)
  return reading.end()
}

/**
 * The same, for whoever has other things to do: between two types it lets others have their turn. What a type had before, with the same files and
 * the same `formats`, is taken over as it is: compiling is what costs.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used
 */
export async function usableSchemasInTurns(
  source: SchemaSource,
  { formats, before }: { formats: Formats; before?: SchemaFolder | undefined },
): Promise<SchemaFolder> {
  const reading = new Reading(source, formats, before)
  for (const type of topNamesIn(source)) {
    reading.readTop(type)
    await nextTurn()
  }
  return refuseFaulty(reading.end())
}

/**
 * The same, if nothing is wrong with it.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used
 */
export function usableSchemaFolder(folder: string, formats: Formats = 'checked'): SchemaFolder {
  return usableSchemas(folderSource(folder), formats)
}

/** @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used */
export function usableSchemas(source: SchemaSource, formats: Formats = 'checked'): SchemaFolder {
  return refuseFaulty(readSchemas(source, formats))
}

function refuseFaulty(read: SchemaFolder): SchemaFolder {
  const { source, faults } = read
  if (faults.length === 0) return read
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${source.name} holds schemas that cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    retryable: false,
    hint: 'schemas are JSON Schema 2020-12 in <folder>/<type>/<version>.json; see docs/SCHEMAS.md',
  })
}

/**
 * JSON Schema versions on disk (2020-12, or what `$schema` says), one folder per event type: `<folder>/<type>/<version>.json`.
 * Versions are whole numbers from 1 and never change once published: what `schemas.lock` names is held to it.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used
 */
export function loadSchemas(folder: string, formats: Formats = 'checked'): SchemaRegistry {
  return registryOf(usableSchemaFolder(folder, formats).types)
}

class Reading {
  readonly types = new Map<string, StoredType>()
  readonly digests = new Map<string, string>()
  readonly faults: string[]
  readonly #source: SchemaSource
  readonly #formats: Formats
  readonly #before: SchemaFolder | undefined

  constructor(source: SchemaSource, formats: Formats, before?: SchemaFolder) {
    this.#source = source
    this.#formats = formats
    this.#before = before
    this.faults = [...source.faults]
  }

  readTop(name: string): void {
    if (name === lockName) return
    if (eventTypePattern.test(name) && !this.#source.files.has(name)) this.#readType(name)
    else this.faults.push(`${name}: the folder's name is not an event type`)
  }

  end(): SchemaFolder {
    const lock = this.#readLock()
    return { source: this.#source, types: this.types, digests: this.digests, lock, faults: this.faults }
  }

  /** What was made of the very same files before. */
  #madeBefore(type: string): StoredType | undefined {
    const stored = this.#before?.types.get(type)
    if (stored === undefined || this.#before === undefined) return undefined
    const earlier = filesOf(this.#before.source, type)
    const files = filesOf(this.#source, type)
    const isSame =
      files.length === earlier.length &&
      files.every(([name, bytes]) =>
        Buffer.from(bytes).equals(this.#before?.source.files.get(name) ?? nothing),
      )
    return isSame ? stored : undefined
  }

  #readType(type: string): void {
    const made = this.#madeBefore(type)
    if (made) {
      for (const [name] of filesOf(this.#source, type)) if (this.#before?.digests.has(name)) this.#read(name)
      this.types.set(type, made)
      return
    }
    const schemas = new Map<number, unknown>()
    this.#readUpcasters(`${type}/${upcastFolder}`)
    for (const file of this.#namesOf(type)) {
      const version = /^([1-9][0-9]{0,5})\.json$/.exec(file)?.[1]
      if (version !== undefined) this.#readSchema(`${type}/${file}`, Number(version), schemas)
      else if (file !== typeFileName && file !== upcastFolder)
        this.faults.push(
          `${type}/${file}: a schema file is named <version>.json; beside them are ${typeFileName} and ${upcastFolder}/`,
        )
    }
    const { validators, faults } = compileVersions(schemas, this.#formats)
    for (const [version, fault] of faults) this.#fault(`${type}/${version}.json`, messageOf(fault))
    const settings = this.#readSettings(type, schemas)
    const versions = [...validators].map(
      ([version, validate]) => [version, { schema: schemas.get(version), validate }] as const,
    )
    if (versions.length > 0) this.types.set(type, { settings, versions: new Map(versions) })
  }

  #readLock(): Lock | undefined {
    const text = textIn(this.#source, lockName)
    if (text === undefined) return undefined
    const { lock, faults } = parseLock(text)
    this.faults.push(...faults)
    for (const [name, digest] of lock) {
      const found = this.digests.get(name)
      if (found !== undefined && found !== digest)
        this.#fault(
          name,
          `was changed after it was published (${lockName}); put it back, and write a new version`,
        )
    }
    return lock
  }

  #readSchema(name: string, version: number, schemas: Map<number, unknown>): void {
    try {
      schemas.set(version, JSON.parse(this.#read(name)))
    } catch (error) {
      this.#fault(name, messageOf(error))
    }
  }

  #readUpcasters(name: string): void {
    for (const file of namesIn(this.#source, name))
      if (/^[0-9]+-[0-9]+\.(?:yaml|js)$/.test(file)) this.#read(`${name}/${file}`)
  }

  #readSettings(type: string, schemas: ReadonlyMap<number, unknown>): TypeSettings {
    const name = `${type}/${typeFileName}`
    const { settings, faults } = readTypeFile(textIn(this.#source, name), name)
    for (const fault of faults) this.#fault(name, fault)
    for (const version of settings.retired)
      if (!schemas.has(version)) this.#fault(name, `retired: there is no version ${version}`)
    for (const { version } of settings.accepted)
      if (!schemas.has(version)) this.#fault(name, `accepted: there is no version ${version}`)
    if (schemas.size > 0 && [...schemas.keys()].every((version) => settings.retired.includes(version)))
      this.#fault(name, 'retired: every version is, so no device could send this type any more')
    return settings
  }

  #read(name: string): string {
    this.digests.set(name, digestOf(this.#source.files.get(name) as Uint8Array))
    return textIn(this.#source, name) as string
  }

  /** Files and folders that lie with a type. */
  #namesOf(type: string): string[] {
    return [...new Set(pathsOf(this.#source, type).map((name) => name.split('/', 2)[1] as string))].toSorted()
  }

  #fault(name: string, said: string): void {
    this.faults.push(`${name}: ${said}`)
  }
}

const nothing = new Uint8Array()

function filesOf(source: SchemaSource, type: string): [string, Uint8Array][] {
  return pathsOf(source, type).map((name) => [name, source.files.get(name) as Uint8Array])
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
