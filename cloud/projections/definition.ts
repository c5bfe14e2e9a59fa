import type { Event } from '../../src/contract/envelope.ts'
import { TidegateError } from '../../src/errors.ts'
import { didYouMean } from '../../src/settings/nearest.ts'
import { parseDuration, withinLimits } from '../../src/units.ts'
import type { Queryable } from '../database/storage.ts'
import {
  faultsOfEvents,
  faultsOfTypes,
  handlerLimits,
  inWords,
  isFunction,
} from '../pipeline/definition-check.ts'
import { memoized, takes, versionsOf } from '../pipeline/definition.ts'
import type { HandlerLog } from '../pipeline/handlers/handler-log.ts'
import { handed, type HandlerTransaction } from '../pipeline/handlers/tagged.ts'

/** What `apply` is called with. */
export interface ProjectionContext {
  /** The transaction of these events and of the cursor behind them; names without a schema are of this version's own. */
  tx: HandlerTransaction
  log: HandlerLog
  /** Aborted at the timeout and when the cloud stops. */
  signal: AbortSignal
}

/** As it is called: its transaction may be any. */
type AppliedWithin = Omit<ProjectionContext, 'tx'> & { tx: Queryable }

/** An event of history, with where it is in it: the same events have the same, however often they are applied. */
export type ProjectedEvent = Event & {
  /** Place in history. */
  cursor: string
  /** When it was stored, by PostgreSQL's clock (RFC 3339): no device and no gateway can make it up. */
  storedtime: string
}

/** What is derived from history. One small file default-exports one; see docs/PROJECTIONS.md. */
export interface ProjectionOptions {
  /** Readers ask the view `projection.<name>`. `[a-z][a-z0-9_]{0,30}` */
  name: string
  /** Another one whenever `apply`, `tables` or `events` change. 1 to 9999. */
  version: number
  /**
   * Event type patterns: `com.acme.power`, `com.acme.#`, `#` (everything the devices send); or types with the version of its schema that each is
   * read as, `{ 'com.acme.power': 2 }`.
   */
  events: readonly string[] | Readonly<Record<string, number>>
  /** SQL that makes its tables, or a `file:` URL of it. One is named like the projection; names have no schema. */
  tables: string | URL
  /**
   * Applies events, in the order of history, all or nothing. Depends on nothing but them, and has effects through `context.tx` alone: then
   * each has them once, and all can be had again from history. Throw to fail: what is `retryable` is tried again, anything else stops the
   * projection at the event.
   */
  apply(events: readonly ProjectedEvent[], context: ProjectionContext): Promise<void> | void
  /** Whose rows an event changes. Default: those of its device. */
  key?: (event: Event) => string
  /** Column of its tables that holds the key. Default `device`. */
  keyColumn?: string
  /** Longest one call of `apply` may take, ms or `'30s'`. Default 10 s: readers of history wait for one that hangs. */
  timeout?: string | number
}

/** A checked projection. Made by `defineProjection`. */
export interface Projection {
  readonly kind: 'projection'
  readonly name: string
  readonly version: number
  readonly events: readonly string[]
  readonly tables: string | URL
  /** Undefined: its device. */
  readonly key: ((event: Event) => string) | undefined
  readonly keyColumn: string
  /** Undefined: as configured. */
  readonly timeoutMs: number | undefined
  apply(events: readonly ProjectedEvent[], context: AppliedWithin): Promise<void> | void
  wants(type: string): boolean
  /** The version of its schema that events of this type are read as; undefined: as they were recorded. */
  wantedVersion(type: string): number | undefined
  /** The same, of all types that it says it of. */
  readonly versions: Readonly<Record<string, number>>
  /** The types it wants, where it says them one by one. */
  readonly types: readonly string[] | undefined
  /**
   * Begins a batch, and says of one event after the other what it adds to what applying the batch costs, in rows or numbers, those included that
   * have to be read for it; undefined: each the same. Of what is built in.
   */
  readonly weigh?: () => (event: ProjectedEvent) => number
}

/** With its SQL at hand. */
export type LoadedProjection = Projection & { readonly tables: string }

