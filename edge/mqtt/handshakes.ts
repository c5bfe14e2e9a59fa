/** A connection of which nobody knows yet whose it is. */
export interface HalfOpen {
  address: string
  /** Whether it has sent what a handshake begins with: the gateway is at work on it. */
  hasBegun(): boolean
  /** Ends it: its place goes to another. */
  displace(): void
}

export interface HandshakesOptions {
  max: number
  /** How long one that has begun is left in peace by those of its own source. */
  patienceMs: number
  monotonicMs: () => number
}

/** One in the pool, with when it came. */
interface Entry {
  halfOpen: HalfOpen
  atMs: number
}

/** What comes from one source, each kind in the order in which it came. */
class Source {
  readonly silent = new Set<Entry>()
  readonly begun = new Set<Entry>()

  get size(): number {
    return this.silent.size + this.begun.size
  }
}

/**
 * The connections that are in their handshake: anybody can open these, so they have places of their own, and take none of those whose
 * identity is known (G7). While there are free places everybody is let in, a fleet behind one address too. When there
 * are none, a newcomer takes a place from the source (an IPv4 address, an IPv6 /64) that holds most, the oldest of those that
 * have said nothing before any other. One whose own source holds most takes one of that that has said nothing, or has taken long;
 * else it is turned away, since a fleet that comes back at once must not end its own handshakes.
 */
export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #sources = new Map<string, Source>()
  #size = 0

  constructor(options: HandshakesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  /** Gives what takes it out again, idempotent; undefined: there is no place for it. */
  enter(halfOpen: HalfOpen): (() => void) | undefined {
    const key = sourceOf(halfOpen.address)
    if (this.#size >= this.#options.max && !this.#makeRoom(key)) return undefined
    const entry = { halfOpen, atMs: this.#options.monotonicMs() }
    const source = this.#sources.get(key) ?? new Source()
    this.#sources.set(key, source)
    source.silent.add(entry)
    this.#size += 1
    return () => this.#leave(key, source, entry)
  }

  #leave(key: string, source: Source, entry: Entry): void {
    if (!source.silent.delete(entry) && !source.begun.delete(entry)) return
    this.#size -= 1
    if (source.size === 0) this.#sources.delete(key)
  }

  #makeRoom(newcomer: string): boolean {
    const own = this.#sources.get(newcomer)?.size ?? 0
    let [fullest, most] = [newcomer, own]
    for (const [key, { size }] of this.#sources) if (size > most) [fullest, most] = [key, size]
    // With its place the newcomer's source would have no more than this one.
    if (most > own + 1) return this.#displaceOne(fullest, -Infinity)
    return this.#displaceOne(own > 0 ? newcomer : fullest, this.#options.patienceMs)
  }

  /** The oldest that has said nothing, or else the oldest of those that have been here for so long. */
  #displaceOne(key: string, ageMsMin: number): boolean {
    const source = this.#sources.get(key)
    if (!source) return false
    for (const entry of source.silent) {
      if (!entry.halfOpen.hasBegun()) return this.#displace(key, source, entry)
      source.silent.delete(entry)
      source.begun.add(entry)
    }
    const [oldest] = source.begun
    if (!oldest || this.#options.monotonicMs() - oldest.atMs < ageMsMin) return false
    return this.#displace(key, source, oldest)
  }

  #displace(key: string, source: Source, entry: Entry): true {
    this.#leave(key, source, entry)
    entry.halfOpen.displace()
    return true
  }
}

/** Who has an IPv6 address has a whole /64 of them, mostly. */
export function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? []
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const rest = tail === '' ? [] : tail.split(':')
    while (groups.length + rest.length < 8) groups.push('0')
    groups.push(...rest)
  }
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
