import type { Random } from '../../src/clock.ts'
import { headers as names } from '../../src/contract/wire.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { retryLetter } from '../letters/letters.ts'
import { lastFailureOf } from '../letters/story.ts'
import type { Room } from '../parking/occupancy.ts'
import { parkedDelivery } from '../parking/parked.ts'
import type { Claimed, Parking, ParkedHead, ParkingIn } from '../parking/parking.ts'
import type { Gate } from '../protection/gate.ts'
import { type Aside, type Failed, trialOf } from './aside.ts'
import { blame, handleAll, type HandlingOptions, type Trace } from './batch.ts'
import type { Holding } from './holding.ts'
import { type Checks, isTooOld, judge, type Judgement, type Parcel } from './judge.ts'
import type { BatchPace } from './limits/batch-pace.ts'
import type { Places } from './limits/places.ts'
import type { PipelineObserver } from './observer.ts'
import { decide, type Decision, isHopeless, isOutage, thrown } from './retry.ts'

/** The claim of an instance that died, or was frozen between two transactions, is another's after so long. */
export const leaseMs = 30_000
/** Somebody adds to what waits at the moment when nothing waits: it is looked at again after so long. */
const lookAgainMs = 1_000

export interface TurnOptions extends HandlingOptions, Checks {
  instance: string
  storage: Storage
  parkingIn: ParkingIn
  random: Random
  observer: PipelineObserver
}

export interface TurnParts {
  aside: Aside
  holding: Holding
  room: Room
  gate: Gate
  places: Places
  stopping: AbortSignal
  cutOff: AbortSignal
}

/** A device that is ours, and what waits first of it. */
export interface Claim extends Claimed {
  token: string
  heads: readonly ParkedHead[]
  pace: BatchPace
  tellEmpty: (device: string) => void
}

/** One that waits, as it was read. */
interface Waiting {
  head: ParkedHead
  delivery: Delivery
  judgement: Judgement
}

/**
 * One turn of a parked device: a batch of what waits first of it, in the order in which it came (G6), in one transaction with its removal
 * and the proof that the device is ours (G4), and what comes of the event at which it ends. Then the turn is another's. What fails for
 * good becomes a letter in the transaction that removes it (G5). What waits is claimed in the inbox since it waits: here nobody asks, however
 * long ago that was, and what becomes a letter gives its claim back, so that its replay has its effect.
 */
export class Turn {
  readonly #options: TurnOptions
  readonly #parts: TurnParts
  readonly #claim: Claim
  /** What came of an attempt, until it is recorded: there is no other meanwhile. */
  #failure: { waiting: Waiting; error: unknown } | undefined
  #isOver = false

  constructor(options: TurnOptions, parts: TurnParts, claim: Claim) {
    this.#options = options
    this.#parts = parts
    this.#claim = claim
  }

  async take(): Promise<void> {
    const { holding, stopping, cutOff } = this.#parts
    const wait = holding.createWait()
    const read = this.#claim.heads.map((head) => this.#read(head))
    let run = this.#leading(read)
    try {
      for (let outages = 0; !this.#isOver && !stopping.aborted;) {
        try {
          if (run.length > 0) run = await this.#apply(run)
          else await this.#settleFirst(read)
          outages = 0
          wait.end()
        } catch (error) {
          if (cutOff.aborted) return
          if (!isOutage(error)) throw error
          await wait.out(error, ++outages)
        }
      }
      if (!this.#isOver) await this.#giveUp(0)
    } finally {
      wait.end()
    }
  }

  #read(head: ParkedHead): Waiting {
    const { consumer, clock } = this.#options
    const delivery = parkedDelivery(head)
    const judgement = judge(delivery, consumer, this.#options, clock.now())
    // What has not failed has only waited, as it might have in its queue.
    const isLate =
      judgement.kind === 'handle' &&
      delivery.attempt === 1 &&
      isTooOld(judgement.parcel.event, consumer, clock.now())
    return { head, delivery, judgement: isLate ? { kind: 'shed', delivery } : judgement }
  }

  /** Those that are to be handled, or left out, until one is not. */
  #leading(read: readonly Waiting[]): Waiting[] {
    const end = read.findIndex((one) => this.#isSkipped(one) || one.judgement.kind === 'fault')
    return read.slice(0, end < 0 ? read.length : end)
  }

  #isSkipped({ head }: Waiting): boolean {
    const { skip } = this.#claim
    return skip !== undefined && BigInt(head.n) <= BigInt(skip)
  }

