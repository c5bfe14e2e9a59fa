import type { Clock } from '../../src/clock.ts'
import { aborted } from '../../src/lifecycle.ts'
import type { PlannedFault } from './plan.ts'
import type { Saboteur } from './saboteur.ts'

export interface Schedule {
  /** Undefined: until the fleet has nothing more to say. */
  forMs: number | undefined
  faults: readonly PlannedFault[]
  saboteur: Pick<Saboteur, 'inject'>
  /** The fleet has nothing more to say. */
  finished: Promise<void>
  clock: Clock
}

/**
 * Until the time is up and every fault has been done and undone, the series have ended, or `quit` is aborted.
 * Rejects as soon as a fault cannot be undone: what is gone for good is no run to wait for.
 */
export async function untilOver(schedule: Schedule, quit: AbortSignal): Promise<void> {
  const { forMs, faults, saboteur, finished, clock } = schedule
  const over = new AbortController()
  const signal = AbortSignal.any([quit, over.signal])
  const doing = faults.map(async (fault) => {
    await clock.sleep(fault.atMs, signal)
    await saboteur.inject(fault, signal)
  })
  const time = Promise.race([forMs === undefined ? aborted(signal) : clock.sleep(forMs, signal), finished])
  try {
    await Promise.all([time, ...doing])
  } catch (error) {
    if (!quit.aborted) throw error
  } finally {
    over.abort()
    await Promise.allSettled([time, ...doing])
  }
}
