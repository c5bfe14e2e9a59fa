import type { Core } from './core.ts'
import type { Draft } from './draft.ts'
import { appendLedgerEntry } from './ledger-entries.ts'

/**
 * Time on record. A move of the wall clock is told to the cloud, with the sequences it concerns; time spent powered
 * off is credited, once it is believed, to what came in before that. Nothing is restamped.
 */
export class ClockRecord {
  readonly #core: Core
  /** First position of the period in which the clock was not moved. */
  #periodFrom: number
  /** What it becomes once the write has landed. */
  #nextFrom: number
  /** A move of the clock that is not on record yet. */
  #jumpMs = 0

  constructor(core: Core, firstPosition: number) {
    this.#core = core
    this.#periodFrom = firstPosition
    this.#nextFrom = firstPosition
    const { head } = core.state
    // What the last run did not come to believe is still open.
    head.undatedFrom = core.steady.creditMs === undefined ? (head.undatedFrom ?? firstPosition) : null
  }

  /** Looks at the clocks, and adds what there is to record. Call it about once a second. */
  keepInto(draft: Draft): void {
    const { steady, options } = this.#core
    const jump = steady.check()
    if (jump) {
      options.log.warn({ offsetMs: jump.offsetMs }, 'the wall clock was moved')
      this.#jumpMs += jump.offsetMs
      // From here on it is the moved clock that a restart compares with.
      draft.touchUrgently()
    }
    this.#creditInto(draft)
    if (this.#jumpMs !== 0) this.#correctInto(draft)
  }

  /** The write has landed. */
  landed(): void {
    this.#jumpMs = 0
    this.#periodFrom = this.#nextFrom
  }

  #correctInto(draft: Draft): void {
    const { head } = this.#core.state
    const from = Math.max(this.#periodFrom, head.epochBase + 1)
    if (head.position >= from) {
      appendLedgerEntry(this.#core, draft, {
        kind: 'clock-corrected',
        epoch: head.epoch,
        from: from - head.epochBase,
        to: head.position - head.epochBase,
        offsetMs: this.#jumpMs,
      })
    }
    this.#nextFrom = draft.head.position + 1
  }

  /** Once it is believed how long the gateway was off: what came in until then was dated without that time. */
  #creditInto(draft: Draft): void {
    const { creditMs } = this.#core.steady
    const { credits, position, undatedFrom } = draft.head
    if (creditMs === undefined || undatedFrom === null) return
    if (creditMs > 0 && position >= undatedFrom)
      credits.push({ from: undatedFrom, to: position, ms: creditMs })
    draft.head.undatedFrom = null
    draft.touch()
  }
}
