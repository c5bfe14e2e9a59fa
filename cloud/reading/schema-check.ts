import { TidegateError } from '../../src/errors.ts'
import { isSystemType, type Event } from '../../src/contract/event.ts'
import { parseSchemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'

/** What is wrong with an event's data, or undefined. */
export type SchemaCheck = (event: Event) => TidegateError | undefined

/**
 * Checks data against the very schema version the event says it follows. `unchecked` says what becomes of an event
 * that names none. An event of a version that is not known here is at fault, unless `onUnknown` is given: that is told of its name, and the
 * event is taken as its gateway recorded it, which has checked it (G5).
 */
export function schemaCheck(
  registry: SchemaRegistry,
  unchecked: 'accept' | 'reject',
  onUnknown?: (name: string) => void,
): SchemaCheck {
  return (event) => {
    if (isSystemType(event.type)) return undefined
    if (event.dataschema === undefined) return unchecked === 'accept' ? undefined : missing(event)
    const name = parseSchemaName(event.dataschema)
    if (name === undefined || !registry.has(name.type, name.version)) {
      if (onUnknown === undefined) return unknown(event.dataschema)
      onUnknown(event.dataschema)
      return undefined
    }
    const faults =
      name.type === event.type
        ? registry.faults(name.type, name.version, event.data)
        : [`dataschema ${event.dataschema} is not a schema of ${event.type}`]
    return faults.length === 0 ? undefined : violation(event, faults)
  }
}

/** For a cloud without a schema folder. */
export const noSchemaCheck: SchemaCheck = () => undefined

function missing(event: Event): TidegateError {
  return new TidegateError('SCHEMA_MISSING', {
    message: `the ${event.type} event names no schema, and schemas.unchecked is reject`,
    retryable: false,
    hint: `add a schema for ${event.type} at the edge, or accept unchecked events`,
  })
}

function unknown(name: string): TidegateError {
  return new TidegateError('SCHEMA_UNKNOWN', {
    message: `no schema ${name.slice(0, 160)}`,
    retryable: false,
    hint: 'add this version to the schema folder of the cloud, restart it, and do the same again',
  })
}

function violation(event: Event, faults: readonly string[]): TidegateError {
  return new TidegateError('SCHEMA_VIOLATION', {
    message: `the data breaks ${event.dataschema ?? event.type}: ${faults.join('; ')}`,
    retryable: false,
    hint: 'correct the device or publish a new schema version, then replay the dead letter',
  })
}
