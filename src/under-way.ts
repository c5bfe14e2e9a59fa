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

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#count > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}
