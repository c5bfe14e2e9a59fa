import type { Clock } from '../clock.ts'

export interface FileWatchOptions {
  /** What files look like now, in a text that is another when one of them has changed. May take as long as it likes. */
  look: () => Promise<string>
  /** What they looked like before they were read last. */
  read: string
  /** Called when they are to be read; the next look is after it. Must not reject. */
  onChanged: () => Promise<void>
  /** From the end of one look to the next, ms. */
  everyMs?: number
  clock: Pick<Clock, 'after' | 'monotonicMs'>
}

/**
 * Files are looked at, every second unless told otherwise, rather than watched: a look sees what was written in place, renamed into it, and links that
 * were swung round above it, on every file system; what a watch tells differs between these and can be lost.
 */
const lookEveryMs = 1000
/** Looks at files that never lie still, after which they are read all the same. */
const restlessLooksMax = 5

/** Tells when files have changed and have lain still from one look to the next, until it is closed. */
export class FileWatch {
  readonly #options: FileWatchOptions
  #read: string
  #seen: string
  #restlessLooks = 0
  /** The look that is under way, and since when: there is one at a time. */
  #looking: { sinceMs: number; seen: Promise<string> } | undefined
  #timer: { cancel(): void }
  #closed = false

  constructor(options: FileWatchOptions) {
    this.#options = options
    this.#read = options.read
    this.#seen = options.read
    this.#timer = this.#next()
  }

  /** To be awaited before they are read: what is written meanwhile is then read once more. Never rejects. */
  async beforeReading(): Promise<void> {
    this.#read = await this.#lookNow()
    this.#restlessLooks = 0
  }

  /** For how long a look has been under way. */
  get looksForMs(): number {
    return this.#looking ? this.#options.clock.monotonicMs() - this.#looking.sinceMs : 0
  }

  close(): void {
    this.#closed = true
    this.#timer.cancel()
  }

  #next(): { cancel(): void } {
    const { clock, everyMs = lookEveryMs } = this.#options
    return clock.after(everyMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    const seen = await this.#lookNow()
    const lieStill = seen === this.#seen
    this.#seen = seen
    this.#restlessLooks = lieStill ? 0 : this.#restlessLooks + 1
    const due = lieStill || this.#restlessLooks >= restlessLooksMax
    if (seen !== this.#read && due && !this.#closed) await this.#options.onChanged()
    if (!this.#closed) this.#timer = this.#next()
  }

  /** Files that cannot be looked at look like what they were. */
  #lookNow(): Promise<string> {
    this.#looking ??= {
      sinceMs: this.#options.clock.monotonicMs(),
      seen: this.#options
        .look()
        .catch(() => this.#seen)
        .finally(() => (this.#looking = undefined)),
    }
    return this.#looking.seen
  }
}
