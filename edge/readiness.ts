import type { Clock } from '../src/clock.ts'
import type { Check } from '../src/ops-server.ts'
import { createProgress } from '../src/progress.ts'
import type { OutboxStats } from './outbox.ts'
import type { Uplink } from './uplink.ts'

export interface ReadinessOptions {
  stats: () => OutboxStats
  uplink: Uplink
  /** Work without movement for longer than this is a fault. */
  stallAfterMs: number
  /** Down for longer than this is a fault; absent: being offline never is. */
  offlineMaxMs: number | undefined
  clock: Clock
}

export interface Readiness {
  /** The outbox has made events durable. */
  wrote(): void
  /** The uplink has come, gone, or proven something. */
  proved(): void
  listening(port: number): void
  checks(): Record<string, Check>
  /** Looks every so often, so that a first question after a quiet hour is answered rightly. */
  watch(): { stop(): void }
}

const lookEveryMs = 5000

/**
 * Ready means moving, not merely connected. An edge that is offline but keeps events is doing its work: a missing
 * uplink is a fault only after `offlineMaxMs`, an uplink that is there and moves nothing is one after
 * `stallAfterMs`. An outbox is at fault when a publish waits for it, or its store fails, and no event is written for as
 * long: it is full, or its disk is.
 */
export function createReadiness(options: ReadinessOptions): Readiness {
  const { uplink, clock, stallAfterMs, offlineMaxMs } = options
  const proving = createProgress(clock, stallAfterMs)
  let wroteAtMs = clock.monotonicMs()
  let port: number | undefined

  function outboxCheck({ waiting, stuckMs, refusing, depth }: OutboxStats): Check {
    const stalledMs = Math.round(Math.min(stuckMs, clock.monotonicMs() - wroteAtMs))
    const held = refusing === undefined ? '' : `, held back by ${refusing}`
    const detail = `${depth.high + depth.normal} events kept, ${waiting} publishes wait${held}`
    return stalledMs < stallAfterMs
      ? { ok: true, detail }
      : { ok: false, detail: `${detail}, nothing written for ${stalledMs} ms` }
  }

  function uplinkCheck({ depth }: OutboxStats): Check {
    const offlineMs = Math.round(uplink.offlineMs())
    if (!uplink.up) {
      const detail = `down for ${offlineMs} ms`
      return { ok: offlineMaxMs === undefined || offlineMs < offlineMaxMs, detail }
    }
    const waiting = depth.high + depth.normal
    const state = proving.check(waiting)
    if (state.ok) return { ok: true, detail: `up, ${waiting} events to send` }
    return { ok: false, detail: `up, ${waiting} events to send, nothing proven for ${state.stalledMs} ms` }
  }

  const checks = (): Record<string, Check> => {
    const stats = options.stats()
    const detail = port === undefined ? 'not listening' : `listening on ${port}`
    return {
      mqtt: { ok: port !== undefined, detail },
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
    wrote() {
      wroteAtMs = clock.monotonicMs()
    },
    proved: () => proving.moved(),
    listening(at) {
      port = at
    },
    checks,
    watch,
  }
}
