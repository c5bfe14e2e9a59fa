import type { Clock, Random } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import { codeOf, messageOf, type TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery, Letter, Sidings } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { addLetters, addWithin } from '../letters/adding.ts'
import {
  type Added,
  type DeadLetter,
  deadLetterOf,
  type Dying,
  type LetterBox,
} from '../letters/dead-letters.ts'
import { createFailureLog, type FailureLog } from '../letters/failure-log.ts'
import { mirrorLetter, retryLetter } from '../letters/letters.ts'
import { together } from '../letters/together.ts'
import { transactionBytesMax, type Trial } from '../parking/parking.ts'
import { parkingFull, type Yard } from '../parking/yard.ts'
import { countedOf, letterOf } from '../replays/replayed.ts'
import type { ConfiguredConsumer } from './definition.ts'
import type { Holding } from './holding.ts'
import type { Outcome, PipelineObserver } from './observer.ts'
import { type Attempt, decide, type Decision, isOutage, jittered, waitedMsOf } from './retry.ts'
import type { Settlement } from './settlement.ts'

/** What becomes of a delivery with a fault. */
export interface Aside {
  /**
   * Out of the partition's way, onto a rung, into the parking or among the dead letters, with proof; then, and only then, acknowledged
   * (G5). Resolves when that is done, or when the delivery is no longer live. `event` is what was in it, as far as it could be read.
   */
  put(delivery: Delivery, error: unknown, event: Event | undefined): Promise<void>
  /** Whether `put` parks its device: no later event may be begun with before it has (G6). */
  parks(delivery: Delivery, error: unknown, event: Event | undefined): boolean
  /**
   * Acknowledges one whose fault is committed with it, by a consumer that records faults. It has no letter, and so waits for none:
   * dead letters that one device has filled up hold up no other (G5, G7).
   */
  recorded(delivery: Delivery, fault: TidegateError, event: Event): void
  /**
   * Makes dead letters of events that were parked, and takes them out of the parking in the same transaction: `takeOut` answers whether
   * they were still there to be taken, and otherwise there is no letter. Answers the same. @throws TidegateError of an outage
   */
  bury(failed: readonly Failed[], takeOut: (tx: Transaction) => Promise<boolean>): Promise<boolean>
  /** Of an event that is parked: tells what has become of an attempt. */
  tell(delivery: Delivery, error: unknown, event: Event | undefined, outcome: Decision): void
}

/** An event that was parked, and what it failed with; `nowMs`: when. */
export interface Failed {
  delivery: Delivery
  error: unknown
  event: Event | undefined
  nowMs: number
}

export interface AsideOptions {
  consumer: ConfiguredConsumer
  instance: string
  storage: Storage
  sidings: Sidings
  letters: LetterBox
  yard: Yard
  settlement: Settlement
  holding: Holding
  clock: Clock
  random: Random
  log: Logger
  observer: PipelineObserver
  /** Aborted: no answer is waited for any longer. */
  cutOff: AbortSignal
}

/** Of one transaction (G7). */
const lettersMax = 200

