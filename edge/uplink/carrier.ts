import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import { aborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Outbox, Queued } from '../outbox/outbox.ts'
import {
  type ExchangeSession,
  type Outcome,
  publishFaults,
  type SessionEnd,
  type Shipment,
} from './exchange.ts'
import type { ForwarderObserver } from './observer.ts'
import type { Packing } from './packing.ts'
import { Unproven } from './unproven.ts'

export interface CarrierOptions {
  outbox: Pick<Outbox, 'take' | 'ready' | 'release'>
  clock: Clock
  log: Logger
  observer: ForwarderObserver
  /** Outlives the session. */
  packing: Packing
  /** Events published and not yet proven, at the most. */
  windowEvents: number
  /** A session whose oldest event waits longer than this for its proof is given up; while blocked it may wait. */
  confirmTimeoutMs: number
}

export interface Carried {
  /** What ended the session. */
  end: SessionEnd
  /** Events proven in this session. */
  proven: number
}

/** Events asked of the outbox at a time: enough to keep the disk read cheap, small enough to stay live. */
const takeEventsMax = 500
const watchEveryMs = 1000
const stopGraceMs = 2000

/**
 * Carries events through one exchange session until it ends: lost, refusing, silent for too long, or because the gateway
 * stops. An event is released only after its proof (G3).
 *
 *     take ──▶ ahead ──room in the window──▶ pack ──▶ publish ──▶ unproven ──routed──▶ release
 *
 * A batch that is refused, or that RabbitMQ closes the session for, leaves as single events the next time; so does all that a
 * session had under way that proved nothing, for a link may be too poor for any batch to pass.
 */
export class Carrier {
  readonly #options: CarrierOptions
  readonly #session: ExchangeSession
  readonly #stopping: AbortSignal
  readonly #over = new AbortController()
  /** Ends the wait for more events: the session is over, or the gateway stops. */
  readonly #idle = new AbortController()
  /** The gateway stopped while the session was there. */
  readonly #stopped = new AbortController()
  readonly #unproven: Unproven
  /** Taken ahead, so that a proof makes room for the next event at once and nobody waits for the disk. */
  #ahead: Queued[] = []
  readonly #releases = new Set<Promise<void>>()
  readonly #refused: Shipment[] = []
  #end: SessionEnd = { code: 'STOPPED', detail: 'the gateway is stopping' }
  #proven = 0
  #wake: (() => void) | undefined

  constructor(options: CarrierOptions, session: ExchangeSession, stopping: AbortSignal) {
    this.#options = options
    this.#session = session
    this.#stopping = stopping
    this.#unproven = new Unproven(options)
  }

