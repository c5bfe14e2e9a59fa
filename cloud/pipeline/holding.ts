import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { isAbort, type TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { PipelineObserver } from './observer.ts'

/** Who waits for the end of which outage. However many wait, the log tells of the first and of the last. */
export interface Holding {
  /** The outage that is being waited out, if any. */
  readonly heldBy: TidegateError | undefined
  /** For somebody who may have to wait. */
  createWait(): Wait
}

export interface Wait {
  /** Waits for a while, the longer the more outages came in a row; no longer than until the pipeline stops. */
  out(outage: TidegateError, outages: number): Promise<void>
  /** Whoever waited has got on, or has given up. */
  end(): void
}

export interface HoldingOptions {
  group: string
  clock: Clock
  random: Random
  log: Logger
  observer: PipelineObserver
  stopping: AbortSignal
}

const outageBackoff = { delayMsMin: 100, delayMsMax: 5_000 }

export function createHolding(options: HoldingOptions): Holding {
  const { group, clock, random, log, observer, stopping } = options
  const waits = new Map<Wait, TidegateError>()

  async function hold(wait: Wait, outage: TidegateError, outages: number): Promise<void> {
    const { code, message, hint } = outage
    if (waits.size === 0) log.warn({ code, hint }, `holding deliveries until an outage is over: ${message}`)
    waits.set(wait, outage)
    observer.held(group, code)
    try {
      await clock.sleep(backoffMs(outages, outageBackoff, random), stopping)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  return {
    get heldBy() {
      return waits.values().next().value
    },
    createWait() {
      const wait: Wait = {
        out: (outage, outages) => hold(wait, outage, outages),
        end() {
          if (waits.delete(wait) && waits.size === 0) log.info('no longer holding deliveries')
        },
      }
      return wait
    },
  }
}