/** Within 63 bytes with its prefix, its version and what is thrown away beside it (PostgreSQL 15, 4.1.1). */
export const projectionNamePattern = /^[a-z][a-z0-9_]{0,30}$/
export const versionMax = 9999
const columnPattern = /^[a-z_][a-z0-9_]{0,62}$/

type Fault = string | false | undefined

const checks: Readonly<Record<string, (value: unknown) => Fault | readonly Fault[]>> = {
  name: (value) =>
    !(typeof value === 'string' && projectionNamePattern.test(value)) &&
    `must match ${projectionNamePattern.source.slice(1, -1)}`,
  version: (value) =>
    !(Number.isInteger(value) && (value as number) >= 1 && (value as number) <= versionMax) &&
    `must be a whole number from 1 to ${versionMax}`,
  events: (value) => (Array.isArray(value) ? faultsOfTypes(value) : faultsOfEvents(value)),
  tables: (value) =>
    !(value instanceof URL) &&
    !(typeof value === 'string' && value.trim() !== '') &&
    `must be SQL, or a file: URL of it, and is ${inWords(value)}`,
  apply: isFunction,
  key: isFunction,
  keyColumn: (value) =>
    !(typeof value === 'string' && columnPattern.test(value)) &&
    'must be the name of a column, in small letters',
  timeout: (value) =>
    !withinLimits(parseDuration(value), handlerLimits) &&
    `must be a duration such as 30s, ${handlerLimits.max} at most`,
}
const required = ['name', 'version', 'events', 'tables', 'apply']

/**
 * Makes a projection: what a user writes (published as `tidegate/consumer`).
 * @throws TidegateError `PROJECTION_INVALID` naming every fault.
 */
export function defineProjection(options: ProjectionOptions): Projection {
  refuseFaulty(options)
  const { name, version, key, keyColumn = 'device', timeout } = options
  const versions = isList(options.events) ? undefined : options.events
  const events = isList(options.events) ? options.events : Object.keys(options.events)
  const exact = events.every((pattern) => !/[*#]/.test(pattern))
  return {
    kind: 'projection',
    name,
    version,
    events,
    tables: options.tables,
    key: key && ((event) => key(event)),
    keyColumn,
    timeoutMs: timeout === undefined ? undefined : parseDuration(timeout),
    apply: (given, context) => options.apply(given, { ...context, tx: handed(context.tx) }),
    wants: memoized((type) => events.some((pattern) => takes(pattern, type))),
    wantedVersion: versionsOf(versions),
    versions: versions ?? {},
    types: exact ? [...new Set(events)] : undefined,
  }
}

function isList(events: ProjectionOptions['events']): events is readonly string[] {
  return Array.isArray(events)
}

export function isProjection(value: unknown): value is Projection {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'projection'
}

function refuseFaulty(given: unknown): void {
  const faults = faultsOf(given)
  if (faults.length === 0) return
  const name = (given as { name?: unknown } | null)?.name
  throw projectionInvalid(
    typeof name === 'string' ? name.slice(0, 60) : '(without a name)',
    faults.join('; '),
  )
}

function faultsOf(given: unknown): string[] {
  if (typeof given !== 'object' || given === null)
    return [`a projection is an object, and this is ${inWords(given)}`]
  const options = given as Readonly<Record<string, unknown>>
  const known = Object.keys(checks)
  const there = known.filter((key) => options[key] !== undefined)
  const missing = known.filter((key) => !there.includes(key))
  const unknown = Object.keys(options).filter((key) => !known.includes(key) && options[key] !== undefined)
  return [
    ...unknown.map((key) => `${key} is nothing a projection has${didYouMean(key, missing)}`),
    ...required.filter((key) => !there.includes(key)).map((key) => `${key} is required`),
    ...there.flatMap((key) =>
      [checks[key]?.(options[key])].flat().map((fault) => fault && `${key} ${fault}`),
    ),
  ].filter((fault) => typeof fault === 'string')
}

export function projectionInvalid(name: string, message: string): TidegateError {
  return new TidegateError('PROJECTION_INVALID', {
    message: `projection ${name}: ${message}`,
    retryable: false,
    hint: 'see docs/PROJECTIONS.md',
  })
}
