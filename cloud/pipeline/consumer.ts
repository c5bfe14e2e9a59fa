import type { Event } from '../../src/contract/envelope.ts'
import type { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import {
  type BatchContextOf,
  type BatchEntry,
  type BatchTraits,
  type Consumer,
  type ConsumerOptions,
  type Handler,
  type HandlerContextOf,
  makeConsumer,
  refuseFaulty,
} from './definition.ts'
import { signed } from './handlers/made.ts'
import { handed, type HandlerTransaction } from './handlers/tagged.ts'
import { type EventsOf, type HandledEvent, type VersionsOf, withDevice } from './handlers/typed-events.ts'

export { Unavailable } from '../protection/unavailable.ts'
export type { BatchEntry, Consumer, ConsumerOptions, Event, HandledEvent, HandlerTransaction, TidegateError }
export type { DataOf, EventsOf, TypedEvent, VersionsOf } from './handlers/typed-events.ts'

/** Of its transaction a handler sees `tx.query`, and nothing else. */
export type HandlerContext = HandlerContextOf<HandlerTransaction>
export type BatchContext = BatchContextOf<HandlerTransaction>

/** Of a consumer that says its event types as patterns. */
export interface SingleConsumerOptions extends ConsumerOptions {
  types: readonly string[]
  events?: undefined
  /**
   * Applies one event. Effects made through `context.tx` are committed together with the record that the event was
   * processed, so they happen once (G4). Throw to fail: a `TidegateError` that is not retryable goes to the dead
   * letters at once, anything else climbs the ladder.
   */
  handle(event: HandledEvent, context: HandlerContext): Promise<void> | void
}

/** Of a consumer that says its event types one by one, each with the version that it reads. */
export interface TypedConsumerOptions<Wanted extends object> extends Omit<ConsumerOptions, 'events'> {
  types?: undefined
  events: Wanted & { readonly [Type in keyof Wanted]: VersionsOf<Type> }
  /** As `handle` of a consumer with `types`; what `data` is, is known by `event.type`. */
  handle(event: EventsOf<Wanted>, context: HandlerContext): Promise<void> | void
}

export interface BatchConsumerOptions extends ConsumerOptions, BatchTraits {
  /**
   * Applies events in order, all or nothing. If it throws, the batch is divided until the culprit stands alone.
   */
  handleBatch(entries: readonly BatchEntry[], context: BatchContext): Promise<void> | void
}

/**
 * Makes a consumer: what a user writes (published as `tidegate/consumer`).
 * @throws TidegateError `CONSUMER_INVALID` naming every fault.
 */
export function defineConsumer<Wanted extends Readonly<Record<string, Version>>, Version extends number>(
  options: TypedConsumerOptions<Wanted>,
): Consumer
export function defineConsumer(options: SingleConsumerOptions | BatchConsumerOptions): Consumer
export function defineConsumer(options: ConsumerOptions & BatchTraits & Given): Consumer {
  refuseFaulty(options)
  return signed(makeConsumer(options, handlerOf(options)), options)
}

interface Given {
  handle?(event: never, context: HandlerContext): Promise<void> | void
  handleBatch?(entries: readonly BatchEntry[], context: BatchContext): Promise<void> | void
}

/** As the check has it: a key that is undefined is not there. */
function handlerOf(options: Given): Handler {
  if (options.handleBatch === undefined)
    return {
      kind: 'single',
      handle: (event, context) => options.handle?.(withDevice(event) as never, seen(context)),
    }
  return {
    kind: 'batch',
    handleBatch: (entries, context) => options.handleBatch?.(entries, seen(context)),
  }
}

function seen<Context extends { tx: Transaction }>(
  context: Context,
): Omit<Context, 'tx'> & { tx: HandlerTransaction } {
  return { ...context, tx: handed(context.tx) }
}
