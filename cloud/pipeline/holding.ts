import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, isAbort } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { PipelineObserver } from './observer.ts'

/** Who waits for the end of which outage. However many wait, the log tells of the first and of the last. */
export interface Holding {
  /** The code of the outage that is being waited out, if any. */
  readonly heldBy: string | undefined
  /** For somebody who may have to wait. */
  createWait(): Wait
}

export interface Wait {
  /** Waits for a while, the longer the more outages came in a row; no longer than until the pipeline stops. */
  out(outage: unknown, outages: number): Promise<void>
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
  const codes = new Map<Wait, string>()

  async function hold(wait: Wait, outage: unknown, outages: number): Promise<void> {
    const code = codeOf(outage)
    if (codes.size === 0) log.warn({ group, code, err: outage }, 'holding deliveries until an outage is over')
    codes.set(wait, code)
    observer.held(group, code)
    try {
      await clock.sleep(backoffMs(outages, outageBackoff, random), stopping)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  return {
    get heldBy() {
      return codes.values().next().value
    },
    createWait() {
      const wait: Wait = {
        out: (outage, outages) => hold(wait, outage, outages),
        end() {
          if (codes.delete(wait) && codes.size === 0) log.info({ group }, 'no longer holding deliveries')
        },
      }
      return wait
    },
  }
}
