import type { SchemaRegistry } from '../../../src/schemas/registry.ts'

const climate = 'com.acme.climate'
/** What each version of `com.acme.climate` lets an event say, as in `schemas/`. */
const properties: Readonly<Record<number, readonly string[]>> = {
  1: ['temperature', 'humidity'],
  2: ['temperature', 'humidity', 'pressure', 'battery'],
}

/** A registry of these validators, by type and version; it reads no folder. */
export function registryOf(
  types: Readonly<Record<string, Readonly<Record<number, (data: unknown) => string[]>>>>,
  retired: Readonly<Record<string, readonly number[]>> = {},
): SchemaRegistry {
  const versions = (type: string): number[] => Object.keys(types[type] ?? {}).map(Number)
  const faults: SchemaRegistry['faults'] = (type, version, data) => types[type]?.[version]?.(data) ?? []
  return {
    types: Object.keys(types),
    latest: (type) => versions(type).at(-1),
    has: (type, version) => versions(type).includes(version),
    versions,
    retired: (type) => new Set(retired[type]),
    faults,
    firstFault(type, version, data) {
      const [message] = faults(type, version, data)
      return message === undefined ? undefined : { instancePath: '', keyword: 'fake', params: {}, message }
    },
  }
}

const climateFaults =
  (version: number) =>
  (data: unknown): string[] => {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) return ['data: must be object']
    const { temperature } = data as { temperature?: unknown }
    const surplus = Object.keys(data).filter((name) => !properties[version]?.includes(name))
    return [
      ...(typeof temperature === 'number' ? [] : ['data.temperature: must be number']),
      ...surplus.map((name) => `data.${name}: must not be there`),
    ]
  }

/** A registry that knows one type, in two versions, and reads no folder. */
export const climateSchemas = registryOf({ [climate]: { 1: climateFaults(1), 2: climateFaults(2) } })
