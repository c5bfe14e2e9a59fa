import type { Event } from '../../../src/contract/event.ts'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import { parseSchemaName, type SchemaRegistry } from '../../../src/schemas/registry.ts'
import { linksBetween, type Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { schemaCheck } from '../../reading/schema-check.ts'

/** Why an event would not be handed over. */
export interface EventFault {
  code: string
  /** Without a value of the data. */
  fault: string
  /** JSON of what is refused; absent: it is not one place. */
  value?: string
}

export interface EventJudge {
  /** Of an event of history that somebody asks for in this version, as the cloud would read it; undefined: it would be handed over, now or when it has waited. */
  ofStored(event: Event, version: number): EventFault | undefined
  /** The same of a dead letter: it is checked again first. What would wait is not handed over. */
  ofLetter(event: Event, version: number): EventFault | undefined
  /** Whether anything is done to data of a version before it is handed over as the other. */
  isBroughtForward(type: string, from: number, to: number): boolean
}

const faultLengthMax = 300
const valueLengthMax = 60

/** Judges with the validators and upcasters that the cloud has: those of this registry. */
export function createEventJudge(registry: SchemaRegistry, upcasts: Upcasts): EventJudge {
  const readAs = createReadAs(registry, upcasts, { recorded: 'unchecked' })
  const check = schemaCheck(registry, 'accept', () => {})
  const read = (event: Event, version: number, waits: boolean): EventFault | undefined => {
    try {
      readAs(event, version)
      return undefined
    } catch (error) {
      if (error instanceof TidegateError && error.retryable && !waits) return undefined
      return faultOf(error, event, registry, version)
    }
  }
  return {
    ofStored: (event, version) => read(event, version, false),
    ofLetter(event, version) {
      const fault = check(event)
      if (fault === undefined) return read(event, version, true)
      const named = event.dataschema === undefined ? undefined : parseSchemaName(event.dataschema)
      return faultOf(fault, event, registry, named?.version ?? version)
    },
    isBroughtForward: (type, from, to) =>
      linksBetween(type, from, to, { registry, upcasts }).some(({ upcast }) => upcast !== undefined),
  }
}

function faultOf(error: unknown, event: Event, registry: SchemaRegistry, version: number): EventFault {
  const code = error instanceof TidegateError ? error.code : 'UPCAST_FAILED'
  const { type, data } = event
  // Of what an upcaster has made nothing is shown: it is not what is stored.
  const isOfData = code === 'SCHEMA_VIOLATION' || code === 'UPCAST_MISSING'
  const first = isOfData && registry.has(type, version) ? registry.firstFault(type, version, data) : undefined
  if (first === undefined) return { code, fault: messageOf(error).slice(0, faultLengthMax) }
  const said = `${first.instancePath || '/'} ${first.message ?? first.keyword}`
  return { code, fault: said.slice(0, faultLengthMax), ...valueAt(data, first.instancePath) }
}

function valueAt(data: unknown, pointer: string): { value?: string } {
  let value = data
  for (const part of pointer.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return {}
    value = (value as Record<string, unknown>)[part.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  // What is missing in an object, or too much in it, is said by its name.
  if (value === undefined || (typeof value === 'object' && value !== null)) return {}
  const text = JSON.stringify(value)
  return { value: text.length > valueLengthMax ? `${text.slice(0, valueLengthMax)}…` : text }
}
