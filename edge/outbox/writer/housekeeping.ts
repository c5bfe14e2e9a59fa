import { encodeHead } from '../layout/head.ts'
import type { Loader } from '../opening/loader.ts'
import type { State } from '../opening/state.ts'
import type { ClockRecord } from './clock-record.ts'
import type { Core } from './core.ts'
import type { Draft } from './draft.ts'
import { reportInto } from './ledger-entries.ts'
import type { Oldest } from './oldest.ts'
import { expireInto } from './removal.ts'

const tickMs = 1000
const markEveryMs = 10_000
const headEveryMs = 30_000

/** What the housekeeping asks of the engine's writer. */
export interface HousekeepingWriter {
  /** A write into which `keepInto` is called. */
  submit(command: { kind: 'housekeep' }): Promise<void>
  /** The store failed while it was read: opens it again, unless that has been done already. */
  reload(state: State, error: unknown): Promise<void>
}

export interface HousekeepingParts {
  clockRecord: ClockRecord
  loader: Loader
  oldest: Oldest
}

/** What is done once a second: clocks, what is past its time, reports, the reserve, the mark. */
export class Housekeeping {
  readonly #core: Core
  readonly #parts: HousekeepingParts
  readonly #writer: HousekeepingWriter
  /** More has expired than one write takes. */
  #more = false
  #lastMarkMs = 0
  #ticking: Promise<void> = Promise.resolve()
  #timer: { cancel(): void } | undefined

  constructor(core: Core, parts: HousekeepingParts, writer: HousekeepingWriter) {
    this.#core = core
    this.#parts = parts
    this.#writer = writer
  }

  start(): void {
    this.#schedule(tickMs)
  }

  /** Nothing is begun any more once `core.closing` is aborted; resolves when nothing is under way either. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    // A tick may be about to write: nothing may come between what we know and the last word on it (I2).
    await this.#ticking
  }

  /** The part of it that is written. */
  async keepInto(draft: Draft): Promise<void> {
    const core = this.#core
    const { clock, reportIntervalMs } = core.options
    this.#parts.clockRecord.keepInto(draft)
    this.#more = await expireInto(core, draft)
    const nowMs = clock.monotonicMs()
    if (core.state.undelivered.size > 0 && nowMs - core.lastReportMs >= reportIntervalMs)
      reportInto(core, draft)
    // An idle gateway still remembers how late it is (time to live across power-off).
    if (nowMs - core.lastHeadMs >= headEveryMs) draft.touch()
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#core.options.clock.after(delayMs, () => {
      this.#ticking = this.#tickSafely()
    })
  }

  async #tickSafely(): Promise<void> {
    const { state, closing } = this.#core
    try {
      await this.#tick()
    } catch (error) {
      await this.#writer.reload(state, error)
      this.#more = false
    }
    if (!closing.aborted) this.#schedule(this.#more ? 0 : tickMs)
  }

  async #tick(): Promise<void> {
    const core = this.#core
    const { folder, clock } = core.options
    const { loader, oldest } = this.#parts
    core.diskFreeBytes = await folder.freeBytes()
    await loader.restoreReserve(core.diskFreeBytes)
    this.#more = false
    await this.#writer.submit({ kind: 'housekeep' })
    await core.state.dedup.settle()
    await core.state.dedup.expire(core.steady.now())
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#lastMarkMs >= markEveryMs) {
      this.#lastMarkMs = nowMs
      await folder.writeMark(encodeHead(core.state.head))
    }
    await oldest.look()
  }
}
