/** A connection of which nobody knows yet whose it is. */
export interface HalfOpen {
  address: string
  /** Whether it has sent what a handshake begins with. */
  hasSpoken(): boolean
  /** Ends it: its place goes to another. */
  displace(): void
}

/** What a connection has in the pool. */
export interface Place {
  /** The gateway is at work on its handshake from now on. */
  begins(): void
  /** Idempotent. */
  leave(): void
}

export interface HandshakesOptions {
  max: number
  monotonicMs: () => number
  random: () => number
}

/** As long as what was sent already may take to be read: who is silent for longer has nothing to say. */
const silenceMs = 300

/** As long as one that has spoken is left in peace by those of its own source: most handshakes are over by then. */
const patienceMs = 1000

/** How many are looked at to find one that is to give way: of a pool full of silent ones, surely one of them. */
const looks = 8

/** One in the pool. */
interface Entry {
  halfOpen: HalfOpen
  /** Its place in its source's list. */
  at: number
  /** Undefined: the gateway has not come to it yet. */
  beganMs: number | undefined
}

/**
 * The connections that are in their handshake: anybody can open these, so they have places of their own, and take none of those whose
 * identity is known (G7). While there are free places everybody is let in, a fleet behind one address too. When there
 * are none, a newcomer takes a place from the source (an IPv4 address, an IPv6 /64) that holds most; where its own holds most, of that.
 * Who gives way is drawn, so that a stranger who is fast keeps nobody out for certain: of a few of them one that says nothing,
 * else one that has cost nothing yet, else one that has taken long. If all are at it and of the newcomer's own source, it is turned away itself, since
 * a fleet that comes back at once must not end its own handshakes.
 */
export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #sources = new Map<string, Entry[]>()
  #size = 0

  constructor(options: HandshakesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  /** undefined: there is no place for it. */
  enter(halfOpen: HalfOpen): Place | undefined {
    const key = sourceOf(halfOpen.address)
    if (this.#size >= this.#options.max && !this.#makeRoom(key)) return undefined
    const source = this.#sources.get(key) ?? []
    this.#sources.set(key, source)
    const entry: Entry = { halfOpen, at: source.length, beganMs: undefined }
    source.push(entry)
    this.#size += 1
    return {
      begins: () => {
        entry.beganMs ??= this.#options.monotonicMs()
      },
      leave: () => this.#leave(key, source, entry),
    }
  }

  #leave(key: string, source: Entry[], entry: Entry): void {
    if (source[entry.at] !== entry) return
    const last = source.pop() as Entry
    if (last !== entry) {
      source[entry.at] = last
      last.at = entry.at
    }
    entry.at = -1
    this.#size -= 1
    if (source.length === 0) this.#sources.delete(key)
  }

  #makeRoom(newcomer: string): boolean {
    const own = this.#sources.get(newcomer)?.length ?? 0
    const { fullest, most } = this.#fullest(newcomer)
    // With its place the newcomer's source would have no more than this one.
    if (most > own + 1) return this.#displaceOne(fullest, -Infinity)
    return this.#displaceOne(own > 0 ? newcomer : fullest, patienceMs)
  }

  /** The source that holds most; of several one that is drawn, each as likely, in one pass. */
  #fullest(newcomer: string): { fullest: string; most: number } {
    let [fullest, most, alike] = [newcomer, 0, 0]
    for (const [key, { length }] of this.#sources) {
      if (length < most) continue
      alike = length > most ? 1 : alike + 1
      if (this.#options.random() * alike < 1) fullest = key
      most = length
    }
    return { fullest, most }
  }

  /** One that has spoken only if it has been at it for so long. */
  #displaceOne(key: string, spokenMsMin: number): boolean {
    const source = this.#sources.get(key)
    if (!source) return false
    const drawn = Array.from({ length: Math.min(looks, source.length) }, () => this.#drawn(source))
    const silent = drawn
      .filter(({ halfOpen, beganMs }) => beganMs !== undefined && !halfOpen.hasSpoken())
      .toSorted((one, other) => this.#ageMs(other) - this.#ageMs(one))
    const entry =
      silent.find((one) => this.#ageMs(one) >= silenceMs) ??
      drawn.find(({ beganMs }) => beganMs === undefined) ??
      silent[0] ??
      drawn.find((one) => this.#ageMs(one) >= spokenMsMin)
    if (!entry) return false
    this.#leave(key, source, entry)
    entry.halfOpen.displace()
    return true
  }

  #ageMs({ beganMs }: Entry): number {
    const nowMs = this.#options.monotonicMs()
    return nowMs - (beganMs ?? nowMs)
  }

  #drawn<T>(of: readonly T[]): T {
    return of[Math.floor(this.#options.random() * of.length)] as T
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
