import type { Clock } from '../../src/clock.ts'
import type { BreakersFor } from '../protection/breakers.ts'
import { isOutage, thrown } from './retry.ts'
import type { ConfiguredConsumer, Consumer } from './definition.ts'
import type { Logger } from '../../src/log.ts'
import { outageOf } from '../protection/unavailable.ts'
import { codeOf } from '../../src/errors.ts'
import {
  countedOf,
  replayOf,
  type Replayed,
  type SentLetter,
  type SettledEvent,
} from '../replays/replayed.ts'
import { bounded } from './timeout.ts'
import type { Parcel } from './judge.ts'
import type { Statements } from '../database/statements.ts'
import type { Claim, Storage, Transaction } from '../database/storage.ts'

export interface TogetherOptions {
  consumer: ConfiguredConsumer
  storage: Storage
  /** Dead letters that come back. */
  replayedIn: (transaction: Statements) => Replayed
  /** A transaction ends with the event that brings it over this, and what is behind that event is left for the next. */
  batchTimeTargetMs: number
  /** Around what handlers call. */
  breakers: BreakersFor
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
  const { consumer, storage, clock, batchTimeTargetMs, replayedIn } = options
  let culprit: number | undefined
  try {
    const applied = await storage.transaction(async (tx) => {
      const startedMs = clock.monotonicMs()
      const replayed = new ReplayedParcels(replayedIn(tx), parcels)
      const stale = await replayed.hold(consumer.group)
      const repeats =
        consumer.dedup === 'inbox' ? await claim(tx, consumer.group, parcels, stale) : new Set(stale)
      if (consumer.handler.kind === 'batch') {
        await handleBatch(without(repeats, parcels), tx, options, signal)
        await replayed.settle(parcels.length, repeats)
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
      await replayed.settle(done, repeats)
      return { done, repeats }
    }, signal)
    return { kind: 'committed', ...applied }
  } catch (error) {
    return { kind: 'failed', error: await blame(thrown(error), storage), culprit }
  }
}

/**
 * Those of a batch that are replays of dead letters. Their effect, their claim of the inbox and the word that their letter is resolved
 * are one transaction's. A letter that is not replaying is somebody else's, or done: its message is a repeat, and claims nothing.
 */
class ReplayedParcels {
  readonly #replayed: Replayed
  readonly #parcels: readonly Parcel[]
  /** Of one letter there may be messages of several replays here; one at the most is of the replay that it is in. */
  #held: ReadonlySet<string> = new Set()

  constructor(replayed: Replayed, parcels: readonly Parcel[]) {
    this.#replayed = replayed
    this.#parcels = parcels
  }

  /** Answers which of them are repeats: in one batch, too, the first of a letter is it. */
  async hold(group: string): Promise<Set<Parcel>> {
    const unwanted = this.#parcels.filter(({ isUnwanted }) => isUnwanted)
    const sent = this.#parcels.flatMap((parcel) => parcel.sent ?? [])
    if (sent.length === 0) return new Set(unwanted)
    this.#held = new Set((await this.#replayed.hold(group, sent)).map(nameOf))
    const unseen = new Set(this.#held)
    const stale = this.#parcels.filter((parcel) => parcel.sent && !unseen.delete(nameOf(parcel.sent)))
    return new Set([...unwanted, ...stale])
  }

  /** Of the first `done`. */
  async settle(done: number, repeats: ReadonlySet<Parcel>): Promise<void> {
    await this.#resolve(done)
    const settled = this.#parcels.slice(0, done).flatMap((parcel): SettledEvent[] => {
      const replay = countedOf(parcel.delivery)
      const outcome = repeats.has(parcel) ? 'repeat' : 'resolved'
      const { delivery } = parcel
      const generation = replayOf(delivery)?.generation
      return replay === undefined ? [] : [{ replay, partition: delivery.partition, generation, outcome }]
    })
    if (settled.length > 0) await this.#replayed.count(settled)
  }

  /** Also those whose event another copy had brought before. */
  async #resolve(done: number): Promise<void> {
    const sent = this.#parcels.slice(0, done).flatMap((parcel) => parcel.sent ?? [])
    const held = sent.filter((each) => this.#held.has(nameOf(each)))
    if (held.length > 0) await this.#replayed.resolve([...new Set(held.map(({ letter }) => letter))])
  }
}

function nameOf({ letter, replay }: SentLetter): string {
  return `${letter} ${replay}`
}

/** Within one batch, too, the first of equal identities is new and the others repeat it. Answers the repeats, with those that are `stale`. */
async function claim(
  tx: Transaction,
  group: string,
  parcels: readonly Parcel[],
  stale: ReadonlySet<Parcel>,
): Promise<Set<Parcel>> {
  const claiming = without(stale, parcels)
  if (claiming.length === 0) return new Set(stale)
  const fresh = await tx.inbox.claim(group, claiming.map(claimOf))
  return new Set([...stale, ...claiming.filter((_, index) => !fresh[index])])
}

/** What there was no time for is claimed by the transaction that handles it. */
async function giveBack(tx: Transaction, consumer: Consumer, parcels: readonly Parcel[]): Promise<void> {
  if (consumer.dedup !== 'inbox' || parcels.length === 0) return
  await tx.inbox.release(consumer.group, parcels.map(claimOf))
}

/** A generation makes of an event another one, to whoever asks whether it was processed: once for each, on purpose (G4). */
function claimOf({ event: { source, id }, replay }: Parcel): Claim {
  return { source, id, generation: replay?.generation }
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
  await bounded((signal) => handler.handleBatch(parcels, { tx, log, signal, breaker: breakers(signal) }), {
    timeoutMs,
    parent,
    clock,
  })
  tx.assertUsable()
}

async function handleSingle(
  { event, delivery, replay }: Parcel,
  tx: Transaction,
  { consumer, breakers, clock, log }: TogetherOptions,
  parent: AbortSignal,
): Promise<void> {
  const { handler, timeoutMs } = consumer
  if (handler.kind !== 'single') return
  const { attempt } = delivery
  await bounded(
    (signal) =>
      handler.handle(event, { tx, log, signal, breaker: breakers(signal), attempt, delivery, replay }),
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
