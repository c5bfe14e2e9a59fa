import type { Event } from '../../contract/event.ts'
import { messageOf, TidegateError } from '../../errors.ts'
import { firstFitting, versionNamed } from '../fitting.ts'
import { schemaName, type SchemaRegistry } from '../registry.ts'
import { withoutUnknown } from './without-unknown.ts'
import { keepsMeaning, type Link, linksBetween, type Upcasts } from './chain.ts'

/**
 * An event as a version of its type has it: `data` brought forward, or without what was added since, and `dataschema` the name of that version. All else is as it was, and
 * so is the event that was given. What it says has been checked against the version, unless that is the one that was recorded.
 * @throws TidegateError `UPCAST_FAILED` | `UPCAST_MISSING`, `SCHEMA_VIOLATION`, which no attempt mends; `SCHEMA_UNKNOWN` | `SCHEMA_NEWER`, which a file or a
 *   consumer mends that somebody has still to deploy
 */
export type ReadAs = (event: Event, version: number) => Event

export interface ReadAsOptions {
  /**
   * `unchecked`: what was recorded in the version that is asked for is held against it too, for it may have been stored when nobody here knew
   * that. Default: whoever asks has checked it.
   */
  recorded?: 'checked' | 'unchecked'
}

export function createReadAs(
  registry: SchemaRegistry,
  upcasts: Upcasts,
  { recorded: has = 'checked' }: ReadAsOptions = {},
): ReadAs {
  return (event, wanted) => {
    const { type, dataschema } = event
    const named = versionNamed(type, dataschema)
    if (named === wanted && has === 'checked') return event
    if (named === wanted && registry.has(type, wanted)) return held(event, wanted, registry)
    if (!registry.has(type, wanted)) throw unknown(event, wanted)
    const recorded = named ?? versionOf(event, wanted, registry)
    if (recorded === wanted) return asVersion(event, wanted, event.data)
    if (!registry.has(type, recorded)) throw unknown(event, recorded)
    if (recorded > wanted) return readOlder(event, recorded, wanted, { registry, upcasts })
    const links = linksBetween(type, recorded, wanted, { registry, upcasts })
    const data = links.reduce((before, link) => applied(event, link, before), event.data)
    const faults = registry.faults(type, wanted, data)
    if (faults.length === 0) return asVersion(event, wanted, data)
    throw refusedBy(event, wanted, faults, links)
  }
}

/** Itself, if it is what it says that it is. */
function held(event: Event, wanted: number, registry: SchemaRegistry): Event {
  if (registry.firstFault(event.type, wanted, event.data) === undefined) return event
  throw new TidegateError('SCHEMA_VIOLATION', {
    message: `the data breaks ${schemaName(event.type, wanted)}: ${registry.faults(event.type, wanted, event.data).join('; ')}`,
    retryable: false,
    hint: 'it was stored when that version was not known here: see whether the schema is the one that its gateway had, or leave the event out',
  })
}

/** Of an event that was recorded without a schema: as the edge would have said, had it known one; the version wanted first. */
function versionOf({ type, data }: Event, wanted: number, registry: SchemaRegistry): number {
  const versions = registry.versions(type).toReversed()
  const inOrder = [
    ...versions.filter((version) => version <= wanted),
    ...versions.filter((version) => version > wanted),
  ]
  const fitting = firstFitting(registry, type, inOrder, data)
  if (fitting !== undefined) return fitting
  throw new TidegateError('UPCAST_FAILED', {
    message: `the ${type} event names no schema, and fits none: ${registry.faults(type, wanted, data).join('; ')}`,
    retryable: false,
    hint: 'correct the data with tidegate dead edit, or take the type by `types`, which hands events over as they are',
  })
}

/** Where nothing between the two means something else, the earlier version is what it knows of the later one. */
function readOlder(
  event: Event,
  recorded: number,
  wanted: number,
  parts: { registry: SchemaRegistry; upcasts: Upcasts },
): Event {
  const { type, data } = event
  const changed = !keepsMeaning(linksBetween(type, wanted, recorded, parts))
  const rest = changed
    ? undefined
    : withoutUnknown(data, (each, budget) => parts.registry.firstFault(type, wanted, each, budget))
  if (rest !== undefined && 'data' in rest) return asVersion(event, wanted, rest.data)
  const why =
    rest === undefined
      ? 'an upcast between them changes what stands in both'
      : (rest.fault.message ?? rest.fault.keyword)
  throw new TidegateError('SCHEMA_NEWER', {
    message: `the event is ${schemaName(type, recorded)}, which cannot be read as version ${wanted}: ${why}`,
    retryable: true,
    hint: `deploy the consumer for version ${recorded}: what waits is handed to it then, and letters of it can be replayed`,
  })
}

function applied({ type }: Event, { from, to, upcast }: Link, data: unknown): unknown {
  if (upcast === undefined) return data
  try {
    return upcast.apply(data)
  } catch (error) {
    // It has not failed: its code is still to come.
    if (upcast.isAbsent) throw error
    throw new TidegateError('UPCAST_FAILED', {
      message: `${type}/upcast/${from}-${to} failed: ${messageOf(error).slice(0, 500)}`,
      retryable: false,
      hint: `correct ${type}/upcast/${from}-${to}, add the data to its cases, then replay the dead letter`,
      cause: error,
    })
  }
}

function refusedBy(
  event: Event,
  wanted: number,
  faults: readonly string[],
  links: readonly Link[],
): TidegateError {
  const { type, dataschema } = event
  const missing = links
    .filter(({ upcast }) => upcast === undefined)
    .map(({ from, to }) => `${type}/upcast/${from}-${to}.yaml`)
  const said = `${dataschema ?? `a ${type} without a schema`} brought to version ${wanted} breaks it: ${faults.join('; ')}`
  if (missing.length === 0)
    return new TidegateError('UPCAST_FAILED', {
      message: said,
      retryable: false,
      hint: `correct the steps in ${type}/upcast/, add the data to their cases, then replay the dead letter`,
    })
  return new TidegateError('UPCAST_MISSING', {
    message: `${said}; nothing says how to get there`,
    retryable: false,
    hint: `write ${missing.join(' and ')} (docs/VERSIONS.md, Upcasters), then replay the dead letter`,
  })
}

/** It waits for whoever is to bring the schema here. */
function unknown({ type }: Event, version: number): TidegateError {
  return new TidegateError('SCHEMA_UNKNOWN', {
    message: `no schema ${schemaName(type, version)} here`,
    retryable: true,
    hint: `add ${type}/${version}.json to the schemas of the cloud (schemas.folder, or tidegate schema apply): what waits is handed over then`,
  })
}

function asVersion(event: Event, version: number, data: unknown): Event {
  return { ...event, dataschema: schemaName(event.type, version), data }
}
