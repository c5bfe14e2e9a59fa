import type { Event } from '../../src/contract/event.ts'
import type { Queryable } from '../database/storage.ts'
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

export { Unavailable } from '../protection/unavailable.ts'
export type { BatchEntry, Consumer, ConsumerOptions }

/** Of its transaction a handler sees `tx.query`, and nothing else. */
export type HandlerContext = HandlerContextOf<Queryable>
export type BatchContext = BatchContextOf<Queryable>

export interface SingleConsumerOptions extends ConsumerOptions {
  /**
   * Applies one event. Effects made through `context.tx` are committed together with the record that the event was
   * processed, so they happen once (G4). Throw to fail: a `TidegateError` that is not retryable goes to the dead
   * letters at once, anything else climbs the ladder.
   */
  handle(event: Event, context: HandlerContext): Promise<void> | void
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
export function defineConsumer(options: SingleConsumerOptions | BatchConsumerOptions): Consumer {
  refuseFaulty(options)
  const handler: Handler = takesBatches(options)
    ? { kind: 'batch', handleBatch: (entries, context) => options.handleBatch(entries, seen(context)) }
    : { kind: 'single', handle: (event, context) => options.handle(event, seen(context)) }
  return makeConsumer(options, handler)
}

/** As the check has it: a key that is undefined is not there. */
function takesBatches(
  options: SingleConsumerOptions | BatchConsumerOptions,
): options is BatchConsumerOptions {
  return (options as Partial<BatchConsumerOptions>).handleBatch !== undefined
}

function seen<Context extends { tx: Queryable }>(context: Context): Omit<Context, 'tx'> & { tx: Queryable } {
  const { tx } = context
  return { ...context, tx: { query: (sql, params) => tx.query(sql, params) } }
}
