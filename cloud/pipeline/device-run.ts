import { TidegateError } from '../../src/errors.ts'
import type { Random } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Transaction } from '../database/storage.ts'
import { retryLetter } from '../letters/letters.ts'
import type { Room } from '../parking/occupancy.ts'
import { parkedDelivery } from '../parking/parked.ts'
import type { Kept, Parking, ParkedHead, ParkingIn } from '../parking/parking.ts'
import type { Gate } from '../protection/gate.ts'
import { type Aside, trialOf } from './aside.ts'
import { applyWithin, blame, type TogetherOptions } from './batch.ts'
import type { Holding, Wait } from './holding.ts'
import { type Checks, isTooOld, judge, type Judgement } from './judge.ts'
import type { Places } from './limits/places.ts'
import type { Outcome, PipelineObserver } from './observer.ts'
import { decide, type Decision, isHopeless, isOutage, thrown } from './retry.ts'

/** The claim of an instance that died, or was frozen between two transactions, is another's after so long. */
export const leaseMs = 30_000

export interface RunnerOptions extends TogetherOptions, Checks {
  instance: string
  parkingIn: ParkingIn
  /** Devices at a time. */
  concurrency: number
  random: Random
  log: Logger
  observer: PipelineObserver
  onFatal: (error: unknown) => void
}

export interface RunnerParts {
  aside: Aside
  holding: Holding
  room: Room
  gate: Gate
  places: Places
  stopping: AbortSignal
  cutOff: AbortSignal
}

/** The first that waits, as it was read, and what was made of it. */
interface Tried {
  head: ParkedHead
  delivery: Delivery
  judgement: Judgement
}

/** What a claim has come to: `again`, there may be more; `over`, it is somebody else's, or nobody's. */
type Step = 'again' | 'over'

/**
 * One parked device, as long as it is ours: its events one after another, in the order in which they came (G6), each in one transaction
 * with its removal and the proof that the device is ours (G4). What fails for good becomes a letter in the transaction that removes it
 * (G5); so does the replay of a letter at its first failure, so that nothing waits for it longer than that.
 */
export class DeviceRun {
  readonly #options: RunnerOptions
  readonly #parts: RunnerParts
  readonly #device: string
  readonly #token: string
  readonly #tellEmpty: (device: string) => void
  /** What came of the last attempt, as long as an outage keeps it from being recorded: there is no other attempt meanwhile. */
  #failure: { n: string; error: unknown } | undefined

  constructor(
    options: RunnerOptions,
    parts: RunnerParts,
    claim: { device: string; token: string; tellEmpty: (device: string) => void },
  ) {
    this.#options = options
    this.#parts = parts
    this.#device = claim.device
    this.#token = claim.token
    this.#tellEmpty = claim.tellEmpty
  }

