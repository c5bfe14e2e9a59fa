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
import { createFailureLog } from '../letters/failure-log.ts'
import { mirrorLetter, retryLetter } from '../letters/letters.ts'
import type { PipelineObserver } from './observer.ts'
import { decide, isOutage } from './retry.ts'
import type { Settlement } from './settlement.ts'

/** What becomes of a delivery with a fault. */
export interface Aside {
  /** For what fails of one batch. */
  begin(): AsideOfBatch
  /**
   * Acknowledges one whose fault is committed with it, by a consumer that records faults. It has no letter, and so waits for none:
   * dead letters that one device has filled up hold up no other (G5, G7).
   */
  recorded(delivery: Delivery, fault: TidegateError, event: Event): void
}

export interface AsideOfBatch {
  /** Out of the partition's way, onto a rung, or among the dead letters at the end. `event` is what was in it, as far as it could be read. */
  put(delivery: Delivery, error: unknown, event: Event | undefined): void
  /**
   * All that failed for good become letters in one transaction. Resolves when everything that was put is where it is to be, with
   * proof; then, and only then, it is acknowledged (G5); or when it is no longer live.
   */
  end(): Promise<void>
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

export function createAside(options: AsideOptions): Aside {
  const { consumer, settlement, observer } = options
  const { group } = consumer
  const parts = { ...options, tellFailed: createFailureLog(options.log, options.clock) }

  return {
    begin: () => beginBatch(parts),
    recorded(delivery, fault, event) {
      observer.failed(group, 'recorded', codeOf(fault), delivery.attempt)
      parts.tellFailed({ delivery, event, error: fault, outcome: { kind: 'recorded' } })
      settlement.settle(delivery, 'recorded')
    },
  }
}

type Parts = AsideOptions & { tellFailed: ReturnType<typeof createFailureLog> }

function beginBatch(parts: Parts): AsideOfBatch {
  const { consumer, instance, clock } = parts
  const { group, version, ladderMs } = consumer
  const sending: Promise<unknown>[] = []
  const dying: Dying[] = []
  return {
    put(delivery, error, event) {
      const failing = { delivery, error, event, group, instance, version, nowMs: clock.now() }
      const decision = decide(error, delivery.attempt, ladderMs)
      if (decision.kind === 'dead') dying.push(failing)
      // What it throws is told at the end.
      else sending.push(toRung(parts, failing, decision.delayMs).catch((fault: unknown) => ({ fault })))
    },
    async end() {
      const buried = bury(parts, dying)
      const ends = await Promise.all([...sending, buried])
      for (const end of ends) if (typeof end === 'object' && end !== null && 'fault' in end) throw end.fault
    },
  }
}

async function toRung(parts: Parts, failing: Dying, delayMs: number): Promise<void> {
  const { consumer, sidings, settlement, observer, tellFailed, cutOff } = parts
  const { delivery, error, event } = failing
  const { group } = consumer
  const letter = retryLetter(failing)
  await held(parts, [failing], async () => {
    await orAborted(sidings.send({ group, queue: delivery.queue, delayMs }, letter), cutOff)
    observer.failed(group, 'retry', codeOf(error), delivery.attempt)
    tellFailed({ delivery, event, error, outcome: { kind: 'retry', delayMs } })
    settlement.settle(delivery, 'retried')
  })
}

async function bury(parts: Parts, dying: readonly Dying[]): Promise<void> {
  const { consumer, storage, letters, settlement, observer, tellFailed, cutOff } = parts
  const { group } = consumer
  const made = new Map(dying.map((each) => [each, deadLetterOf(each)]))
  await held(parts, dying, async (live) => {
    const full = letters.full(group)
    if (full) throw full
    const added = await addLetters(
      live.map((each) => made.get(each) as DeadLetter),
      { storage, lettersIn: letters.lettersIn, cutOff },
    )
    for (const [index, each] of live.entries()) {
      const { delivery, error, event } = each
      const { letter, isNew } = added[index] as Added
      if (isNew && letter !== undefined) letters.mirror(group, () => mirrorLetter(each, letter))
      observer.failed(group, 'dead', codeOf(error), delivery.attempt)
      tellFailed({ delivery, event, error, outcome: { kind: 'dead', letter } })
      settlement.settle(delivery, 'dead')
    }
  })
}

/** Does it once no outage is in the way, with those that are live then; not at all if none is left, or the pipeline is cut off. */
async function held(
  { settlement, holding, cutOff }: Parts,
  failing: readonly Dying[],
  work: (live: readonly Dying[]) => Promise<void>,
): Promise<void> {
  const wait = holding.createWait()
  for (let outages = 1; ; outages++) {
    const live = failing.filter(({ delivery }) => settlement.isLive(delivery))
    if (live.length === 0) break
    try {
      await work(live)
      break
    } catch (outage) {
      if (cutOff.aborted) break
      if (!isOutage(outage)) throw outage
      await wait.out(outage, outages)
    }
  }
  wait.end()
}
