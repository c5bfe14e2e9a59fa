import type { Clock, Random } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import { codeOf, messageOf, type TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery, Sidings } from '../amqp/delivery.ts'
import { createFailureLog } from '../letters/failure-log.ts'
import { deadLetter, type Failing, retryLetter } from '../letters/letters.ts'
import type { Trial } from '../parking/parking.ts'
import type { Yard } from '../parking/yard.ts'
import type { ConfiguredConsumer } from './definition.ts'
import type { Holding } from './holding.ts'
import type { Outcome, PipelineObserver } from './observer.ts'
import { decide, type Decision, isOutage, jittered } from './retry.ts'
import type { Settlement } from './settlement.ts'

/** What becomes of a delivery with a fault. */
export interface Aside {
  /**
   * Out of the partition's way: onto a rung, to the dead letters or into the parking, with proof; then, and only then, acknowledged (G5).
   * Resolves when that is done, or when the delivery is no longer live. `event` is what was in it, as far as it could be read.
   */
  put(delivery: Delivery, error: unknown, event: Event | undefined): Promise<void>
  /** Whether `put` parks its device: no later event may be begun with before it has (G6). */
  parks(delivery: Delivery, error: unknown, event: Event | undefined): boolean
  /**
   * Acknowledges one whose fault is committed with it, by a consumer that records faults. It has no letter, and so waits for none:
   * dead letters that one device has filled up hold up no other (G5, G7).
   */
  recorded(delivery: Delivery, fault: TidegateError, event: Event): void
  /** Of an event that was parked: makes a dead letter of it. Answers whether it is one now; else the pipeline stops. */
  bury(delivery: Delivery, error: unknown, event: Event | undefined): Promise<boolean>
  /** Of an event that was parked: tells what has become of an attempt. */
  tell(delivery: Delivery, error: unknown, event: Event | undefined, outcome: Decision): void
}

export interface AsideOptions {
  consumer: ConfiguredConsumer
  instance: string
  sidings: Sidings
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

const outcomeOf = {
  retry: 'retried',
  dead: 'dead',
  park: 'parked',
  hold: 'parked',
} as const satisfies Record<Decision['kind'], Outcome>

export function createAside(options: AsideOptions): Aside {
  const { consumer, instance, sidings, yard, settlement, holding, clock, random, observer, cutOff } = options
  const { group } = consumer
  const tellFailed = createFailureLog(options.log, clock)

  const decided = ({ attempt }: Delivery, error: unknown, event: Event | undefined): Decision =>
    decide(error, { attempt, hasDevice: event !== undefined }, consumer)

  const failing = (delivery: Delivery, error: unknown): Failing => {
    return { delivery, error, group, instance, nowMs: clock.now() }
  }

  function tell(delivery: Delivery, error: unknown, event: Event | undefined, outcome: Decision): void {
    observer.failed(group, outcome.kind, codeOf(error), delivery.attempt)
    tellFailed({ delivery, event, error, outcome })
  }

  /** Makes it durable that it is out of the way. */
  async function move(decision: Decision, failed: Failing, event: Event | undefined): Promise<void> {
    const { delivery, error } = failed
    if (decision.kind === 'dead') return sidings.send({ kind: 'dead', group }, deadLetter(failed))
    const letter = retryLetter(failed)
    if (event === undefined || decision.kind === 'retry') {
      const delayMs = decision.kind === 'hold' ? 0 : decision.delayMs
      return sidings.send({ kind: 'retry', group, queue: delivery.queue, delayMs }, letter)
    }
    return yard.park({ delivery, event }, trialOf(decision, delivery, error, random), letter)
  }

  /** Waits outages out. Answers whether it is done; else the delivery is no longer live. */
  async function untilMoved(decision: Decision, failed: Failing, event: Event | undefined): Promise<boolean> {
    const wait = holding.createWait()
    try {
      for (let outages = 1; settlement.isLive(failed.delivery); outages++) {
        try {
          await orAborted(move(decision, failed, event), cutOff)
          return true
        } catch (outage) {
          if (cutOff.aborted) return false
          if (!isOutage(outage)) throw outage
          await wait.out(outage, outages)
        }
      }
      return false
    } finally {
      wait.end()
    }
  }

  return {
    async put(delivery, error, event) {
      const decision = decided(delivery, error, event)
      if (!(await untilMoved(decision, failing(delivery, error), event))) return
      tell(delivery, error, event, decision)
      settlement.settle(delivery, outcomeOf[decision.kind])
    },
    parks(delivery, error, event) {
      const { kind } = decided(delivery, error, event)
      return kind === 'park' || kind === 'hold'
    },
    recorded(delivery, fault, event) {
      observer.failed(group, 'recorded', codeOf(fault), delivery.attempt)
      tellFailed({ delivery, event, error: fault, outcome: { kind: 'recorded' } })
      settlement.settle(delivery, 'recorded')
    },
    async bury(delivery, error, event) {
      if (!(await untilMoved({ kind: 'dead' }, failing(delivery, error), event))) return false
      tell(delivery, error, event, { kind: 'dead' })
      return true
    },
    tell,
  }
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
