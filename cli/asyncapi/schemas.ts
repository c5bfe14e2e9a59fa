import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Formats } from '../../src/schemas/formats.ts'
import { loadSchemas, noSchemas, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { type Json, textIn } from './json.ts'
import { moveReferences } from './moved-references.ts'

/** One version of an event type, as its file says it and as it stands in the document. */
export interface Version {
  type: string
  version: number
  /** `<type>/<version>`, as in `dataschema`. */
  name: string
  isNewest: boolean
  schema: unknown
  /** Its key among the document's components. */
  key: string
  /** What AsyncAPI calls its dialect. */
  schemaFormat: string
  title: string
}

export interface Schemas {
  registry: SchemaRegistry
  versions: readonly Version[]
}

export const noSchemaFolder: Schemas = { registry: noSchemas, versions: [] }

/**
 * All versions of a schema folder, by type and number.
 * @throws TidegateError `SCHEMA_FOLDER` naming every file that cannot be used
 */
export function readSchemas(folder: string, formats: Formats): Schemas {
  const registry = loadSchemas(folder, formats)
  return { registry, versions: registry.types.flatMap((type) => versionsOf(folder, type)) }
}

function versionsOf(folder: string, type: string): Version[] {
  const numbers = readdirSync(join(folder, type))
    .flatMap((file) => /^([1-9][0-9]*)\.json$/.exec(file)?.[1] ?? [])
    .map(Number)
    .toSorted((one, other) => one - other)
  return numbers.map((version) => {
    const schema: unknown = JSON.parse(readFileSync(join(folder, type, `${version}.json`), 'utf8'))
    return {
      type,
      version,
      name: schemaName(type, version),
      isNewest: version === numbers.at(-1),
      schema,
      key: `${type}.v${version}`,
      schemaFormat: formatOf(schema),
      title: textIn(schema, 'title') ?? type,
    }
  })
}

/** JSON Schema 2020-12, which is that of the envelope, and of a schema that does not say. */
export const standardFormat = 'application/schema+json;version=2020-12'

function formatOf(schema: unknown): string {
  const dialect = textIn(schema, '$schema') ?? ''
  const [, name = '2020-12'] =
    /json-schema\.org\/(?:draft\/)?(draft-07|2019-09|2020-12)\//.exec(dialect) ?? []
  return `application/schema+json;version=${name}`
}

/** Where a version's schema lies in the document. */
export function pointerTo({ key }: Pick<Version, 'key'>): string {
  return `#/components/schemas/${key}/schema`
}

/** The versions as components of the document, their references led to where they lie there. */
export function componentsOf(versions: readonly Version[]): Json {
  return Object.fromEntries(
    versions.map((version) => {
      const others = new Map(
        versions.flatMap((other) => {
          const id = other.type === version.type ? textIn(other.schema, '$id') : undefined
          return id === undefined ? [] : [[id, pointerTo(other)] as const]
        }),
      )
      const schema = moveReferences(version.schema, { pointer: pointerTo(version), others })
      return [version.key, { schemaFormat: version.schemaFormat, schema }]
    }),
  )
}
