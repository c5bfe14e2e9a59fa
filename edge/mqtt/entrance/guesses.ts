/** How many wrong passwords there may be at once, and how soon again. */
interface Allowance {
  atOnce: number
  everyMs: number
}

/** Of one device from one source (an address, or a network of IPv6): a device with an old password costs its neighbours nothing. */
const ofDevice: Allowance = { atOnce: 5, everyMs: 10_000 }
/** Of one source, whatever names it gives. */
const ofSource: Allowance = { atOnce: 20, everyMs: 1000 }
/**
 * Of one device whose password is remembered, from one source: that is looked up at no cost, and without this it would say yes or no
 * to as many guesses as a line carries.
 */
const ofRemembered: Allowance = { atOnce: 10, everyMs: 100 }

/** What is remembered at once; the longest untouched goes first (G7). */
const keysMax = 20_000

interface Left {
  guesses: number
  atMs: number
}

/**
 * Who may still be wrong. A device is never counted over all sources: whoever gives its name from elsewhere does not keep it out, and
 * one that finds its password by guessing 130 bits there is not.
 */
export class Guesses {
  readonly #monotonicMs: () => number
  readonly #left = new Map<string, Left>()

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs
  }

  mayTry(source: string, deviceId: string): boolean {
    return this.#leftOf(source, ofSource) >= 1 && this.#leftOf(keyOf(source, deviceId), ofDevice) >= 1
  }

  failed(source: string, deviceId: string): void {
    this.#take(source, ofSource)
    this.#take(keyOf(source, deviceId), ofDevice)
  }

  /** Whether it may be looked up among those that were right. */
  mayLookUp(source: string, deviceId: string): boolean {
    return this.#leftOf(lookUpKeyOf(source, deviceId), ofRemembered) >= 1
  }

  /** It was not the one that is remembered. */
  missed(source: string, deviceId: string): void {
    this.#take(lookUpKeyOf(source, deviceId), ofRemembered)
  }

  get size(): number {
    return this.#left.size
  }

  #leftOf(key: string, { atOnce, everyMs }: Allowance): number {
    const left = this.#left.get(key)
    if (left === undefined) return atOnce
    return Math.min(atOnce, left.guesses + (this.#monotonicMs() - left.atMs) / everyMs)
  }

  #take(key: string, allowance: Allowance): void {
    const guesses = Math.max(0, this.#leftOf(key, allowance) - 1)
    this.#left.delete(key)
    for (const [oldest] of this.#left) {
      if (this.#left.size < keysMax) break
      this.#left.delete(oldest)
    }
    this.#left.set(key, { guesses, atMs: this.#monotonicMs() })
  }
}

/** No address holds a line end. */
function keyOf(source: string, deviceId: string): string {
  return `${source}\n${deviceId}`
}

function lookUpKeyOf(source: string, deviceId: string): string {
  return `${keyOf(source, deviceId)}\nremembered`
}