export function createAside(options: AsideOptions): Aside {
  const { consumer, instance, clock, observer } = options
  const { group, version } = consumer
  const settlement = once(options.settlement)
  const parts = { ...options, settlement, tellFailed: createFailureLog(options.log, clock) }
  const bounds = {
    countMax: lettersMax,
    bytesMax: transactionBytesMax,
    bytesOf: (dying: Dying) => dying.delivery.text.length,
  }
  const burials = together<Dying>({ ...bounds, work: (dying) => bury(dying, parts, { awaitsRoom: false }) })
  // What needs room waits for it apart: behind it may be what needs none (G5, G7).
  const lacksRoom = together<Dying>({ ...bounds, work: (dying) => bury(dying, parts, { awaitsRoom: true }) })

  async function toLetters(dying: Dying): Promise<void> {
    await burials.add(dying)
    if (settlement.isLive(dying.delivery)) await lacksRoom.add(dying)
  }

  const decided = (delivery: Delivery, error: unknown, event: Event | undefined): Decision =>
    decide(
      error,
      {
        attempt: delivery.attempt,
        waits: waitsOf(delivery, event),
        recovering: false,
        waitedMs: waitedMsOf(delivery, consumer.ladderMs, clock.now()),
      },
      consumer,
    )

  const dyingOf = (delivery: Delivery, error: unknown, event: Event | undefined): Dying => {
    return { delivery, error, event, group, instance, version, nowMs: clock.now() }
  }

  return {
    put(delivery, error, event) {
      const failing = dyingOf(delivery, error, event)
      const decision = decided(delivery, error, event)
      return decision.kind === 'dead' ? toLetters(failing) : moveAside(parts, failing, decision, toLetters)
    },
    parks(delivery, error, event) {
      const { kind } = decided(delivery, error, event)
      return kind === 'park' || kind === 'hold'
    },
    recorded(delivery, fault, event) {
      observer.failed(group, 'recorded', codeOf(fault), delivery.attempt)
      parts.tellFailed({ delivery, event, error: fault, outcome: { kind: 'recorded' } })
      settlement.settle(delivery, 'recorded')
    },
    bury: (failed, takeOut) =>
      buryParked(
        failed.map((one) => ({ ...one, group, instance, version })),
        takeOut,
        parts,
      ),
    tell(delivery, error, event, outcome) {
      tell(parts, dyingOf(delivery, error, event), outcome)
    },
  }
}

function waitsOf(delivery: Delivery, event: Event | undefined): Attempt['waits'] {
  if (event === undefined || letterOf(delivery)) return 'nowhere'
  return countedOf(delivery) === undefined ? 'parked' : 'on a rung'
}

const messageLengthMax = 500

/** The attempt that follows one that failed. */
export function trialOf(
  decision: Extract<Decision, { kind: 'park' | 'hold' }>,
  { attempt }: Delivery,
  error: unknown,
  random: Random,
): Trial {
  const last = {
    attempt: attempt + 1,
    code: codeOf(error).slice(0, 100),
    message: messageOf(error).slice(0, messageLengthMax),
  }
  return decision.kind === 'hold'
    ? { state: 'held', delayMs: 0, ...last }
    : { state: 'retrying', delayMs: jittered(decision.delayMs, random), ...last }
}

type Parts = AsideOptions & { tellFailed: FailureLog }

/** What is settled is live no more: of what failed together some may be done and some wait. */
function once(settlement: Settlement): Settlement {
  const done = new WeakSet<Delivery>()
  return {
    isLive: (delivery) => !done.has(delivery) && settlement.isLive(delivery),
    settle(delivery, outcome) {
      done.add(delivery)
      settlement.settle(delivery, outcome)
    },
  }
}

type Away = Exclude<Decision, { kind: 'dead' }>
type Told = Away | { kind: 'dead'; letter?: number | undefined }

function tell({ observer, tellFailed }: Parts, failed: Dying, outcome: Told): void {
  const { group, delivery, event, error } = failed
  observer.failed(group, outcome.kind, codeOf(error), delivery.attempt)
  tellFailed({ delivery, event, error, outcome })
}

/** Waits outages out; what is no longer live by then is left to the broker. What there is no room for behind others is buried. */
async function moveAside(
  parts: Parts,
  failing: Dying,
  decision: Away,
  buryOne: (dying: Dying) => Promise<void>,
): Promise<void> {
  const { settlement, holding, cutOff } = parts
  const { delivery } = failing
  // One letter for all tries: the sidings know by it what they have sent and wait for.
  const letter = retryLetter(failing)
  const wait = holding.createWait()
  let moved: Moved | undefined
  for (let outages = 1; settlement.isLive(delivery); outages++) {
    try {
      moved = await orAborted(move(parts, failing, decision, letter), cutOff)
      break
    } catch (outage) {
      if (cutOff.aborted) break
      if (!isOutage(outage)) throw outage
      await wait.out(outage, outages)
    }
  }
  wait.end()
  if (moved === undefined) return
  if ('error' in moved) return buryOne({ ...failing, error: moved.error })
  if (moved.told) tell(parts, failing, moved.told)
  settlement.settle(delivery, moved.outcome)
}

/** It is out of the way, or there was no room for it: then it is to be buried, with this. */
type Moved = { outcome: Outcome; told: Away | undefined } | { error: unknown }

