import type { Clock } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import { codeOf, type TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery, Sidings } from '../amqp/delivery.ts'
import type { Storage } from '../database/storage.ts'
import type { ConfiguredConsumer } from './definition.ts'
import type { Holding } from './holding.ts'
import { addLetters } from '../letters/adding.ts'
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
import type { PipelineObserver } from './observer.ts'
import { decide, isOutage } from './retry.ts'
import type { Settlement } from './settlement.ts'

/** What becomes of a delivery with a fault. */
export interface Aside {
  /**
   * Out of the partition's way, onto a rung or among the dead letters, with proof; then, and only then, acknowledged (G5).
   * Resolves when that is done, or when the delivery is no longer live. `event` is what was in it, as far as it could be read.
   */
  put(delivery: Delivery, error: unknown, event: Event | undefined): Promise<void>
  /**
   * Acknowledges one whose fault is committed with it, by a consumer that records faults. It has no letter, and so waits for none:
   * dead letters that one device has filled up hold up no other (G5, G7).
   */
  recorded(delivery: Delivery, fault: TidegateError, event: Event): void
}

export interface AsideOptions {
  consumer: ConfiguredConsumer
  instance: string
  storage: Storage
  sidings: Sidings
  letters: LetterBox
  settlement: Settlement
  holding: Holding
  clock: Clock
  log: Logger
  observer: PipelineObserver
  /** Aborted: no answer is waited for any longer. */
  cutOff: AbortSignal
}

/** Of one transaction (G7). */
const lettersMax = 200
const bytesMax = 16_777_216

export function createAside(options: AsideOptions): Aside {
  const { consumer, instance, clock, observer } = options
  const { group, version, ladderMs } = consumer
  const settlement = once(options.settlement)
  const parts = { ...options, settlement, tellFailed: createFailureLog(options.log, clock) }
  const bounds = {
    countMax: lettersMax,
    bytesMax,
    bytesOf: (dying: Dying) => dying.delivery.text.length,
  }
  const burials = together<Dying>({ ...bounds, work: (dying) => bury(dying, parts, { awaitsRoom: false }) })
  // What needs room waits for it apart: behind it may be what needs none (G5, G7).
  const lacksRoom = together<Dying>({ ...bounds, work: (dying) => bury(dying, parts, { awaitsRoom: true }) })

  async function toLetters(dying: Dying): Promise<void> {
    await burials.add(dying)
    if (settlement.isLive(dying.delivery)) await lacksRoom.add(dying)
  }

  return {
    put(delivery, error, event) {
      const failing = { delivery, error, event, group, instance, version, nowMs: clock.now() }
      const decision = decide(error, delivery.attempt, ladderMs)
      return decision.kind === 'retry' ? toRung(parts, failing, decision.delayMs) : toLetters(failing)
    },
    recorded(delivery, fault, event) {
      observer.failed(group, 'recorded', codeOf(fault), delivery.attempt)
      parts.tellFailed({ delivery, event, error: fault, outcome: { kind: 'recorded' } })
      settlement.settle(delivery, 'recorded')
    },
  }
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

async function toRung(parts: Parts, failing: Dying, delayMs: number): Promise<void> {
  const { sidings, settlement, holding, observer, tellFailed, cutOff } = parts
  const { delivery, error, event, group } = failing
  const letter = retryLetter(failing)
  const wait = holding.createWait()
  for (let outages = 1; settlement.isLive(delivery); outages++) {
    try {
      await orAborted(sidings.send({ group, queue: delivery.queue, delayMs }, letter), cutOff)
      observer.failed(group, 'retry', codeOf(error), delivery.attempt)
      tellFailed({ delivery, event, error, outcome: { kind: 'retry', delayMs } })
      settlement.settle(delivery, 'retried')
      break
    } catch (outage) {
      if (cutOff.aborted) break
      if (!isOutage(outage)) throw outage
      await wait.out(outage, outages)
    }
  }
  wait.end()
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

async function commit(live: readonly (readonly [Dying, DeadLetter])[], parts: Parts): Promise<void> {
  const full = parts.letters.full(parts.consumer.group)
  const fitting = full ? await needingNoRoom(live, parts) : live
  if (fitting.length > 0) await add(fitting, parts)
  if (full && fitting.length < live.length) throw full
}

type Made = readonly [Dying, DeadLetter]

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

async function add(live: readonly (readonly [Dying, DeadLetter])[], parts: Parts): Promise<void> {
  const { storage, letters, cutOff } = parts
  const { lettersIn } = letters
  const added = await addLetters(
    live.map(([, letter]) => letter),
    { storage, lettersIn, cutOff },
  )
  for (const [index, [dying]] of live.entries()) settleDead(dying, added[index] as Added, parts)
}

function settleDead(dying: Dying, { letter, isNew }: Added, parts: Parts): void {
  const { consumer, letters, settlement, observer, tellFailed } = parts
  const { group } = consumer
  const { delivery, error, event } = dying
  if (isNew && letter !== undefined) letters.mirror(group, () => mirrorLetter(dying, letter))
  observer.failed(group, 'dead', codeOf(error), delivery.attempt)
  tellFailed({ delivery, event, error, outcome: { kind: 'dead', letter } })
  settlement.settle(delivery, 'dead')
}
