import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, TidegateError } from '../errors.ts'
import { eventTypePattern } from '../contract/event.ts'
import { compileVersions, type SchemaFault, type Validate } from './compiler.ts'
import type { Formats } from './formats.ts'

export interface SchemaRegistry {
  /** The newest version of a type, or undefined if the registry does not know the type. */
  latest(type: string): number | undefined
  /** Whether this very version is known. */
  has(type: string, version: number): boolean
  /** Faults of `data` under a version, by path; empty means valid. Unknown versions throw. */
  faults(type: string, version: number, data: unknown): string[]
  readonly types: readonly string[]
}

/** Knows no type: nothing is checked. */
export const noSchemas: SchemaRegistry = {
  types: [],
  latest: () => undefined,
  has: () => false,
  faults: () => [],
}

/** `<type>/<version>` as carried in `dataschema`. */
export function schemaName(type: string, version: number): string {
  return `${type}/${version}`
}

/** Reads `<type>/<version>`; undefined if it has another form. */
export function parseSchemaName(name: string): { type: string; version: number } | undefined {
  const match = /^(.+)\/([1-9][0-9]{0,5})$/.exec(name)
  return match ? { type: match[1] as string, version: Number(match[2]) } : undefined
}

/**
 * JSON Schema versions on disk (2020-12, or what `$schema` says), one folder per event type: `<folder>/<type>/<version>.json`.
 * Versions are whole numbers from 1 and never change once published.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used.
 */
export function loadSchemas(folder: string, formats: Formats = 'checked'): SchemaRegistry {
  const validators = new Map<string, Versions>()
  const faults: string[] = []
  for (const type of listFolder(folder)) {
    if (!eventTypePattern.test(type)) {
      faults.push(`${type}: the folder's name is not an event type`)
      continue
    }
    const { versions, faults: found } = readVersions(folder, type, formats)
    faults.push(...found)
    if (versions.size > 0) validators.set(type, versions)
  }
  if (faults.length > 0) {
    throw new TidegateError('SCHEMA_FOLDER', {
      message: `${folder} holds schemas that cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
      retryable: false,
      hint: 'schemas are JSON Schema 2020-12 in <folder>/<type>/<version>.json; see schemas/README.md',
    })
  }
  return registryOf(validators)
}

type Versions = Map<number, Validate>

function readVersions(
  folder: string,
  type: string,
  formats: Formats,
): { versions: Versions; faults: string[] } {
  const schemas = new Map<number, unknown>()
  const faults: string[] = []
  const told = (version: number | string, error: unknown): void => {
    faults.push(`${type}/${version}.json: ${messageOf(error)}`)
  }
  for (const file of listFolder(join(folder, type))) {
    const version = /^([1-9][0-9]{0,5})\.json$/.exec(file)?.[1]
    if (version === undefined) {
      faults.push(`${type}/${file}: a schema file is named <version>.json`)
      continue
    }
    try {
      schemas.set(Number(version), JSON.parse(readFileSync(join(folder, type, file), 'utf8')))
    } catch (error) {
      told(version, error)
    }
  }
  const compiled = compileVersions(schemas, formats)
  for (const [version, fault] of compiled.faults) told(version, fault)
  return { versions: compiled.validators, faults }
}

function registryOf(validators: ReadonlyMap<string, Versions>): SchemaRegistry {
  return {
    types: [...validators.keys()].toSorted(),
    latest(type) {
      const versions = validators.get(type)
      return versions && Math.max(...versions.keys())
    },
    has: (type, version) => validators.get(type)?.has(version) ?? false,
    faults(type, version, data) {
      const validate = validators.get(type)?.get(version)
      if (!validate) {
        throw new TidegateError('SCHEMA_UNKNOWN', {
          message: `no schema ${schemaName(type, version)}`,
          retryable: false,
          hint: `add ${type}/${version}.json to the schema folder`,
        })
      }
      return validate(data).slice(0, 8).map(faultOf)
    },
  }
}

const whichLengthMax = 100
/** The end of a path says more than its beginning. */
const pathLengthMax = 120

/**
 * `data.hPa: must be >= 300`, and which one where the rule alone does not say it. Of the data there are names of members in it,
 * cut, and never a value.
 */
function faultOf({ instancePath, message, keyword, params }: SchemaFault): string {
  const which: unknown =
    params['additionalProperty'] ?? params['unevaluatedProperty'] ?? params['allowedValues']
  const named = which === undefined ? '' : ` (${cut([which].flat().map(String).join(', '), whichLengthMax)})`
  const path = instancePath.length > pathLengthMax ? `…${instancePath.slice(-pathLengthMax)}` : instancePath
  return `data${path.replaceAll('/', '.')}: ${message ?? keyword}${named}`
}

function cut(text: string, lengthMax: number): string {
  return text.length > lengthMax ? `${text.slice(0, lengthMax)}…` : text
}

function listFolder(folder: string): string[] {
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