  /** Of what is not to be handled, or has failed, the first. */
  async #settleFirst(read: readonly Waiting[]): Promise<void> {
    const [first] = read
    if (this.#failure) await this.#failed(this.#failure)
    else if (first === undefined) await this.#unpark()
    else if (this.#isSkipped(first)) await this.#skip(read.filter((one) => this.#isSkipped(one)))
    else if (first.judgement.kind === 'fault')
      await this.#failed((this.#failure = { waiting: first, error: first.judgement.error }))
    else await this.#giveUp(0)
  }

  /** Applies them, as many as the group lets begin; answers what is to be applied next. @throws TidegateError of an outage */
  async #apply(run: readonly Waiting[]): Promise<Waiting[]> {
    const { gate, places, stopping } = this.#parts
    // It may take longer than the claim lasts: then another has it, whose group's rate has something left.
    const entered = await gate.enter(run.length, stopping)
    if (entered === 0) {
      await this.#giveUp(0)
      return []
    }
    const some = run.slice(0, entered)
    let tried = 0
    try {
      const { handled, left } = await places.hold(() => this.#handled(some))
      tried = handled
      return left
    } finally {
      gate.leave(entered, tried)
    }
  }

  async #handled(run: readonly Waiting[]): Promise<{ handled: number; left: Waiting[] }> {
    const { clock, storage, consumer, observer } = this.#options
    const { pace } = this.#claim
    const startedMs = clock.monotonicMs()
    const trace: Trace = { at: undefined }
    try {
      const done = await this.#inTransaction((parking, tx) => this.#within(parking, tx, run, trace))
      this.#isOver = true
      if (done === undefined) return { handled: 0, left: [] }
      const tookMs = clock.monotonicMs() - startedMs
      pace.committed(done.length, tookMs)
      observer.transaction(consumer.group, done.length, tookMs, 'committed')
      this.#done(done)
      if (this.#failure) this.#isOver = false
      return { handled: done.length, left: [] }
    } catch (error) {
      const cause = await blame(thrown(error), storage)
      if (this.#parts.cutOff.aborted || isOutage(cause)) throw cause
      pace.failed(run.length)
      observer.transaction(consumer.group, run.length, clock.monotonicMs() - startedMs, 'failed')
      return { handled: 1, left: this.#withoutCulprit(run, trace, cause) }
    }
  }

  /** One transaction. Undefined: the device is another's. */
  async #within(
    parking: Parking,
    tx: Transaction,
    run: readonly Waiting[],
    trace: Trace,
  ): Promise<Waiting[] | undefined> {
    const { group } = this.#options.consumer
    if (!(await this.#keep(parking))) return undefined
    const parcels = run.flatMap(({ judgement }) => (judgement.kind === 'handle' ? [judgement.parcel] : []))
    const signal = this.#parts.cutOff
    const count = await handleAll(parcels, new Set(), tx, this.#options, { signal, trace })
    const next =
      count < parcels.length ? run.findIndex((one) => parcelOf(one) === parcels[count]) : run.length
    const done = run.slice(0, next)
    await parking.remove(
      group,
      this.#claim.device,
      done.map(({ head }) => head.n),
    )
    await parking.moveOn(group, this.#claim.device)
    // With one that has failed in hand the turn goes on.
    if (!this.#failure) await parking.giveUp(group, this.#claim.device, this.#claim.token, 0)
    return done
  }

  /** What is before the one at fault, or half of them until there is one. */
  #withoutCulprit(run: readonly Waiting[], { at }: Trace, error: unknown): Waiting[] {
    const handled = run.filter(({ judgement }) => judgement.kind === 'handle')
    if (handled.length === 0) throw error
    const culprit = handled.length === 1 ? handled[0] : run.find((one) => at && parcelOf(one) === at)
    if (culprit === undefined) return run.slice(0, run.indexOf(handled[handled.length >> 1] as Waiting))
    if (!isHopeless(error)) this.#parts.gate.tried(this.#claim.device, true)
    this.#failure = { waiting: culprit, error }
    return run.slice(0, run.indexOf(culprit))
  }

  #done(done: readonly Waiting[]): void {
    const { consumer, observer, clock } = this.#options
    const { room, gate, aside } = this.#parts
    room.added(0, -done.length)
    for (const { judgement, delivery } of done) {
      if (judgement.kind !== 'handle') {
        observer.settled(consumer.group, judgement.kind === 'shed' ? 'shed' : 'ignored')
        continue
      }
      const { event, fault } = judgement.parcel
      gate.tried(this.#claim.device, false)
      observer.applied(consumer.group, event, delivery, clock.now())
      if (fault) aside.recorded(delivery, fault, event)
      else observer.settled(consumer.group, 'processed')
    }
  }

  /** The first of them waits once more, or is out of the way: as one place says of every failure. */
  async #failed({ waiting, error }: { waiting: Waiting; error: unknown }): Promise<void> {
    const { consumer, clock, observer } = this.#options
    const { delivery, judgement } = waiting
    const event = eventOf(judgement)
    const attempt = { attempt: delivery.attempt, canWait: true, again: this.#again(waiting) }
    // What is parked stays so until it is done with, also where the group parks nothing any more.
    const decision = decide(error, attempt, { ...consumer, parks: true })
    if (decision.kind !== 'park' && decision.kind !== 'hold')
      return this.#bury([waiting], [{ delivery, error, event, nowMs: clock.now() }])
    if (await this.#setBack(waiting, error, decision)) {
      this.#parts.aside.tell(delivery, error, event, decision)
      observer.settled(consumer.group, 'parked')
    }
    this.#isOver = true
  }

  /** Whether an earlier one of this stay has failed and is done with. */
  #again(waiting: Waiting): boolean {
    return this.#claim.again || waiting.head.n !== this.#claim.heads[0]?.n
  }

  async #setBack(
    { head, delivery }: Waiting,
    error: unknown,
    decision: Extract<Decision, { kind: 'park' | 'hold' }>,
  ): Promise<boolean> {
    const { consumer, clock, instance, random } = this.#options
    const { group } = consumer
    const trial = trialOf(decision, delivery, error, random)
    const { headers } = retryLetter({ delivery, error, group, instance, nowMs: clock.now() })
    return this.#inTransaction(async (parking) => {
      if (!(await this.#keep(parking))) return false
      await parking.setBack(group, this.#claim.device, head.n, trial, headers)
      return true
    })
  }

  /** What an operator does not want to wait any longer: the first as what it has failed with, those behind it as what they are. */
  async #skip(some: readonly Waiting[]): Promise<void> {
    const nowMs = this.#options.clock.now()
    await this.#bury(
      some,
      some.map(({ delivery, judgement }) => skipped(delivery, eventOf(judgement), this.#claim, nowMs)),
    )
  }

  async #bury(some: readonly Waiting[], failed: readonly Failed[]): Promise<void> {
    const { consumer, observer, parkingIn } = this.#options
    const { group } = consumer
    const { device, token } = this.#claim
    const places = some.map(({ head }) => head.n)
    const events = some.flatMap(({ judgement }) => eventOf(judgement) ?? [])
    const isOurs = await this.#parts.aside.bury(failed, async (tx) => {
      const parking = parkingIn(tx)
      if (!(await this.#keep(parking))) return false
      await parking.remove(group, device, places)
      await parking.moveOn(group, device)
      await parking.giveUp(group, device, token, 0)
      if (consumer.dedup === 'inbox' && events.length > 0) await tx.inbox.release(group, events)
      return true
    })
    this.#isOver = true
    if (!isOurs) return
    this.#parts.room.added(0, -some.length)
    for (const _ of some) observer.settled(group, 'dead')
  }

  /** Nothing waits: whoever comes later need not. Between the lock and the look nobody can add anything. */
  async #unpark(): Promise<void> {
    const { group } = this.#options.consumer
    const { device, token, tellEmpty } = this.#claim
    const isGone = await this.#inTransaction(async (parking) => {
      const isEmpty =
        (await parking.lock(group, device, token)) && (await parking.heads(group, device, 1)).length === 0
      if (isEmpty) await parking.unpark(group, device)
      else await parking.giveUp(group, device, token, lookAgainMs)
      return isEmpty
    })
    this.#isOver = true
    if (!isGone) return
    this.#parts.room.added(-1, 0)
    tellEmpty(device)
  }

  #keep(parking: Parking): Promise<boolean> {
    return parking.keep(this.#options.consumer.group, this.#claim.device, this.#claim.token, leaseMs)
  }

  /** So that another need not wait for the end of the lease. */
  async #giveUp(delayMs: number): Promise<void> {
    const { group } = this.#options.consumer
    const { device, token } = this.#claim
    this.#isOver = true
    await this.#inTransaction((parking) => parking.giveUp(group, device, token, delayMs)).catch(() => {})
  }

