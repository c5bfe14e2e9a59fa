import { TidegateError } from '../../src/errors.ts'
import type { Event } from '../../src/contract/envelope.ts'
import { isSystemType } from '../../src/contract/event.ts'
import { matchesTopic } from '../../src/contract/wire.ts'
import { parseDuration } from '../../src/units.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Transaction } from '../database/storage.ts'
import type { ReplayMark } from '../replays/replayed.ts'
import type { Breakers } from '../protection/breakers.ts'
import { faultsOfDefinition, parseRate } from './definition-check.ts'
import type { HandlerLog } from './handlers/handler-log.ts'

/**
 * A consumer group: which events it wants and what it does with them. One small file default-exports one; see
 * docs/CONSUMERS.md.
 */
export interface ConsumerOptions {
  /** Names its queues, inbox entries and metrics; never change it once deployed. `[a-z][a-z0-9-]{0,31}` */
  group: string
  /**
   * Event type patterns: `com.acme.climate`, `com.acme.*` (one label), `com.acme.#` (any number), `#` (everything
   * the devices send). The gateway's own `dev.tidegate.*` events come only if a pattern names them.
   */
  types?: readonly string[] | undefined
  /**
   * Instead of `types`: the event types that it wants, each with the version of its schema that it reads, `{ 'com.acme.climate': 2 }`.
   */
  events?: Readonly<Record<string, number>> | undefined
  /** Each device's events in order, one instance per partition at a time (G6). Default true. */
  ordered?: boolean
  /** Waits between attempts: `['5s', '1m']` makes three attempts. Default: the configured ladder. */
  retry?: readonly (string | number)[]
  /** Longest one call of the handler may take, ms or `'30s'`. Default: the configured timeout. */
  timeout?: string | number
  /**
   * What an event that fails does to the later ones of its device: `park`, they wait until it is done with, and no other device's
   * do (G6); `overtake`, they go first. Default: as configured, which is `park`, if ordered; else `overtake`, for without order nothing can
   * wait.
   */
  onFailure?: 'park' | 'overtake'
  /**
   * Of a parked device, when the ladder ends: `skip` (default), the event becomes a dead letter and those behind it go on; `hold`, all
   * of them wait for an operator.
   */
  then?: 'skip' | 'hold'
  /** Codes of errors that no attempt mends: `['SITE_UNKNOWN']`. Such an event is a dead letter at once. Default: none. */
  final?: readonly string[]
  /** Most events a second, of all instances together, `'200/s'`; what is over waits in the queues. Default: as many as come. */
  rate?: string
  /** Most handlers of it that run at once in an instance. Default: as many as there are lanes. */
  concurrency?: number
  /** An event that was recorded longer ago than that is not handed over: it is counted as shed, and done. Default: none is too old. */
  freshness?: string | number
  /**
   * Where a group that is new begins: `now` (default), or at the `beginning` of history; then its devices' events of today wait until it has
   * had those of before. Of a group that was here before it says nothing.
   */
  from?: 'beginning' | 'now'
  /** Of the handler, as its makers count: dead letters say with which it failed. 1–64 letters, digits and `.+_-`. */
  version?: string
}

/** What only consumers of batches can ask for. */
export interface BatchTraits {
  /**
   * `inbox` (default): an event is handed over only if its `(source, id)` is new to this group. `own`: repeats are
   * handed over too, and the handler's own unique keys keep effects single.
   */
  dedup?: 'inbox' | 'own'
  /** What makes an event a faulty one, beside its schema. */
  inspect?(event: Event): TidegateError | undefined
  /** Faulty events are handed over as well, with their fault, and are done once that is committed. Default: they are dead letters. */
  recordsFaults?: boolean
}

/** What a handler of batches is called with; `Tx` is what it sees of the transaction. */
export interface BatchContextOf<Tx> {
  /** The transaction of this event: `tx.query(sql, params)`. */
  tx: Tx
  log: HandlerLog
  /** Aborted at the timeout and at shutdown: pass it on to whatever can hang. */
  signal: AbortSignal
  /**
   * A circuit breaker around something that the handler calls: `await breaker('crm').execute(() => crm.tell(event, signal))`. While it
   * is open, calls throw `Unavailable`: the group waits, and no attempt is counted.
   */
  breaker: Breakers
}

export interface HandlerContextOf<Tx> extends BatchContextOf<Tx> {
  /** 1 on the first attempt. */
  attempt: number
  delivery: Delivery
  /** What it is the replay of; undefined: it comes from its gateway. */
  replay?: ReplayMark | undefined
}

export interface BatchEntry {
  event: Event
  /** The wire text, verbatim. */
  text: string
  fault: TidegateError | undefined
  /** What it is the replay of; undefined: it comes from its gateway. */
  replay?: ReplayMark | undefined
}

/** As the pipeline calls it: with all of the transaction. */
export type Handler =
  | { kind: 'single'; handle(event: Event, context: HandlerContextOf<Transaction>): Promise<void> | void }
  | {
      kind: 'batch'
      handleBatch(entries: readonly BatchEntry[], context: BatchContextOf<Transaction>): Promise<void> | void
    }

