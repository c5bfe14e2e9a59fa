import type { Random } from '../../src/clock.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { retryLetter } from '../letters/letters.ts'
import type { Room } from '../parking/occupancy.ts'
import { skipped } from '../parking/parked.ts'
import type { Claimed, ParkedHead, ParkingIn } from '../parking/parking.ts'
import { Tenure } from '../parking/tenure.ts'
import type { Gate } from '../protection/gate.ts'
import { type Aside, type Failed, trialOf } from './aside.ts'
import { blame, handleAll, type HandlingOptions, type Trace } from './batch.ts'
import { type Checks, eventOf, judgeParked, parcelOf, type Waiting } from './judge.ts'
import type { BatchPace } from './limits/batch-pace.ts'
import type { Places } from './limits/places.ts'
import type { PipelineObserver } from './observer.ts'
import { awaitsSchema, decide, hasHung, isHopeless, isOutage, jittered, thrown, waitedMsOf } from './retry.ts'

export interface TurnOptions extends HandlingOptions, Checks {
  instance: string
  storage: Storage
  parkingIn: ParkingIn
  random: Random
  observer: PipelineObserver
}

export interface TurnParts {
  aside: Aside
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

/** What meets an outage, that of a breaker or a letter that the database refuses, keeps no place of those that do not. */
const outageDelayMs = 10_000
/** What cannot go on because its group is paused keeps no place of what is skipped. */
const pausedDelayMs = 1_000

const stretchMsMax = 900_000

/** What waits for a person to bring something is tried ever more seldom: however many devices wait, they cost the others little (G7). */
function stretched<Kind extends { kind: string }>(decision: Kind, waitedMs: number): Kind {
  if (!('delayMs' in decision)) return decision
  return { ...decision, delayMs: Math.max(Number(decision.delayMs), Math.min(waitedMs / 8, stretchMsMax)) }
}

/**
 * One turn of a parked device: what waits first of it, in the order in which it came (G6), in transactions with its removal and the proof
 * that the device is ours (G4). The turn is another's at an event that fails and is to wait, at one handler that hangs, when the time of
 * one transaction is over, or behind a full batch; a device of which nothing waits any longer is let go at once. What fails for
 * good becomes a letter in the transaction that removes it (G5). What waits is claimed in the inbox since it waits: here nobody asks, however
 * long ago that was, and what becomes a letter gives its claim back, so that its replay has its effect.
 */
export class Turn {
  readonly #options: TurnOptions
  readonly #parts: TurnParts
  readonly #claim: Claim
  readonly #tenure: Tenure
  readonly #startedMs: number
  /** What waits and was read, the first first; what is done with is not in it. */
  #waiting: Waiting[] = []
  /** There may be more than what was read. */
  #isFull = false
  /** So many of them are tried together at the most: one, of a device that has hung, so that a turn has one timeout. */
  #togetherMax = Infinity
  /** What came of an attempt; it is recorded as soon as nothing waits before it. */
  #failure: { waiting: Waiting; error: unknown } | undefined
  /** Of this stay the event that was done with last has succeeded. */
  #recovering: boolean
  #isOver = false

  constructor(options: TurnOptions, parts: TurnParts, claim: Claim) {
    this.#options = options
    this.#parts = parts
    this.#claim = claim
    this.#recovering = claim.recovering
    this.#startedMs = options.clock.monotonicMs()
    const { group, timeoutMs } = options.consumer
    const bounds = { timeoutMs, batchTimeTargetMs: options.batchTimeTargetMs }
    this.#tenure = new Tenure({ ...options, ...claim, group, bounds, cutOff: parts.cutOff })
    this.#read(claim.heads)
  }

