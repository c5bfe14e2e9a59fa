import { TidegateError } from '../../src/errors.ts'
import { isSystemType, type Event } from '../../src/contract/event.ts'
import { parseSchemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'

/** What is wrong with an event's data, or undefined. */
export type SchemaCheck = (event: Event) => TidegateError | undefined

/**
 * Checks data against the very schema version the event says it follows. `unchecked` says what becomes of an event
 * that names none. An event of a version of its type that is not known here is at fault, unless `onUnknown` is given: that is told of its name, and the
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
    const { dataschema, type } = event
    const name = parseSchemaName(dataschema)
    if (name === undefined || !registry.has(name.type, name.version)) {
      if (name?.type !== type)
        // No gateway records that: nobody has checked it against anything.
        return unchecked === 'accept' ? unknown(dataschema) : violation(event, [notOf(event)])
      if (onUnknown === undefined) return unknown(dataschema)
      onUnknown(dataschema)
      return undefined
    }
    const faults = name.type === type ? registry.faults(type, name.version, event.data) : [notOf(event)]
    return faults.length === 0 ? undefined : violation(event, faults)
  }
}

function notOf({ type, dataschema }: Event): string {
  return `dataschema ${dataschema?.slice(0, 160)} is not a schema of ${type}`
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
    hint: 'add this version to the folder of schemas.folder, or publish it (tidegate schema apply): it is taken within some seconds; then do the same again',
  })
}

function violation(event: Event, faults: readonly string[]): TidegateError {
  return new TidegateError('SCHEMA_VIOLATION', {
    message: `the data breaks ${event.dataschema ?? event.type}: ${faults.join('; ')}`,
    retryable: false,
    hint: 'correct the device or publish a new schema version, then replay the dead letter',
  })
}
