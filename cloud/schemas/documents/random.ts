/** Numbers that look random and are the same for the same seed (mulberry32, T. Ettinger). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0, below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 to the largest. */
  upTo(largest: number): number {
    return Math.floor(this.next() * (largest + 1))
  }

  isLucky(chance: number): boolean {
    return this.next() < chance
  }

  /** One of several; there must be one. */
  of<T>(several: readonly T[]): T {
    return several[this.upTo(several.length - 1)] as T
  }
}