  /** @throws TidegateError of an outage, when the device is given up for a while */
  async take(): Promise<void> {
    const { stopping, cutOff } = this.#parts
    try {
      while (!this.#isOver && !stopping.aborted) await this.#step()
      if (!this.#isOver) await this.#end()
    } catch (error) {
      if (cutOff.aborted) return
      if (isOutage(error)) await this.#tenure.giveUp(jittered(outageDelayMs, this.#options.random))
      throw error
    }
  }

  #read(heads: readonly ParkedHead[]): void {
    const { consumer, clock } = this.#options
    const { pace, hung } = this.#claim
    this.#waiting = heads.map((head) => judgeParked(head, consumer, this.#options, clock.now()))
    this.#isFull = heads.length >= pace.limit
    this.#togetherMax = hung ? 1 : Infinity
  }

  async #step(): Promise<void> {
    const [first] = this.#waiting
    if (first === undefined) await this.#look()
    else if (this.#isSkipped(first)) await this.#skip()
    else if (this.#failure?.waiting === first) await this.#failed(this.#failure)
    else if (first.judgement.kind === 'fault')
      this.#failure = { waiting: first, error: first.judgement.error }
    else await this.#apply(this.#leading())
  }

  /** Those that are to be handled, or left out, until one is not. */
  #leading(): Waiting[] {
    const end = this.#waiting.findIndex(
      (one) => one.judgement.kind === 'fault' || one === this.#failure?.waiting,
    )
    return this.#waiting.slice(0, Math.min(end < 0 ? Infinity : end, this.#togetherMax))
  }

  #isSkipped({ head }: Waiting): boolean {
    const { skip } = this.#claim
    return skip !== undefined && BigInt(head.n) <= BigInt(skip)
  }

