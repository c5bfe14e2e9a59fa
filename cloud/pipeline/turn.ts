import type { Random } from '../../src/clock.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { retryLetter } from '../letters/letters.ts'
import type { Room } from '../parking/occupancy.ts'
import { parkedDelivery, skipped } from '../parking/parked.ts'
import type { Claimed, ParkedHead, ParkingIn } from '../parking/parking.ts'
import { Tenure } from '../parking/tenure.ts'
import type { Gate } from '../protection/gate.ts'
import { type Aside, type Failed, trialOf } from './aside.ts'
import { blame, handleAll, type HandlingOptions, type Trace } from './batch.ts'
import type { Holding } from './holding.ts'
import { type Checks, isTooOld, judge, type Judgement, type Parcel } from './judge.ts'
import type { BatchPace } from './limits/batch-pace.ts'
import type { Places } from './limits/places.ts'
import type { PipelineObserver } from './observer.ts'
import { decide, type Decision, isHopeless, isOutage, thrown } from './retry.ts'

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
  readonly #tenure: Tenure
  #isOver = false

  constructor(options: TurnOptions, parts: TurnParts, claim: Claim) {
    this.#options = options
    this.#parts = parts
    this.#claim = claim
    const { group } = options.consumer
    this.#tenure = new Tenure({ ...options, ...claim, group, cutOff: parts.cutOff })
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
      if (!this.#isOver) await this.#tenure.giveUp()
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
    else if (first === undefined) await this.#letGo()
    else if (this.#isSkipped(first)) {
      // What an operator does not want to wait: the first as what it has failed with, those behind it as what they are.
      const some = read.filter((one) => this.#isSkipped(one))
      const nowMs = this.#options.clock.now()
      await this.#bury(
        some,
        some.map((one) => ({ event: eventOf(one), ...skipped(one.delivery, this.#claim, nowMs) })),
      )
    } else if (first.judgement.kind === 'fault')
      await this.#failed((this.#failure = { waiting: first, error: first.judgement.error }))
    else this.#isOver = await this.#tenure.giveUp()
  }

  /** Applies them, as many as the group lets begin; answers what is to be applied next. @throws TidegateError of an outage */
  async #apply(run: readonly Waiting[]): Promise<Waiting[]> {
    const { gate, places, stopping } = this.#parts
    // It may take longer than the claim lasts: then another has it, whose group's rate has something left.
    const entered = await gate.enter(run.length, stopping)
    if (entered === 0) {
      this.#isOver = await this.#tenure.giveUp()
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
      const { cutOff } = this.#parts
      const done = await storage.transaction((tx) => this.#within(tx, run, trace), cutOff)
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
      observer.transaction(consumer.group, run.length, clock.monotonicMs() - startedMs, 'failed')
      return { handled: 1, left: this.#withoutCulprit(run, trace, cause) }
    }
  }

  /** One transaction. Undefined: the device is another's. */
  async #within(tx: Transaction, run: readonly Waiting[], trace: Trace): Promise<Waiting[] | undefined> {
    if (!(await this.#tenure.keeps(tx))) return undefined
    const parcels = run.flatMap((one) => parcelOf(one) ?? [])
    const signal = this.#parts.cutOff
    const count = await handleAll(parcels, new Set(), tx, this.#options, { signal, trace })
    const next =
      count < parcels.length ? run.findIndex((one) => parcelOf(one) === parcels[count]) : run.length
    const done = run.slice(0, next)
    // With one that has failed in hand the turn goes on.
    await this.#tenure.done(tx, placesOf(done), { ends: !this.#failure })
    return done
  }

  /** What is before the one at fault, or half of them until there is one. */
  #withoutCulprit(run: readonly Waiting[], { at }: Trace, error: unknown): Waiting[] {
    const handled = run.filter(({ judgement }) => judgement.kind === 'handle')
    if (handled.length === 0) throw error
    const culprit = handled.length === 1 ? handled[0] : run.find((one) => at && parcelOf(one) === at)
    if (culprit === undefined) {
      this.#claim.pace.failed(run.length)
      return run.slice(0, run.indexOf(handled[handled.length >> 1] as Waiting))
    }
    if (!isHopeless(error)) this.#parts.gate.tried(this.#claim.device, true)
    this.#failure = { waiting: culprit, error }
    return run.slice(0, run.indexOf(culprit))
  }

  #done(done: readonly Waiting[]): void {
    const { consumer, observer, clock } = this.#options
    const { room, gate, aside } = this.#parts
    room.added(0, -done.length)
    for (const { judgement, delivery } of done) {
      if (judgement.kind === 'shed') observer.settled(consumer.group, 'shed')
      if (judgement.kind === 'ignore') observer.settled(consumer.group, 'ignored')
      if (judgement.kind !== 'handle') continue
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
    const { delivery } = waiting
    const event = eventOf(waiting)
    // An earlier one of this stay has failed and is done with.
    const again = this.#claim.again || waiting.head.n !== this.#claim.heads[0]?.n
    const attempt = { attempt: delivery.attempt, canWait: true, again }
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

  async #setBack(
    { head, delivery }: Waiting,
    error: unknown,
    decision: Extract<Decision, { kind: 'park' | 'hold' }>,
  ): Promise<boolean> {
    const { consumer, clock, instance, random } = this.#options
    const { group } = consumer
    const trial = trialOf(decision, delivery, error, random)
    const { headers } = retryLetter({ delivery, error, group, instance, nowMs: clock.now() })
    return this.#tenure.setBack(head.n, trial, headers)
  }

  async #bury(some: readonly Waiting[], failed: readonly Failed[]): Promise<void> {
    const { consumer, observer } = this.#options
    const { group, dedup } = consumer
    const events = some.flatMap((one) => eventOf(one) ?? [])
    const isOurs = await this.#parts.aside.bury(failed, async (tx) => {
      if (!(await this.#tenure.done(tx, placesOf(some), { ends: true }))) return false
      if (dedup === 'inbox' && events.length > 0) await tx.inbox.release(group, events)
      return true
    })
    this.#isOver = true
    if (!isOurs) return
    this.#parts.room.added(0, -some.length)
    for (const _ of some) observer.settled(group, 'dead')
  }

  async #letGo(): Promise<void> {
    const isGone = await this.#tenure.letGo()
    this.#isOver = true
    if (!isGone) return
    this.#parts.room.added(-1, 0)
    this.#claim.tellEmpty(this.#claim.device)
  }
}

const placesOf = (some: readonly Waiting[]): string[] => some.map(({ head }) => head.n)

function parcelOf({ judgement }: Waiting): Parcel | undefined {
  return judgement.kind === 'handle' ? judgement.parcel : undefined
}

/** Also of one that is to be left out: it was an event when it came to wait. */
function eventOf({ judgement, delivery }: Waiting): Event | undefined {
  if (judgement.kind === 'handle') return judgement.parcel.event
  if (judgement.kind === 'fault') return judgement.event
  try {
    return decodeEvent(delivery.text.toString('utf8'))
  } catch {
    return undefined
  }
}
