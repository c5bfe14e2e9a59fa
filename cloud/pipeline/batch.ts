import type { Clock } from '../../src/clock.ts'
import type { Breakers } from '../protection/breakers.ts'
import { isOutage, thrown } from './retry.ts'
import type { ConfiguredConsumer, Consumer } from './definition.ts'
import type { Logger } from '../../src/log.ts'
import { outageOf } from '../protection/unavailable.ts'
import { codeOf } from '../../src/errors.ts'
import { bounded } from './timeout.ts'
import type { Parcel } from './judge.ts'
import type { Storage, Transaction } from '../database/storage.ts'

export interface TogetherOptions {
  consumer: ConfiguredConsumer
  storage: Storage
  /** A transaction ends with the event that brings it over this, and what is behind that event is left for the next. */
  batchTimeTargetMs: number
  /** Around what handlers call. */
  breakers: Breakers
  clock: Clock
  log: Logger
}

export type Together =
  /** The first `done` of them are committed; `repeats` were processed before and had no effect now. */
  | ({ kind: 'committed' } & Done)
  /** Rolled back. `culprit` is known when the consumer handles one event at a time. */
  | { kind: 'failed'; error: unknown; culprit: number | undefined }

interface Done {
  done: number
  repeats: ReadonlySet<Parcel>
}

/**
 * Applies parcels in order within one transaction: as many as there is time for, all of these or none (G4). Never throws.
 */
export async function applyTogether(
  parcels: readonly Parcel[],
  options: TogetherOptions,
  signal: AbortSignal,
): Promise<Together> {
  const { consumer, storage, clock, batchTimeTargetMs } = options
  let culprit: number | undefined
  try {
    const applied = await storage.transaction(async (tx) => {
      const startedMs = clock.monotonicMs()
      const repeats =
        consumer.dedup === 'inbox' ? await claim(tx, consumer.group, parcels) : new Set<Parcel>()
      if (consumer.handler.kind === 'batch') {
        await handleBatch(without(repeats, parcels), tx, options, signal)
        return { done: parcels.length, repeats }
      }
      let done = 0
      while (done < parcels.length && (done === 0 || clock.monotonicMs() - startedMs < batchTimeTargetMs)) {
        culprit = done++
        const parcel = parcels[culprit] as Parcel
        if (!repeats.has(parcel)) await handleSingle(parcel, tx, options, signal)
      }
      culprit = undefined
      await giveBack(tx, consumer, without(repeats, parcels.slice(done)))
      return { done, repeats }
    }, signal)
    return { kind: 'committed', ...applied }
  } catch (error) {
    return { kind: 'failed', error: await blame(thrown(error), storage), culprit }
  }
}

/** Within one batch, too, the first of equal identities is new and the others repeat it. */
async function claim(tx: Transaction, group: string, parcels: readonly Parcel[]): Promise<Set<Parcel>> {
  const fresh = await tx.inbox.claim(
    group,
    parcels.map((parcel) => parcel.event),
  )
  return new Set(parcels.filter((_, index) => !fresh[index]))
}

/** What there was no time for is claimed by the transaction that handles it. */
async function giveBack(tx: Transaction, consumer: Consumer, parcels: readonly Parcel[]): Promise<void> {
  if (consumer.dedup !== 'inbox' || parcels.length === 0) return
  await tx.inbox.release(
    consumer.group,
    parcels.map((parcel) => parcel.event),
  )
}

function without(repeats: ReadonlySet<Parcel>, parcels: readonly Parcel[]): readonly Parcel[] {
  return repeats.size === 0 ? parcels : parcels.filter((parcel) => !repeats.has(parcel))
}

async function handleBatch(
  parcels: readonly Parcel[],
  tx: Transaction,
  { consumer, breakers, clock, log }: TogetherOptions,
  parent: AbortSignal,
): Promise<void> {
  const { handler, timeoutMs } = consumer
  if (handler.kind !== 'batch' || parcels.length === 0) return
  await bounded((signal) => handler.handleBatch(parcels, { tx, log, signal, breaker: breakers }), {
    timeoutMs,
    parent,
    clock,
  })
  tx.assertUsable()
}

async function handleSingle(
  { event, delivery }: Parcel,
  tx: Transaction,
  { consumer, breakers, clock, log }: TogetherOptions,
  parent: AbortSignal,
): Promise<void> {
  const { handler, timeoutMs } = consumer
  if (handler.kind !== 'single') return
  const { attempt } = delivery
  await bounded(
    (signal) => handler.handle(event, { tx, log, signal, breaker: breakers, attempt, delivery }),
    {
      timeoutMs,
      parent,
      clock,
    },
  )
  tx.assertUsable()
}

/** A handler that hung because the database hangs is not to blame: that is an outage, and costs no attempt. */
async function blame(error: unknown, storage: Storage): Promise<unknown> {
  const unavailable = outageOf(error)
  if (unavailable) return unavailable
  if (isOutage(error) || codeOf(error) !== 'HANDLER_TIMEOUT') return error
  try {
    await storage.probe()
    return error
  } catch (outage) {
    return outage
  }
}
