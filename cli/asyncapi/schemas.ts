import { usableSchemaFolder } from '../../src/schemas/folder.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { noSchemas, registryOf, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { type Json, textIn } from './json.ts'
import { moveReferences, resourcesIn } from './moved-references.ts'

/** One version of an event type, as its file says it and as it stands in the document. */
export interface Version {
  type: string
  version: number
  /** `<type>/<version>`, as in `dataschema`. */
  name: string
  /** No device may send it any more. */
  isRetired: boolean
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
  const { types } = usableSchemaFolder(folder, formats)
  const registry = registryOf(types)
  const versions = registry.types.flatMap((type) =>
    registry.versions(type).map((version) => {
      const schema = types.get(type)?.versions.get(version)?.schema
      return {
        type,
        version,
        name: schemaName(type, version),
        isRetired: registry.retired(type).has(version),
        schema,
        key: `${type}.v${version}`,
        schemaFormat: formatOf(schema),
        title: textIn(schema, 'title') ?? type,
      }
    }),
  )
  return { registry, versions }
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
      const others = versions
        .filter((other) => other.type === version.type && other !== version)
        .flatMap((other) => resourcesIn(other.schema, pointerTo(other)))
      const schema = moveReferences(version.schema, { pointer: pointerTo(version), others })
      return [version.key, { schemaFormat: version.schemaFormat, schema }]
    }),
  )
}