  /** What an operator does not want to wait: the first as what it has failed with, those behind it as what they are. */
  async #skip(): Promise<void> {
    const some = this.#waiting.filter((one) => this.#isSkipped(one))
    const nowMs = this.#options.clock.now()
    await this.#bury(
      some,
      some.map((one) => ({ event: eventOf(one), ...skipped(one.delivery, this.#claim, nowMs) })),
    )
  }

  /** Applies as many of them as the group lets begin. @throws TidegateError of an outage */
  async #apply(run: readonly Waiting[]): Promise<void> {
    const { gate, places, stopping } = this.#parts
    // It may take longer than the claim lasts: then another has it, whose group's rate has something left.
    const entered = await gate.enter(run.length, stopping, true)
    if (entered === 0) return this.#end(gate.closed ? pausedDelayMs : 0)
    let tried = 0
    try {
      tried = await places.hold(() => this.#handled(run.slice(0, entered)))
    } finally {
      gate.leave(entered, tried)
    }
    if (entered < run.length && !this.#failure && !this.#isOver) await this.#end()
  }

  /** Answers how many were tried. */
  async #handled(run: readonly Waiting[]): Promise<number> {
    const { clock, storage, consumer, observer } = this.#options
    const { cutOff } = this.#parts
    const isOurs = await this.#tenure.lasts()
    const startedMs = clock.monotonicMs()
    const trace: Trace = { at: undefined }
    try {
      const done = isOurs && (await storage.transaction((tx) => this.#within(tx, run, trace), cutOff))
      if (!done) {
        this.#isOver = true
        return 0
      }
      this.#tenure.kept(startedMs)
      const tookMs = clock.monotonicMs() - startedMs
      this.#claim.pace.committed(done.length, tookMs)
      observer.transaction(consumer.group, done.length, tookMs, 'committed')
      this.#recovering ||= done.some(isHandled)
      this.#tellDone(done)
      await this.#goneOn(done.length)
      return done.length
    } catch (error) {
      const cause = await blame(thrown(error), storage)
      if (this.#parts.cutOff.aborted || isOutage(cause)) throw cause
      observer.transaction(consumer.group, run.length, clock.monotonicMs() - startedMs, 'failed')
      await this.#blame(run, trace, cause)
      return 1
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
    await this.#tenure.done(tx, placesOf(done), {
      recovering: this.#recovering || done.some(isHandled),
      hung: false,
    })
    return done
  }

  /** The first so many are done with, as is committed. Others have their turn, unless one that has failed is to be recorded. */
  async #goneOn(count: number): Promise<void> {
    this.#waiting.splice(0, count)
    this.#parts.room.added(0, -count)
    if (this.#failure) return
    if (this.#waiting.length === 0 ? this.#isFull : this.#isTimeOver) await this.#end()
  }

  get #isTimeOver(): boolean {
    const { clock, batchTimeTargetMs } = this.#options
    return clock.monotonicMs() - this.#startedMs >= batchTimeTargetMs
  }

  /** The one at fault, or half of them until there is one. Of those of which one has hung each is tried alone, in another turn. */
  async #blame(run: readonly Waiting[], { at }: Trace, error: unknown): Promise<void> {
    const { gate } = this.#parts
    const { device, pace } = this.#claim
    const handled = run.filter(({ judgement }) => judgement.kind === 'handle')
    if (handled.length === 0) throw error
    const culprit = handled.length === 1 ? handled[0] : run.find((one) => at && parcelOf(one) === at)
    if (culprit && !isHopeless(error)) gate.tried(device, true)
    if (hasHung(error) && handled.length > 1) {
      this.#isOver = true
      await this.#tenure.giveUp(0, true)
    } else if (culprit) this.#failure = { waiting: culprit, error }
    else {
      pace.failed(run.length)
      this.#togetherMax = run.indexOf(handled[handled.length >> 1] as Waiting)
    }
  }

  #tellDone(done: readonly Waiting[]): void {
    const { consumer, observer, clock } = this.#options
    const { gate, aside } = this.#parts
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

  /** The first waits once more, or is out of the way: as one place says of every failure. */
  async #failed({ waiting, error }: { waiting: Waiting; error: unknown }): Promise<void> {
    const { consumer, clock, observer, instance, random } = this.#options
    const { group } = consumer
    const { delivery, head } = waiting
    const event = eventOf(waiting)
    const nowMs = clock.now()
    const recovering = this.#recovering
    // What comes from a rung has been tried there, and has its step here all the same.
    const attempt =
      recovering && !awaitsSchema(error) ? 1 + Number(this.#wasTried(waiting)) : delivery.attempt
    const waitedMs = waitedMsOf(delivery, consumer.ladderMs, nowMs)
    // What is parked stays so until it is done with, also where the group parks nothing any more.
    const decision = decide(
      error,
      { attempt, waits: 'parked', recovering, waitedMs },
      { ...consumer, parks: true },
    )
    this.#failure = undefined
    if (decision.kind !== 'park' && decision.kind !== 'hold') {
      await this.#bury([waiting], [{ delivery, error, event, nowMs }], hasHung(error))
      if (hasHung(error) && !this.#isOver) await this.#end()
      return
    }
    const trial = trialOf(
      awaitsSchema(error) ? stretched(decision, waitedMs) : decision,
      delivery,
      error,
      random,
    )
    const { headers } = retryLetter({ delivery, error, group, instance, nowMs })
    const isOurs = await this.#tenure.setBack(head.n, trial, headers)
    this.#isOver = true
    if (!isOurs) return
    this.#parts.aside.tell(delivery, error, event, decision)
    observer.settled(group, 'parked')
  }

  /** While it has waited, and not before. */
  #wasTried({ head }: Waiting): boolean {
    const { code, heads } = this.#claim
    return code !== '' && head.n === heads[0]?.n
  }

  /** The first of those that wait. */
  async #bury(some: readonly Waiting[], failed: readonly Failed[], hung = false): Promise<void> {
    const { consumer, observer } = this.#options
    const { group, dedup } = consumer
    const events = some.flatMap((one) => eventOf(one) ?? [])
    const isOurs = await this.#parts.aside.bury(failed, async (tx) => {
      if (!(await this.#tenure.done(tx, placesOf(some), { recovering: false, hung }))) return false
      if (dedup === 'inbox' && events.length > 0) await tx.inbox.release(group, events)
      return true
    })
    this.#recovering = false
    if (!isOurs) this.#isOver = true
    else for (const _ of some) observer.settled(group, 'dead')
    if (isOurs) await this.#goneOn(some.length)
  }

  async #look(): Promise<void> {
    const { pace, device, tellEmpty } = this.#claim
    const heads = await this.#tenure.look(pace.limit)
    if (heads && heads.length > 0) {
      if (this.#isTimeOver) await this.#end()
      else this.#read(heads)
      return
    }
    this.#isOver = true
    if (heads === undefined) return
    this.#parts.room.added(-1, 0)
    tellEmpty(device)
  }

  async #end(delayMs = 0): Promise<void> {
    this.#isOver = true
    await this.#tenure.giveUp(delayMs)
  }
}

const isHandled = ({ judgement }: Waiting): boolean => judgement.kind === 'handle'
const placesOf = (some: readonly Waiting[]): string[] => some.map(({ head }) => head.n)