  /** Call once. @throws whatever `Outbox.take` does */
  async run(): Promise<Carried> {
    const { observer } = this.#options
    const stop = (): void => this.#stop()
    this.#stopping.addEventListener('abort', stop, { once: true })
    if (this.#stopping.aborted) stop()
    void this.#session.lost.then((end) => this.#finish(end))
    this.#session.onOutcomes((outcomes) => this.#settle(outcomes))
    this.#watch()
    observer.uplink(true)
    const carried = this.#carry()
    try {
      await Promise.race([aborted(this.#over.signal), carried])
    } finally {
      this.#finish(this.#end)
      this.#stopping.removeEventListener('abort', stop)
      observer.uplink(false)
      observer.unconfirmed(0, undefined)
      const suspect = this.#proven === 0 || publishFaults.has(this.#end.code)
      this.#options.packing.takeApart([...this.#refused, ...(suspect ? this.#unproven.shipments : [])])
    }
    // What is being read or released is settled before the next session reads. A stop needs neither, nor a disk that works.
    await Promise.race([aborted(this.#stopped.signal), Promise.all([carried, ...this.#releases])])
    return { end: this.#end, proven: this.#proven }
  }

  async #carry(): Promise<void> {
    const { outbox } = this.#options
    while (!this.#over.signal.aborted) {
      this.#send()
      if (this.#ahead.length > takeEventsMax / 2 || this.#session.blocked || this.#stopping.aborted) {
        await this.#untilWoken()
        continue
      }
      const events = await outbox.take(takeEventsMax)
      if (this.#over.signal.aborted) break
      this.#ahead = [...this.#ahead, ...events]
      if (events.length === 0) await outbox.ready(this.#idle.signal)
    }
  }

  #send(): void {
    const session = this.#session
    if (this.#over.signal.aborted || this.#stopping.aborted || session.blocked) return
    const events = this.#ahead.slice(0, this.#sendable())
    this.#ahead = this.#ahead.slice(events.length)
    for (const shipment of this.#options.packing.pack(events)) {
      this.#unproven.add(shipment)
      session.publish(shipment)
    }
    if (events.length > 0) this.#unproven.tell()
  }

  /**
   * How many events may go now. A window that was full is not filled up with each proof, which would make batches of what fits into
   * the gap, but once half of it is free. Whoever fits into it as it is does not wait.
   */
  #sendable(): number {
    const { packing, windowEvents } = this.#options
    const { room } = this.#unproven
    const enough = packing.joins ? Math.min(this.#ahead.length, windowEvents / 2) : 0
    return room >= enough ? room : 0
  }

  #settle(outcomes: readonly Outcome[]): void {
    if (this.#over.signal.aborted) return
    const { clock, observer } = this.#options
    const nowMs = clock.monotonicMs()
    const routed: Queued[] = []
    for (const outcome of outcomes) {
      const { shipment } = outcome
      observer.confirmed(this.#unproven.remove(shipment, nowMs))
      if (outcome.kind === 'routed') routed.push(...shipment)
      else {
        this.#refused.push(shipment)
        observer.refused(outcome.code, shipment.length)
        // Whatever refuses one message refuses the next: wait, rather than spin or skip.
        this.#finish({ code: outcome.code, detail: `the exchange did not route ${shipment[0].type}` })
      }
    }
    this.#release(routed)
    if (this.#stopping.aborted && this.#unproven.count === 0) this.#finish(this.#end)
    this.#unproven.tell()
    this.#send()
    this.#wake?.()
  }

  #release(routed: readonly Queued[]): void {
    const [oldest] = routed
    if (!oldest) return
    const { outbox, clock, log, observer } = this.#options
    this.#proven += routed.length
    const release = outbox.release(routed).then(
      () => observer.forwarded(routed.length, clock.now() - oldest.recordedAtMs),
      (error: unknown) =>
        log.warn({ code: codeOf(error), detail: messageOf(error) }, 'events were proven but not released'),
    )
    this.#releases.add(release)
    void release.then(() => this.#releases.delete(release))
  }

  #watch(): void {
    if (this.#over.signal.aborted) return
    const { clock, confirmTimeoutMs } = this.#options
    const waitedMs = this.#unproven.look(this.#session.blocked)
    if (waitedMs > confirmTimeoutMs) {
      const detail = `no publisher confirm for ${Math.round(waitedMs)} ms`
      this.#finish({ code: 'CONFIRM_TIMEOUT', detail })
    } else clock.after(watchEveryMs, () => this.#watch())
  }

  /** Until there is room, the session is over, or a RabbitMQ that blocked may have ceased to. */
  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
      if (this.#session.blocked) this.#options.clock.after(watchEveryMs, resolve)
    })
  }

  /** Stopping ends the taking at once; what is in flight gets a moment to be proven. */
  #stop(): void {
    this.#stopped.abort()
    this.#idle.abort()
    this.#wake?.()
    if (this.#unproven.count === 0) this.#finish(this.#end)
    else this.#options.clock.after(stopGraceMs, () => this.#finish(this.#end))
  }

  #finish(reason: SessionEnd): void {
    if (this.#over.signal.aborted) return
    this.#end = reason
    this.#over.abort()
    this.#idle.abort()
    this.#wake?.()
  }
}
