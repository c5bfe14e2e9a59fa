import type { Clock } from '../../src/clock.ts'
import type { Check } from '../../src/ops-server.ts'
import type { OutboxStats } from '../outbox/outbox.ts'
import { createUplinkProgress } from './uplink-progress.ts'
import type { UplinkState } from './uplink-state.ts'
import { durationText } from '../../src/units.ts'

export interface ReadinessOptions {
  stats: () => OutboxStats
  uplink: UplinkState
  /** Work without movement for longer than this is a fault. */
  stallAfterMs: number
  /** Longest wait of an uplink that was lost before it is tried again. */
  reconnectMsMax: number
  /** Down for longer than this is a fault; absent: being offline never is. */
  offlineMaxMs: number | undefined
  clock: Clock
}

export interface Readiness {
  /** The outbox has made a device's event durable. */
  accepted(): void
  /** The uplink has come or gone. */
  uplinkChanged(up: boolean): void
  /** The uplink has proven something. */
  proved(): void
  listening(ports: readonly number[]): void
  checks(): Record<string, Check>
  /** Looks every so often, so that a first question after a quiet hour is answered rightly. */
  watch(): { stop(): void }
}

const lookEveryMs = 5000

/**
 * Ready means moving, not merely connected. An edge that is offline but keeps events is doing its work: a missing
 * uplink is a fault only after `offlineMaxMs`; one that is there, or comes and goes, and proves nothing is one after
 * `stallAfterMs`. An outbox is at fault when a publish waits for it, or its store fails, and no event is accepted for
 * as long: it is full, or its disk is. What a device waits for because it has filled its own share is its own affair, and
 * so is a backlog that keeps its pace.
 */
export function createReadiness(options: ReadinessOptions): Readiness {
  const { uplink, clock, stallAfterMs, reconnectMsMax, offlineMaxMs = Infinity } = options
  const progress = createUplinkProgress({ clock, downAfterMs: stallAfterMs + reconnectMsMax })
  let acceptedAtMs = clock.monotonicMs()
  let ports: readonly number[] | undefined

  function outboxCheck({ waiting, stuckMs, refusing, depth }: OutboxStats): Check {
    const stuck = refusing === 'device-share' ? 0 : stuckMs
    const stalledMs = Math.round(Math.min(stuck, clock.monotonicMs() - acceptedAtMs))
    const held = refusing === undefined ? '' : `, held back by ${refusing}`
    const detail = `${depth.high + depth.normal} events kept, ${waiting} publishes wait${held}`
    return stalledMs < stallAfterMs
      ? { ok: true, detail }
      : { ok: false, detail: `${detail}, nothing accepted for ${durationText(stalledMs)}` }
  }

  function uplinkCheck({ depth, pausing }: OutboxStats): Check {
    const events = depth.high + depth.normal
    const offlineMs = Math.round(uplink.offlineMs())
    const stalledMs = Math.round(progress.stalledMs(pausing ? 0 : events))
    const state = `${uplink.up ? 'up' : `down for ${durationText(offlineMs)}`}, ${events} events to send`
    return stalledMs < stallAfterMs
      ? { ok: offlineMs < offlineMaxMs, detail: state }
      : { ok: false, detail: `${state}, nothing proven in ${durationText(stalledMs)} of sessions` }
  }

  const checks = (): Record<string, Check> => {
    const stats = options.stats()
    const detail = ports === undefined ? 'not listening' : `listening on ${ports.join(', ')}`
    return {
      mqtt: { ok: ports !== undefined, detail },
      outbox: outboxCheck(stats),
      uplink: uplinkCheck(stats),
    }
  }

  function watch(): { stop(): void } {
    let timer = clock.after(lookEveryMs, look)
    function look(): void {
      checks()
      timer = clock.after(lookEveryMs, look)
    }
    return { stop: () => timer.cancel() }
  }

  return {
    accepted() {
      acceptedAtMs = clock.monotonicMs()
    },
    uplinkChanged: (up) => progress.changed(up),
    proved: () => progress.proved(),
    listening(at) {
      ports = at
    },
    checks,
    watch,
  }
}
