import type { Event } from '../../../src/contract/event.ts'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import { versionNamed } from '../../../src/schemas/fitting.ts'
import { parseSchemaName, type SchemaRegistry } from '../../../src/schemas/registry.ts'
import { type Link, linksBetween, type Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { schemaCheck } from '../../reading/schema-check.ts'

/** Why an event would not be handed over. */
export interface EventFault {
  code: string
  /** Without a value of the data. */
  fault: string
  /** JSON of what is refused, or of what an upcaster's code said of it; absent: it is not one place. */
  value?: string
}

export interface EventJudge {
  /**
   * Of an event of history that somebody asks for in this version, as the cloud would read it; undefined: it would be handed over. One that names no version may wait
   * as well, for whoever reads a newer one; one that names a version waits only for what is missing here, such as the code of an upcaster, and is told as failing.
   */
  ofStored(event: Event, version: number): EventFault | undefined
  /** The same of a dead letter: it is checked again first. What would wait is not handed over. */
  ofLetter(event: Event, version: number): EventFault | undefined
  /** The way of data of a version before it is handed over as the other: from each version to the next. */
  wayOf(type: string, from: number, to: number): Link[]
}

const cut = (text: string): string =>
  text.length > valueLengthMax ? `${text.slice(0, valueLengthMax)}…` : text

const faultLengthMax = 300
const valueLengthMax = 60

/** Judges with the validators and upcasters that the cloud has: those of this registry. */
export function createEventJudge(registry: SchemaRegistry, upcasts: Upcasts): EventJudge {
  const readAs = createReadAs(registry, upcasts, { recorded: 'unchecked' })
  const check = schemaCheck(registry, 'accept', () => {})
  const read = (event: Event, version: number, mayWait: boolean): EventFault | undefined => {
    try {
      readAs(event, version)
      return undefined
    } catch (error) {
      if (error instanceof TidegateError && error.retryable && mayWait) return undefined
      return faultOf(error, event, registry, version)
    }
  }
  return {
    ofStored: (event, version) =>
      read(event, version, versionNamed(event.type, event.dataschema) === undefined),
    ofLetter(event, version) {
      const fault = check(event)
      if (fault === undefined) return read(event, version, false)
      const named = event.dataschema === undefined ? undefined : parseSchemaName(event.dataschema)
      return faultOf(fault, event, registry, named?.version ?? version)
    },
    wayOf: (type, from, to) => linksBetween(type, from, to, { registry, upcasts }),
  }
}

function faultOf(error: unknown, event: Event, registry: SchemaRegistry, version: number): EventFault {
  const code = error instanceof TidegateError ? error.code : 'UPCAST_FAILED'
  const { type, data } = event
  // Of what an upcaster has made nothing is shown: it is not what is stored.
  const isOfData = code === 'SCHEMA_VIOLATION' || code === 'UPCAST_MISSING'
  const first = isOfData && registry.has(type, version) ? registry.firstFault(type, version, data) : undefined
  if (first === undefined) return { code, ...saidOf(error) }
  const said = `${first.instancePath || '/'} ${first.message ?? first.keyword}`
  return { code, fault: said.slice(0, faultLengthMax), ...valueAt(data, first.instancePath) }
}

/** What a function of somebody's says may quote the data. */
function saidOf(error: unknown): Omit<EventFault, 'code'> {
  if (!(error instanceof TidegateError) || error.cause === undefined)
    return { fault: messageOf(error).slice(0, faultLengthMax) }
  const own = messageOf(error.cause)
  const [fault = ''] = messageOf(error).split(': ', 1)
  return { fault, value: cut(JSON.stringify(own)) }
}

function valueAt(data: unknown, pointer: string): { value?: string } {
  let value = data
  for (const part of pointer.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return {}
    value = (value as Record<string, unknown>)[part.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  // What is missing in an object, or too much in it, is said by its name.
  if (value === undefined || (typeof value === 'object' && value !== null)) return {}
  return { value: cut(JSON.stringify(value)) }
}
