import { isAbort } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottle } from '../../src/throttle.ts'
import type { Holding } from './holding.ts'
import { BatchPace } from './limits/batch-pace.ts'
import { isOutage } from './retry.ts'
import type { Among } from '../parking/parking.ts'
import { leaseMsOf } from '../parking/tenure.ts'
import { type Claim, Turn, type TurnOptions, type TurnParts } from './turn.ts'

/**
 * Tries the events of parked devices, outside the lanes, so many devices at a time: each has a turn (turn.ts), and then waits until all
 * others that are due have had theirs.
 */
export interface Runner {
  /** Begins nothing new. Resolves when nothing is under way. Idempotent. */
  close(): Promise<void>
}

export interface RunnerOptions extends TurnOptions {
  /** Devices at a time. */
  concurrency: number
  /** Most events in one transaction. */
  batchMax: number
  log: Logger
  onFatal: (error: unknown) => void
}

/** How often somebody looks for what is due, while anything is parked. */
const lookEveryMs = 1_000
const tellEveryMs = 10_000

export interface RunnerParts extends TurnParts {
  holding: Holding
}

export function createRunner(options: RunnerOptions, parts: RunnerParts): Runner {
  const { clock, random, concurrency, onFatal, log, batchMax, batchTimeTargetMs } = options
  const { room, gate, holding, stopping, cutOff } = parts
  const throttle = createThrottle(clock, tellEveryMs)
  const tellEmpty = (device: string): void => {
    const alikeBefore = throttle('')
    if (alikeBefore === undefined) return
    const more = alikeBefore > 0 ? { alikeBefore } : {}
    log.info({ device, ...more }, 'nothing of the device waits any longer: it is parked no more')
  }

  async function work(place: number): Promise<void> {
    const pace = new BatchPace({ batchMax, timeTargetMs: batchTimeTargetMs })
    const wait = holding.createWait()
    for (let turn = 0; !stopping.aborted; turn++) {
      try {
        const among = amongOf(place, turn)
        const claim = among.length > 0 && (await claimed(options, parts, { among, pace, tellEmpty }))
        if (claim) await new Turn(options, parts, claim).take()
        wait.end()
        if (!claim) await pause(lookEveryMs * (0.8 + 0.4 * random()))
      } catch (error) {
        if (cutOff.aborted) break
        if (!isOutage(error)) throw error
        // Whoever met it is given up; what other devices need may be there.
        await wait.out(error, 1)
      }
    }
    wait.end()
  }

  /**
   * The first place is kept for devices in their first tries, so that however many hang do not keep one that failed once from its second
   * try. A place that is alone is so every other turn. A group that is paused or has tripped tries nothing.
   */
  function amongOf(place: number, turn: number): readonly Among[] {
    const { retrying, held } = room.occupancy
    if (retrying + held === 0) return []
    if (gate.closed) return place === 0 ? ['skipped'] : []
    if (place > 0) return ['all']
    return concurrency > 1 ? ['first'] : turn % 2 === 0 ? ['first', 'all'] : ['all']
  }

  async function pause(delayMs: number): Promise<void> {
    try {
      await clock.sleep(delayMs, stopping)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  const working = Array.from({ length: concurrency }, (_, place) => work(place).catch(onFatal))
  return {
    async close() {
      await Promise.all(working)
    },
  }
}

async function claimed(
  { storage, parkingIn, consumer, random, batchTimeTargetMs }: RunnerOptions,
  { cutOff }: TurnParts,
  { among, pace, tellEmpty }: Pick<Claim, 'pace' | 'tellEmpty'> & { among: readonly Among[] },
): Promise<Claim | undefined> {
  const token = uuid(random)
  const { group, timeoutMs } = consumer
  const leaseMs = leaseMsOf({ timeoutMs, batchTimeTargetMs })
  return storage.transaction(async (tx) => {
    const parking = parkingIn(tx)
    for (const which of among) {
      const found = await parking.claim(group, token, leaseMs, which)
      if (found === undefined) continue
      const heads = await parking.heads(group, found.device, pace.limit)
      return { ...found, token, heads, pace, tellEmpty }
    }
    return undefined
  }, cutOff)
}

function uuid(random: () => number): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
