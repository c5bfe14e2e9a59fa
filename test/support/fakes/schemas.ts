import type { SchemaRegistry } from '../../../src/schemas/registry.ts'

const climate = 'com.acme.climate'
/** What each version of `com.acme.climate` lets an event say, as in `schemas/`. */
const properties: Readonly<Record<number, readonly string[]>> = {
  1: ['temperature', 'humidity'],
  2: ['temperature', 'humidity', 'pressure', 'battery'],
}

/** A registry that knows one type, in two versions, and reads no folder. */
export const climateSchemas: SchemaRegistry = {
  types: [climate],
  latest: (type) => (type === climate ? 2 : undefined),
  versions: (type) => (type === climate ? [1, 2] : []),
  retired: () => new Set(),
  has: (type, version) => type === climate && version in properties,
  faults(_type, version, data) {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) return ['data: must be object']
    const { temperature } = data as { temperature?: unknown }
    const surplus = Object.keys(data).filter((name) => !properties[version]?.includes(name))
    return [
      ...(typeof temperature === 'number' ? [] : ['data.temperature: must be number']),
      ...surplus.map((name) => `data.${name}: must not be there`),
    ]
  },
}