  #inTransaction<T>(work: (parking: Parking, tx: Transaction) => Promise<T>): Promise<T> {
    const { storage, parkingIn } = this.#options
    return storage.transaction((tx) => work(parkingIn(tx), tx), this.#parts.cutOff)
  }
}

function parcelOf({ judgement }: Waiting): Parcel | undefined {
  return judgement.kind === 'handle' ? judgement.parcel : undefined
}

function eventOf(judgement: Judgement): Event | undefined {
  if (judgement.kind === 'handle') return judgement.parcel.event
  return judgement.kind === 'fault' ? judgement.event : undefined
}

/** With the story that it has, and no attempt more; of what has not been tried, that it only waited. */
function skipped(delivery: Delivery, event: Event | undefined, told: Claimed, nowMs: number): Failed {
  const last = delivery.attempt > 1 ? lastFailureOf(delivery.headers) : undefined
  const code = last && told.code !== '' ? told.code : undefined
  const error = new TidegateError(code ?? 'SKIPPED', {
    message: last
      ? told.message
      : 'an operator has skipped it: it was not tried, it waited behind one that failed',
    retryable: false,
    hint: 'an operator has skipped it: correct what it failed at, then replay the dead letter',
  })
  if (last === undefined) return { delivery, event, error, nowMs }
  const headers = { ...delivery.headers, [names.failures]: last.before }
  return { delivery: { ...delivery, headers, attempt: delivery.attempt - 1 }, event, error, nowMs: last.atMs }
}
