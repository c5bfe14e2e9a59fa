import type { Clock } from '../../../src/clock.ts'
import type { Store } from '../../store/store.ts'
import type { DedupOptions, LanesOptions } from '../options.ts'
import { type Dedup, openDedup } from '../rules/dedup.ts'
import type { Gone } from '../layout/gone.ts'
import type { Head } from '../layout/head.ts'
import { createLanes, type Lanes } from '../rules/lanes.ts'
import type { Pace } from '../rules/pace.ts'
import type { Usage } from '../layout/usage.ts'
import type { Loaded } from './recovery.ts'
import { createSteadyClock, type SteadyClock } from '../rules/steady-clock.ts'
import { createUndeliveredLedger, type UndeliveredLedger } from '../rules/undelivered.ts'

/** What is known of an open store; thrown away whole and read again when a write fails. */
export interface State {
  store: Store
  head: Head
  devices: Map<string, Usage>
  gone: Gone
  undelivered: UndeliveredLedger
  dedup: Dedup
  lanes: Lanes
  /** No deadline on the store lies before this, by the steady clock. */
  nextDeadlineMs: number
}

export async function readState(
  loaded: Loaded,
  options: { dedup: DedupOptions; lanes: LanesOptions; pace: Pace },
): Promise<State> {
  const { store, head, devices, gone } = loaded
  return {
    store,
    head,
    devices,
    gone,
    undelivered: createUndeliveredLedger(loaded.undelivered),
    dedup: await openDedup(store, head, options.dedup),
    lanes: createLanes({ store, gone, pace: options.pace, options: options.lanes, first: head.first }),
    nextDeadlineMs: -1,
  }
}

export function steadyClockOf(clock: Clock, head: Head, settleMs: number): SteadyClock {
  const resume = head.wallMs === 0 ? undefined : { steadyMs: head.steadyMs, wallMs: head.wallMs }
  return createSteadyClock({ clock, resume, settleMs })
}