/** Makes it durable that it is out of the way. */
async function move(
  { sidings, yard, random }: Parts,
  failing: Dying,
  decision: Away,
  letter: Letter,
): Promise<Moved> {
  const { delivery, event, error, group } = failing
  const toRung = async (delayMs: number): Promise<Moved> => {
    await sidings.send({ group, queue: delivery.queue, delayMs }, letter)
    return { outcome: 'retried', told: { kind: 'retry', delayMs } }
  }
  if (decision.kind === 'retry') return toRung(decision.delayMs)
  if (event === undefined) throw new Error('nothing is known of what was to be parked')
  const outcome = await yard.park({ delivery, event }, trialOf(decision, delivery, error, random), letter)
  if (outcome === 'surplus') return { error: parkingFull(group, event.partitionkey, error) }
  // Order gives way: it has all its attempts, as in a group that does not park.
  if (outcome === 'full') return decision.kind === 'park' ? toRung(decision.delayMs) : { error }
  return { outcome, told: outcome === 'parked' ? decision : undefined }
}

/**
 * Waits until no outage is in the way; what is no longer live by then is left to the broker. Without `awaitsRoom` what a full group has
 * no room for is left as it is.
 */
async function bury(
  dying: readonly Dying[],
  parts: Parts,
  { awaitsRoom }: { awaitsRoom: boolean },
): Promise<void> {
  const { settlement, holding, cutOff } = parts
  const made = new Map(dying.map((one) => [one, deadLetterOf(one)]))
  const wait = holding.createWait()
  for (let outages = 1; ; outages++) {
    const live = [...made].filter(([{ delivery }]) => settlement.isLive(delivery))
    if (live.length === 0) break
    try {
      await commit(live, parts)
      break
    } catch (outage) {
      if (cutOff.aborted || (!awaitsRoom && codeOf(outage) === 'DEAD_LETTERS_FULL')) break
      if (!isOutage(outage)) throw outage
      await wait.out(outage, outages)
    }
  }
  wait.end()
}

type Made = readonly [Dying, DeadLetter]

async function commit(live: readonly Made[], parts: Parts): Promise<void> {
  const full = parts.letters.full(parts.consumer.group)
  const fitting = full ? await needingNoRoom(live, parts) : live
  if (fitting.length > 0) await add(fitting, parts)
  if (full && fitting.length < live.length) throw full
}

/** A replay that has failed adds nothing: its letter is there. Nor does what is delivered again while its letter is open (G5, G7). */
async function needingNoRoom(live: readonly Made[], { storage, letters, cutOff }: Parts): Promise<Made[]> {
  const fresh = live.filter(([, { sent }]) => sent === undefined).map(([, letter]) => letter)
  const numbers =
    fresh.length === 0
      ? []
      : await storage.transaction((tx) => letters.lettersIn(tx).failedAgain(fresh), cutOff)
  const there = new Set(fresh.filter((_, index) => numbers[index] !== undefined))
  return live.filter(([, letter]) => letter.sent !== undefined || there.has(letter))
}

async function add(live: readonly Made[], parts: Parts): Promise<void> {
  const { storage, letters, settlement, cutOff } = parts
  const { lettersIn } = letters
  const added = await addLetters(
    live.map(([, letter]) => letter),
    { storage, lettersIn, cutOff },
  )
  for (const [index, [dying]] of live.entries()) {
    buried(dying, added[index] as Added, parts)
    settlement.settle(dying.delivery, 'dead')
  }
}

async function buryParked(
  dying: readonly Dying[],
  takeOut: (tx: Transaction) => Promise<boolean>,
  parts: Parts,
): Promise<boolean> {
  const { storage, letters, cutOff, consumer } = parts
  const full = letters.full(consumer.group)
  if (full) throw full
  const { lettersIn } = letters
  const added = await addWithin(dying.map(deadLetterOf), takeOut, { storage, lettersIn, cutOff })
  for (const [index, one] of dying.entries()) if (added) buried(one, added[index] as Added, parts)
  return added !== undefined
}

function buried(dying: Dying, { letter, isNew }: Added, parts: Parts): void {
  if (isNew && letter !== undefined) parts.letters.mirror(dying.group, () => mirrorLetter(dying, letter))
  tell(parts, dying, { kind: 'dead', letter })
}