  async toEnd(): Promise<void> {
    const { holding, gate, stopping, cutOff } = this.#parts
    const wait = holding.createWait()
    try {
      for (let outages = 0; !stopping.aborted && !gate.closed;) {
        try {
          if ((await this.#entered(wait)) === 'over') return
          outages = 0
        } catch (error) {
          if (cutOff.aborted) return
          if (!isOutage(error)) throw error
          await wait.out(error, ++outages)
        }
      }
      await this.#giveUp()
    } finally {
      wait.end()
    }
  }

  /** When the group lets one begin. */
  async #entered(wait: Wait): Promise<Step> {
    const { gate, places, stopping } = this.#parts
    if ((await gate.enter(1, stopping)) === 0) return 'again'
    const attempted = { count: 0 }
    try {
      return await places.hold(() => this.#step(wait, attempted))
    } finally {
      gate.leave(1, attempted.count)
    }
  }

  /** Tries the first that waits, in a transaction of its own. @throws TidegateError of an outage */
  async #step(wait: Wait, attempted: { count: number }): Promise<Step> {
    const { storage } = this.#options
    let tried: Tried | undefined
    try {
      const found = await this.#inTransaction(async (parking, tx) => {
        const kept = await this.#keep(parking)
        if (!kept) return 'over'
        const head = await parking.head(this.#options.consumer.group, this.#device)
        if (head === undefined) return 'empty'
        tried = this.#read(head)
        const outcome = await this.#apply(kept, tried, tx)
        await parking.remove(this.#options.consumer.group, this.#device, head.n)
        return outcome
      })
      wait.end()
      if (found === 'over') return 'over'
      if (found === 'empty') return await this.#unpark()
      attempted.count = Number(found === 'processed')
      this.#done(found, tried)
      return 'again'
    } catch (error) {
      const cause = await blame(thrown(error), storage)
      if (tried === undefined || this.#parts.cutOff.aborted || isOutage(cause)) throw cause
      attempted.count = Number(this.#failure === undefined)
      return await this.#failed(tried, cause)
    }
  }

  #read(head: ParkedHead): Tried {
    const delivery = parkedDelivery(head)
    return {
      head,
      delivery,
      judgement: judge(delivery, this.#options.consumer, this.#options, this.#options.clock.now()),
    }
  }

  async #apply(kept: Kept, { head, delivery, judgement }: Tried, tx: Transaction): Promise<Outcome> {
    const { consumer, clock } = this.#options
    if (this.#failure?.n === head.n) throw this.#failure.error
    if (kept.skip === head.n) throw skipped(kept)
    if (judgement.kind === 'fault') throw judgement.error
    if (judgement.kind === 'ignore') return 'ignored'
    if (judgement.kind === 'shed') return 'shed'
    const { parcel } = judgement
    // What has not failed has only waited, as it might have in its queue.
    const isFirst = delivery.attempt === 1 && parcel.sent === undefined
    if (isFirst && isTooOld(parcel.event, consumer, clock.now())) return 'shed'
    const { repeats } = await applyWithin(tx, [parcel], this.#options, this.#parts.cutOff, { at: undefined })
    return repeats.has(parcel) ? 'repeat' : 'processed'
  }

  #done(outcome: Outcome, tried: Tried | undefined): void {
    const { consumer, observer, clock } = this.#options
    this.#parts.room.added(0, -1)
    observer.settled(consumer.group, outcome)
    if (outcome !== 'processed' || tried?.judgement.kind !== 'handle') return
    const { event, delivery } = tried.judgement.parcel
    this.#parts.gate.tried(this.#device, false)
    observer.applied(consumer.group, event, delivery, clock.now())
  }

  /** The first of them waits once more, or is out of the way: as one place says of every failure. */
  async #failed({ head, delivery, judgement }: Tried, error: unknown): Promise<Step> {
    const { consumer, observer } = this.#options
    const { aside, gate, room } = this.#parts
    const isKnown = this.#failure !== undefined
    this.#failure = { n: head.n, error }
    if (!isKnown && !isHopeless(error)) gate.tried(this.#device, true)
    const event = eventOf(judgement)
    const decision = this.#decided(delivery, judgement, error)
    if (decision.kind === 'park' || decision.kind === 'hold') {
      const isOurs = await this.#setBack(head, delivery, error, decision)
      this.#failure = undefined
      if (isOurs) {
        aside.tell(delivery, error, event, decision)
        observer.settled(consumer.group, 'parked')
      }
      return 'over'
    }
    const isOurs = await aside.bury(delivery, error, event, async (tx) => {
      const parking = this.#options.parkingIn(tx)
      if (!(await this.#keep(parking))) return false
      return parking.remove(consumer.group, this.#device, head.n)
    })
    this.#failure = undefined
    if (!isOurs) return 'over'
    room.added(0, -1)
    observer.settled(consumer.group, 'dead')
    return 'again'
  }

  #decided(delivery: Delivery, judgement: Judgement, error: unknown): Decision {
    if (judgement.kind === 'handle' && judgement.parcel.sent) return { kind: 'dead' }
    // What is parked stays so until it is done with, also where the group parks nothing any more.
    return decide(
      error,
      { attempt: delivery.attempt, canWait: true },
      { ...this.#options.consumer, parks: true },
    )
  }

  async #setBack(
    head: ParkedHead,
    delivery: Delivery,
    error: unknown,
    decision: Extract<Decision, { kind: 'park' | 'hold' }>,
  ): Promise<boolean> {
    const { consumer, clock, instance, random } = this.#options
    const { group } = consumer
    const trial = trialOf(decision, delivery, error, random)
    const { headers } = retryLetter({ delivery, error, group, instance, nowMs: clock.now() })
    return this.#inTransaction(async (parking) => {
      if (!(await this.#keep(parking))) return false
      await parking.setBack(group, this.#device, head.n, trial, headers)
      return true
    })
  }

  /** Nothing waits: whoever comes later need not. Between the lock and the look nobody can add anything. */
  async #unpark(): Promise<Step> {
    const { group } = this.#options.consumer
    const step = await this.#inTransaction(async (parking) => {
      if (!(await parking.lock(group, this.#device, this.#token))) return 'over'
      if ((await parking.head(group, this.#device)) !== undefined) return 'again'
      await parking.unpark(group, this.#device)
      return 'gone'
    })
    if (step !== 'gone') return step
    this.#parts.room.added(-1, 0)
    this.#tellEmpty(this.#device)
    return 'over'
  }

  #keep(parking: Parking): Promise<Kept | undefined> {
    return parking.keep(this.#options.consumer.group, this.#device, this.#token, leaseMs)
  }

  /** So that another instance need not wait for the end of the lease. */
  async #giveUp(): Promise<void> {
    const { group } = this.#options.consumer
    await this.#inTransaction((parking) => parking.giveUp(group, this.#device, this.#token)).catch(() => {})
  }

  #inTransaction<T>(work: (parking: Parking, tx: Transaction) => Promise<T>): Promise<T> {
    const { storage, parkingIn } = this.#options
    return storage.transaction((tx) => work(parkingIn(tx), tx), this.#parts.cutOff)
  }
}

function eventOf(judgement: Judgement): Event | undefined {
  if (judgement.kind === 'handle') return judgement.parcel.event
  return judgement.kind === 'fault' ? judgement.event : undefined
}

/** What failed, as it was told of it then. */
function skipped({ code, message }: Kept): TidegateError {
  return new TidegateError(code || 'SKIPPED', {
    message: message || 'an operator has skipped it',
    retryable: false,
    hint: 'an operator has skipped it: correct what it failed at, then replay the dead letter',
  })
}
