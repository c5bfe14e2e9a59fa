import { TidegateError } from '../errors.ts'
import type { SchemaFault, Validate } from './compiler.ts'
import type { TypeSettings } from './type-file.ts'

export interface SchemaRegistry {
  /** The newest version of a type, or undefined if the registry does not know the type. */
  latest(type: string): number | undefined
  /** Whether this very version is known. */
  has(type: string, version: number): boolean
  /** The versions of a type that are known, ascending. */
  versions(type: string): readonly number[]
  /** Those of its versions that no device may send any more. What is stored of them is read all the same. */
  retired(type: string): ReadonlySet<number>
  /** Faults of `data` under a version, by path; empty means valid. Unknown versions throw. */
  faults(type: string, version: number, data: unknown): string[]
  /** The first of them, at the cost of finding that alone; undefined: valid. Unknown versions throw. */
  firstFault(type: string, version: number, data: unknown): SchemaFault | undefined
  readonly types: readonly string[]
}

const none: ReadonlySet<number> = new Set()

/** Knows no type: nothing is checked. */
export const noSchemas: SchemaRegistry = {
  types: [],
  latest: () => undefined,
  has: () => false,
  versions: () => [],
  retired: () => none,
  faults: () => [],
  firstFault: () => undefined,
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

/** One published shape of an event type. */
export interface StoredVersion {
  schema: unknown
  validate: Validate
}

export interface StoredType {
  settings: TypeSettings
  versions: ReadonlyMap<number, StoredVersion>
}

/** What is known of these types. */
export function registryOf(types: ReadonlyMap<string, StoredType>): SchemaRegistry {
  const versions = (type: string): number[] =>
    [...(types.get(type)?.versions.keys() ?? [])].toSorted((one, other) => one - other)
  const validateOf = (type: string, version: number): Validate => {
    const stored = types.get(type)?.versions.get(version)
    if (stored) return stored.validate
    throw new TidegateError('SCHEMA_UNKNOWN', {
      message: `no schema ${schemaName(type, version)}`,
      retryable: false,
      hint: `add ${type}/${version}.json to the schema folder`,
    })
  }
  const retired = new Map([...types].map(([type, { settings }]) => [type, new Set(settings.retired)]))
  return {
    types: [...types.keys()].toSorted(),
    versions,
    retired: (type) => retired.get(type) ?? none,
    latest: (type) => versions(type).at(-1),
    has: (type, version) => types.get(type)?.versions.has(version) ?? false,
    faults: (type, version, data) => validateOf(type, version)(data).slice(0, 8).map(faultOf),
    firstFault: (type, version, data) => validateOf(type, version).first(data),
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
