/** Counts work that is under way, so that a stop can wait until none is. */
export class UnderWay {
  #count = 0
  #waiting: (() => void)[] = []

  begin(): void {
    this.#count += 1
  }

  end(): void {
    this.#count -= 1
    if (this.#count > 0 || this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /** Counts `work` until it is settled, either way. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.begin()
    try {
      return await work
    } finally {
      this.end()
    }
  }

  /**
   * Resolves when nothing is under way, and whoever waited for the last of it has gone on: what they begin then is
   * waited for too.
   */
  async settled(): Promise<void> {
    await turn()
    while (this.#count > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
      await turn()
    }
  }
}

/** Lets everything go on that waits for nothing but promises that are settled. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
