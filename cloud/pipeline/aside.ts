import type { Clock } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import { codeOf, type TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery, Letter, Siding, Sidings } from '../amqp/delivery.ts'
import type { ConfiguredConsumer } from './definition.ts'
import type { Holding } from './holding.ts'
import { createFailureLog } from '../letters/failure-log.ts'
import { deadLetter, retryLetter } from '../letters/letters.ts'
import type { PipelineObserver } from './observer.ts'
import { decide, isOutage } from './retry.ts'
import type { Settlement } from './settlement.ts'

/** What becomes of a delivery with a fault. */
export interface Aside {
  /**
   * Out of the partition's way, onto a rung or to the dead letters, with proof; then, and only then, acknowledged (G5).
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
  sidings: Sidings
  settlement: Settlement
  holding: Holding
  clock: Clock
  log: Logger
  observer: PipelineObserver
  /** Aborted: no answer is waited for any longer. */
  cutOff: AbortSignal
}

export function createAside(options: AsideOptions): Aside {
  const { consumer, instance, sidings, settlement, holding, clock, observer, cutOff } = options
  const { group, ladderMs } = consumer
  const tellFailed = createFailureLog(options.log, clock)

  return {
    async put(delivery, error, event) {
      const decision = decide(error, delivery.attempt, ladderMs)
      const failing = { delivery, error, group, instance, nowMs: clock.now() }
      const [siding, letter]: [Siding, Letter] =
        decision.kind === 'retry'
          ? [{ kind: 'retry', group, queue: delivery.queue, delayMs: decision.delayMs }, retryLetter(failing)]
          : [{ kind: 'dead', group }, deadLetter(failing)]
      const wait = holding.createWait()
      for (let outages = 1; settlement.isLive(delivery); outages++) {
        try {
          await orAborted(sidings.send(siding, letter), cutOff)
          observer.failed(group, decision.kind, codeOf(error), delivery.attempt)
          tellFailed({ delivery, event, error, outcome: decision })
          settlement.settle(delivery, decision.kind === 'retry' ? 'retried' : 'dead')
          break
        } catch (outage) {
          if (cutOff.aborted) break
          if (!isOutage(outage)) throw outage
          await wait.out(outage, outages)
        }
      }
      wait.end()
    },
    recorded(delivery, fault, event) {
      observer.failed(group, 'recorded', codeOf(fault), delivery.attempt)
      tellFailed({ delivery, event, error: fault, outcome: { kind: 'recorded' } })
      settlement.settle(delivery, 'recorded')
    },
  }
}