/** A checked consumer. Made by `defineConsumer`, and by `makeConsumer` for those that are built in. */
export interface Consumer {
  readonly group: string
  readonly types: readonly string[]
  readonly ordered: boolean
  /** The later events of a device wait behind one that fails (G6). Undefined: as configured. */
  readonly parks: boolean | undefined
  /** What ends the ladder of a parked device. */
  readonly ladderEnd: 'skip' | 'hold'
  /** Codes of errors that are hopeless. */
  readonly final: ReadonlySet<string>
  readonly version: string | undefined
  /** Undefined: as configured. */
  readonly ladderMs: readonly number[] | undefined
  /** Undefined: as configured. */
  readonly timeoutMs: number | undefined
  readonly ratePerSecond: number | undefined
  /** Undefined: as configured. */
  readonly concurrency: number | undefined
  readonly freshnessMs: number | undefined
  readonly from: 'beginning' | 'now'
  readonly dedup: 'inbox' | 'own'
  readonly recordsFaults: boolean
  readonly handler: Handler
  wants(type: string): boolean
  /** The version of its schema that events of this type are read as; undefined: as they were recorded. */
  wantedVersion(type: string): number | undefined
  inspect(event: Event): TidegateError | undefined
}

/** What holds for consumers that do not say it themselves. */
export interface ConsumerDefaults {
  /** Default: of groups that park `1s, 5s, 30s, 2m`, of others `5s, 30s, 5m, 30m`. */
  ladderMs?: readonly number[] | undefined
  /** Of groups that park. Default: `ladderMs`. */
  parkedLadderMs?: readonly number[] | undefined
  timeoutMs: number
  /** For how long an event waits for a schema that is not here, or for a consumer that reads it. Default 24 h. */
  schemaWaitMs?: number
  /** Of ordered groups. Default true. */
  parks?: boolean
}

/** A consumer that knows everything there is to know before its first event, as the pipeline takes it. */
export type ConfiguredConsumer = Consumer &
  Required<Omit<ConsumerDefaults, 'ladderMs' | 'parkedLadderMs'>> & { ladderMs: readonly number[] }

const schemaWaitMsDefault = 86_400_000
/** Of groups that do not park, unless something else is configured. */
export const ladderMsDefault: readonly number[] = [5_000, 30_000, 300_000, 1_800_000]
/** A device that waits for an event collects what comes meanwhile. */
const parkedLadderMsDefault = [1_000, 5_000, 30_000, 120_000]

/** The one place where what a consumer says itself wins over what is configured. */
export function configured(consumer: Consumer, defaults: ConsumerDefaults): ConfiguredConsumer {
  const parks = consumer.parks ?? defaults.parks ?? true
  const { ladderMs, parkedLadderMs = ladderMs ?? parkedLadderMsDefault } = defaults
  return {
    ...consumer,
    ladderMs: consumer.ladderMs ?? (parks ? parkedLadderMs : (ladderMs ?? ladderMsDefault)),
    timeoutMs: consumer.timeoutMs ?? defaults.timeoutMs,
    schemaWaitMs: defaults.schemaWaitMs ?? schemaWaitMsDefault,
    parks,
  }
}

/** Makes a consumer of options that have no fault, and a handler. */
export function makeConsumer(options: ConsumerOptions & BatchTraits, handler: Handler): Consumer {
  const ladderMs = options.retry?.map(parseDuration)
  const timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout)
  const batch = handler.kind === 'batch' ? options : undefined
  const ordered = options.ordered ?? true
  const types = options.types ?? Object.keys(options.events ?? {})
  return {
    group: options.group,
    types,
    ordered,
    parks: ordered ? parksOf(options) : false,
    ladderEnd: options.then ?? 'skip',
    final: new Set(options.final),
    version: options.version,
    ladderMs: ladderMs as number[] | undefined,
    timeoutMs,
    ratePerSecond: options.rate === undefined ? undefined : parseRate(options.rate),
    concurrency: options.concurrency,
    freshnessMs: options.freshness === undefined ? undefined : parseDuration(options.freshness),
    from: options.from ?? 'now',
    dedup: batch?.dedup ?? 'inbox',
    recordsFaults: batch?.recordsFaults ?? false,
    handler,
    wants: memoized((type) => types.some((pattern) => takes(pattern, type))),
    wantedVersion: versionsOf(options.events),
    inspect: (event) => batch?.inspect?.(event),
  }
}

/** What `events` says of a type. */
export function versionsOf(
  events: Readonly<Record<string, number>> | undefined,
): (type: string) => number | undefined {
  const versions = new Map(Object.entries(events ?? {}))
  return (type) => versions.get(type)
}

/** Of an ordered group: who says what ends the ladder of parked devices wants them parked. */
function parksOf({ onFailure, then }: ConsumerOptions): boolean | undefined {
  return onFailure === undefined ? then && true : onFailure === 'park'
}

/** @throws TidegateError `CONSUMER_INVALID` naming every fault. */
export function refuseFaulty(given: unknown): void {
  const faults = faultsOfDefinition(given)
  if (faults.length === 0) return
  const group = (given as { group?: unknown } | null)?.group
  throw new TidegateError('CONSUMER_INVALID', {
    message: `consumer ${typeof group === 'string' ? group.slice(0, 60) : '(without a group)'}: ${faults.join('; ')}`,
    retryable: false,
    hint: 'see docs/CONSUMERS.md',
  })
}

/** Whether events of a type are meant; the gateways' own come only if a pattern names them. */
export function takes(pattern: string, type: string): boolean {
  return (isSystemType(pattern) || !isSystemType(type)) && matchesTopic(pattern, type)
}

/** Types are few, but a hostile device may invent many: the memory is bounded (G7). */
export function memoized(answer: (type: string) => boolean): (type: string) => boolean {
  const known = new Map<string, boolean>()
  return (type) => {
    let wanted = known.get(type)
    if (wanted === undefined) {
      if (known.size >= 1000) known.clear()
      known.set(type, (wanted = answer(type)))
    }
    return wanted
  }
}
