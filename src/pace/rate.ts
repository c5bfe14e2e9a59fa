/**
 * So many a second, and as many at once as come together in one second: a token bucket that may be overdrawn once, by what is
 * larger than what is left of it.
 */
export class Rate {
  readonly #perSecond: number
  readonly #monotonicMs: () => number
  #tokens: number
  #atMs: number

  constructor(perSecond: number, monotonicMs: () => number) {
    this.#perSecond = perSecond
    this.#monotonicMs = monotonicMs
    this.#tokens = this.#most
    this.#atMs = monotonicMs()
  }

  /** Spends one, if there is a whole one. */
  take(): boolean {
    this.#refill()
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  spend(count: number): void {
    this.#refill()
    this.#tokens -= count
  }

  /** What may be spent now; not more than 0: nothing. */
  left(): number {
    this.#refill()
    return this.#tokens
  }

  /** Until there is something to spend again; 0: there is. */
  waitMs(): number {
    this.#refill()
    return this.#tokens > 0 ? 0 : ((1e-6 - this.#tokens) * 1000) / this.#perSecond
  }

  /** Until so many may be spent; 0: they may. Never, of more than come together in one second. */
  untilMs(count: number): number {
    this.#refill()
    return Math.max(0, ((count - this.#tokens) * 1000) / this.#perSecond)
  }

  /** Until it knows no more of what was spent. */
  forgetMs(): number {
    this.#refill()
    return ((this.#most - this.#tokens) * 1000) / this.#perSecond
  }

  get #most(): number {
    return Math.max(1, this.#perSecond)
  }

  #refill(): void {
    const nowMs = this.#monotonicMs()
    this.#tokens = Math.min(this.#most, this.#tokens + ((nowMs - this.#atMs) * this.#perSecond) / 1000)
    this.#atMs = nowMs
  }
}
