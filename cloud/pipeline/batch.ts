import type { Clock } from '../../src/clock.ts'
import type { BreakersFor } from '../protection/breakers.ts'
import { hasHung, isOutage, thrown } from './retry.ts'
import type { ConfiguredConsumer, Consumer } from './definition.ts'
import type { Logger } from '../../src/log.ts'
import { outageOf } from '../protection/unavailable.ts'
import {
  countedOf,
  replayOf,
  type Replayed,
  type SentLetter,
  type SettledEvent,
} from '../replays/replayed.ts'
import { bounded } from './limits/timeout.ts'
import type { Parcel } from './judge.ts'
import type { Statements } from '../database/statements.ts'
import type { Claim, Storage, Transaction } from '../database/storage.ts'
import { type Diverted, nothingDiverted, type Yard } from '../parking/yard.ts'
import type { DeadLetters } from '../letters/dead-letters.ts'
import { letterKey } from '../letters/key.ts'

export interface TogetherOptions extends HandlingOptions {
  storage: Storage
  /** Dead letters that come back. */
  replayedIn: (transaction: Statements) => Replayed
  lettersIn: (transaction: Statements) => DeadLetters
}

export interface HandlingOptions {
  consumer: ConfiguredConsumer
  /** A transaction ends with the event that brings it over this, and what is behind that event is left for the next. */
  batchTimeTargetMs: number
  /** Around what handlers call. */
  breakers: BreakersFor
  clock: Clock
  log: Logger
}

export type Together =
  /** All but `left` are committed. */
  | ({ kind: 'committed' } & Done)
  /** Rolled back. `culprit` is known when the consumer handles one event at a time. */
  | { kind: 'failed'; error: unknown; culprit: number | undefined }

export interface Done {
  /** Processed, now or before: these are the `repeats`, which had no effect now. */
  done: readonly Parcel[]
  repeats: ReadonlySet<Parcel>
  /** Their device is parked: they wait behind what it waits for, or find no room there. */
  diverted: Diverted<Parcel>
  /** There was no time for them. */
  left: readonly Parcel[]
}

/**
 * Applies parcels in order within one transaction: as many as there is time for, all of these or none (G4), and none whose device is
 * parked (G6). Never throws.
 */
export async function applyTogether(
  parcels: readonly Parcel[],
  options: TogetherOptions & { yard: Yard },
  signal: AbortSignal,
): Promise<Together> {
  const trace: Trace = { at: undefined }
  try {
    const done = await options.storage.transaction(
      (tx) => applyWithin(tx, parcels, options, { signal, trace }),
      signal,
    )
    return { kind: 'committed', ...done }
  } catch (error) {
    const culprit = trace.at && parcels.indexOf(trace.at)
    return { kind: 'failed', error: await blame(thrown(error), options.storage), culprit }
  }
}

/** The parcel that is being handled, by a consumer that handles one at a time. */
export interface Trace {
  at: Parcel | undefined
}

interface Attempt {
  signal: AbortSignal
  trace: Trace
}

async function applyWithin(
  tx: Transaction,
  parcels: readonly Parcel[],
  options: TogetherOptions & { yard: Yard },
  attempt: Attempt,
): Promise<Done> {
  const { consumer, replayedIn, yard } = options
  const replayed = new ReplayedParcels(replayedIn(tx), parcels)
  const stale = await replayed.hold(consumer.group)
  const claimed =
    consumer.dedup === 'inbox' ? await claim(tx, consumer.group, parcels, stale) : new Set(stale)
  // Whoever parks a device has claimed the event that failed: whoever had to wait for that claim sees the device parked from here on.
  const lettered = consumer.parks
    ? await withLetter(tx, without(claimed, parcels), options)
    : new Set<Parcel>()
  const repeats = new Set([...claimed, ...lettered])
  const fresh = parcels.filter((parcel) => !repeats.has(parcel) && isInOrder(parcel))
  const diverted = consumer.parks ? await yard.divert(tx, fresh) : nothingDiverted
  const stay = parcels.filter((parcel) => !diverted.waiting.has(parcel) && !diverted.surplus.has(parcel))
  const count = await handleAll(stay, repeats, tx, options, attempt)
  const left = stay.slice(count)
  await giveBack(tx, consumer, [...lettered, ...diverted.surplus, ...without(repeats, left)])
  const done = stay.slice(0, count)
  await replayed.settle(done, repeats)
  return { done, repeats, diverted, left }
}

/**
 * Those that are among the dead letters: their acknowledgement was lost, or their gateway has sent them twice, or history had them too.
 * They have their effect when somebody replays them, and what came behind them has had its own (G6).
 */
