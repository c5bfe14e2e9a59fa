import { isEndless } from './compiler.ts'
import { parseSchemaName, type SchemaRegistry } from './registry.ts'

/** Of a `dataschema`, the version of this type that it names; undefined: none, or a name that is not of our form. */
export function versionNamed(type: string, dataschema: string | undefined): number | undefined {
  const named = dataschema === undefined ? undefined : parseSchemaName(dataschema)
  return named?.type === type ? named.version : undefined
}

/**
 * The first of `versions` that takes the data: in their order, so that the answer depends on the data and the schemas alone, and on nothing
 * that was sent before. A version that refuses costs what its first fault costs to find. Where a check comes to no end no further one is
 * begun with, so that however many versions there are the data takes no more time than under one (G7).
 */
export function firstFitting(
  registry: SchemaRegistry,
  type: string,
  versions: readonly number[],
  data: unknown,
): number | undefined {
  for (const version of versions) {
    const fault = registry.firstFault(type, version, data)
    if (fault === undefined) return version
    if (isEndless(fault)) return undefined
  }
  return undefined
}
