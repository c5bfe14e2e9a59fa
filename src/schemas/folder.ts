import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { eventTypePattern } from '../contract/event.ts'
import { codeOf, messageOf, TidegateError } from '../errors.ts'
import { compileVersions } from './compiler.ts'
import type { Formats } from './formats.ts'
import { digestOf, type Lock, lockName, parseLock } from './lock.ts'
import { registryOf, type SchemaRegistry, type StoredType } from './registry.ts'
import { readTypeFile, type TypeSettings, typeFileName } from './type-file.ts'

/** A folder of schemas as it lies on the disk. */
export interface SchemaFolder {
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
  const reading = new Reading(folder, formats)
  for (const type of namesIn(folder)) {
    if (type === lockName) continue
    if (eventTypePattern.test(type) && isFolder(join(folder, type))) reading.readType(type)
    else reading.faults.push(`${type}: the folder's name is not an event type`)
  }
  const lock = reading.readLock()
  const { types, digests, faults } = reading
  return { types, digests, lock, faults }
}

/**
 * The same, if nothing is wrong with it.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used
 */
export function usableSchemaFolder(folder: string, formats: Formats = 'checked'): SchemaFolder {
  const read = readSchemaFolder(folder, formats)
  if (read.faults.length === 0) return read
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${folder} holds schemas that cannot be used:\n${read.faults.map((fault) => `  ${fault}`).join('\n')}`,
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
  readonly faults: string[] = []
  readonly #folder: string
  readonly #formats: Formats

  constructor(folder: string, formats: Formats) {
    this.#folder = folder
    this.#formats = formats
  }

  readType(type: string): void {
    const schemas = new Map<number, unknown>()
    for (const file of namesIn(join(this.#folder, type))) {
      const version = /^([1-9][0-9]{0,5})\.json$/.exec(file)?.[1]
      if (version !== undefined) this.#readSchema(`${type}/${file}`, Number(version), schemas)
      else if (file === upcastFolder) this.#readUpcasters(`${type}/${file}`)
      else if (file !== typeFileName)
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

  readLock(): Lock | undefined {
    let text: string
    try {
      text = readFileSync(join(this.#folder, lockName), 'utf8')
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#fault(lockName, messageOf(error))
      return undefined
    }
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
    for (const file of namesIn(join(this.#folder, name)))
      if (/^[0-9]+-[0-9]+\.(?:yaml|js)$/.test(file)) this.#read(`${name}/${file}`)
  }

  #readSettings(type: string, schemas: ReadonlyMap<number, unknown>): TypeSettings {
    const { settings, faults } = readTypeFile(join(this.#folder, type, typeFileName))
    const name = `${type}/${typeFileName}`
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
    const bytes = readFileSync(join(this.#folder, name))
    this.digests.set(name, digestOf(bytes))
    return bytes.toString('utf8')
  }

  #fault(name: string, said: string): void {
    this.faults.push(`${name}: ${said}`)
  }
}

function isFolder(path: string): boolean {
  return statSync(path).isDirectory()
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.') && !name.endsWith('.md'))
      .toSorted()
  } catch (cause) {
    throw new TidegateError('SCHEMA_FOLDER', {
      message: `cannot read the schema folder ${folder}`,
      retryable: false,
      hint: 'set schemas.folder to a readable folder',
      cause,
    })
  }
}