async function withLetter(
  tx: Transaction,
  parcels: readonly Parcel[],
  { consumer, lettersIn }: TogetherOptions,
): Promise<ReadonlySet<Parcel>> {
  const again = parcels.filter(isInOrder)
  if (again.length === 0) return new Set()
  const keys = again.map(({ delivery, event }) => letterKey(delivery, event))
  const open = await lettersIn(tx).openOf(consumer.group, keys)
  return new Set(again.filter((_, index) => open.has((keys[index] as Buffer).toString('hex'))))
}

/** What a replay has sent has left its place in the order to others before: it neither waits behind them nor they behind it. */
function isInOrder({ delivery, sent }: Parcel): boolean {
  return sent === undefined && countedOf(delivery) === undefined
}

/** Handles them in order, as many as there is time for: answers how many. Those that are `repeats` are handed to nobody. */
export async function handleAll(
  parcels: readonly Parcel[],
  repeats: ReadonlySet<Parcel>,
  tx: Transaction,
  options: HandlingOptions,
  { signal, trace }: Attempt,
): Promise<number> {
  const { consumer, clock, batchTimeTargetMs } = options
  if (consumer.handler.kind === 'batch') {
    await handleBatch(without(repeats, parcels), tx, options, signal)
    return parcels.length
  }
  const startedMs = clock.monotonicMs()
  let done = 0
  while (done < parcels.length && (done === 0 || clock.monotonicMs() - startedMs < batchTimeTargetMs)) {
    const parcel = (trace.at = parcels[done++] as Parcel)
    if (!repeats.has(parcel)) await handleSingle(parcel, tx, options, signal)
  }
  trace.at = undefined
  return done
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

  async settle(done: readonly Parcel[], repeats: ReadonlySet<Parcel>): Promise<void> {
    await this.#resolve(done)
    const settled = done.flatMap((parcel): SettledEvent[] => {
      const replay = countedOf(parcel.delivery)
      const outcome = repeats.has(parcel) ? 'repeat' : 'resolved'
      const { delivery } = parcel
      const generation = replayOf(delivery)?.generation
      return replay === undefined ? [] : [{ replay, partition: delivery.partition, generation, outcome }]
    })
    if (settled.length > 0) await this.#replayed.count(settled)
  }

  /** Also those whose event another copy had brought before. */
  async #resolve(done: readonly Parcel[]): Promise<void> {
    const sent = done.flatMap((parcel) => parcel.sent ?? [])
    const held = sent.filter((each) => this.#held.has(nameOf(each)))
    if (held.length > 0) await this.#replayed.resolve([...new Set(held.map(({ letter }) => letter))])
  }
}

function nameOf({ letter, replay }: SentLetter): string {
  return `${letter} ${replay}`
}

/**
 * Within one batch, too, the first of equal identities is new and the others repeat it; a letter that is replayed is the first, wherever
 * it stands: another copy of its event waits for just that. Answers the repeats, with those that are `stale`.
 */
async function claim(
  tx: Transaction,
  group: string,
  parcels: readonly Parcel[],
  stale: ReadonlySet<Parcel>,
): Promise<Set<Parcel>> {
  const claiming = sentFirst(without(stale, parcels))
  if (claiming.length === 0) return new Set(stale)
  const fresh = await tx.inbox.claim(group, claiming.map(claimOf))
  return new Set([...stale, ...claiming.filter((_, index) => !fresh[index])])
}

function sentFirst(parcels: readonly Parcel[]): readonly Parcel[] {
  if (!parcels.some(({ sent }) => sent)) return parcels
  return [...parcels.filter(({ sent }) => sent), ...parcels.filter(({ sent }) => !sent)]
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
  { consumer, breakers, clock, log }: HandlingOptions,
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
  { consumer, breakers, clock, log }: HandlingOptions,
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
export async function blame(error: unknown, storage: Storage): Promise<unknown> {
  const unavailable = outageOf(error)
  if (unavailable) return unavailable
  if (isOutage(error) || !hasHung(error)) return error
  try {
    await storage.probe()
    return error
  } catch (outage) {
    return outage
  }
}

/** What remains when a run failed: without the culprit, or in halves until there is one. `blame` says what is done with it first. */
export function divide<Rest>(
  run: readonly Parcel[],
  culprit: number | undefined,
  blame: (parcel: Parcel) => readonly Rest[],
): (Parcel[] | Rest)[] {
  const at = run.length === 1 ? 0 : culprit
  if (at === undefined) return [run.slice(0, run.length >> 1), run.slice(run.length >> 1)]
  const blamed = blame(run[at] as Parcel)
  return [run.slice(0, at), ...blamed, run.slice(at + 1)]
}
