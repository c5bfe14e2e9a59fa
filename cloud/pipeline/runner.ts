import type { Clock, Random } from '../../src/clock.ts'
import { isAbort } from '../../src/errors.ts'
import { createThrottle } from '../../src/throttle.ts'
import { DeviceRun, leaseMs, type RunnerOptions, type RunnerParts } from './device-run.ts'
import { isOutage } from './retry.ts'

/**
 * Tries the events of parked devices, outside the lanes: one device after another, the first that is due first, each until nothing of it
 * waits or its first event fails once more (device-run.ts).
 */
export interface Runner {
  /** Begins nothing new. Resolves when nothing is under way. Idempotent. */
  close(): Promise<void>
}

/** How often somebody looks for what is due, while anything is parked. */
const lookEveryMs = 1_000
const tellEveryMs = 10_000

export function createRunner(options: RunnerOptions, parts: RunnerParts): Runner {
  const { clock, random, concurrency, onFatal, log } = options
  const { room, gate, stopping } = parts
  const throttle = createThrottle(clock, tellEveryMs)
  const tellEmpty = (device: string): void => {
    const alikeBefore = throttle('')
    if (alikeBefore === undefined) return
    const more = alikeBefore > 0 ? { alikeBefore } : {}
    log.info({ device, ...more }, 'nothing of the device waits any longer: it is parked no more')
  }

  async function work(): Promise<void> {
    while (!stopping.aborted) {
      const { retrying, held } = room.occupancy
      // A group that is paused or has tripped tries nothing.
      const run = retrying + held > 0 && !gate.closed ? await claimed(options, parts, tellEmpty) : undefined
      if (run) await run.toEnd()
      else await pause(clock, lookEveryMs * (0.8 + 0.4 * random()), stopping)
    }
  }

  const working = Array.from({ length: concurrency }, () => work().catch(onFatal))
  return {
    async close() {
      await Promise.all(working)
    },
  }
}

async function claimed(
  options: RunnerOptions,
  parts: RunnerParts,
  tellEmpty: (device: string) => void,
): Promise<DeviceRun | undefined> {
  const { storage, parkingIn, consumer, random } = options
  const token = uuid(random)
  const wait = parts.holding.createWait()
  try {
    const device = await storage.transaction(
      (tx) => parkingIn(tx).claim(consumer.group, token, leaseMs),
      parts.cutOff,
    )
    return device === undefined ? undefined : new DeviceRun(options, parts, { device, token, tellEmpty })
  } catch (error) {
    if (parts.cutOff.aborted) return undefined
    if (!isOutage(error)) throw error
    await wait.out(error, 1)
    return undefined
  } finally {
    wait.end()
  }
}

async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(delayMs, signal)
  } catch (error) {
    if (!isAbort(error)) throw error
  }
}

function uuid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
