import { parseSchemaName, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import type { Fault } from './quarantine.ts'
import type { Reading } from './reading.ts'

export interface SchemaCheckOptions {
  schemas: SchemaRegistry
  /** What to do with types that have no schema. */
  unknownTypes: 'accept' | 'reject'
}

/** `dataschema` of the version it was checked against; undefined when the type has none. */
export type SchemaVerdict = { ok: true; dataschema: string | undefined } | { ok: false; fault: Fault }

/** Holds a reading against the version of its type's schema that it names, or the newest. */
export function createSchemaCheck({
  schemas,
  unknownTypes,
}: SchemaCheckOptions): (type: string, reading: Reading) => SchemaVerdict {
  const latest = new Map(schemas.types.map((type) => [type, schemas.latest(type)]))
  return (type, reading) => {
    const newest = latest.get(type)
    if (newest === undefined) {
      if (unknownTypes === 'accept') return { ok: true, dataschema: undefined }
      return refused('SCHEMA_UNKNOWN', `there is no schema for ${type}`)
    }
    // Only names of our form choose a version; any other URI is the device's own affair.
    const named = reading.dataschema === undefined ? undefined : parseSchemaName(reading.dataschema)
    const version = named?.type === type ? named.version : newest
    if (!schemas.has(type, version))
      return refused('SCHEMA_UNKNOWN', `there is no ${schemaName(type, version)}`)
    const faults = schemas.faults(type, version, reading.data)
    if (faults.length > 0) return refused('SCHEMA_VIOLATION', faults.join('; '))
    return { ok: true, dataschema: schemaName(type, version) }
  }
}

function refused(reason: Fault['reason'], detail: string): SchemaVerdict {
  return { ok: false, fault: { reason, detail } }
}
