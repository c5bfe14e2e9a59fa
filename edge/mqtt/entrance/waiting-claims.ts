/** Passwords that wait, of one source: its fleet has a minute for itself where one takes a fifth of a second. */
export const claimsOfSourceMax = 256
/** Of all sources; at 16 KiB each, as long as a CONNECT may be, 16 MiB (G7). */
export const claimsMax = 1024

/** `displaced`: the one that has given way to it. */
export type Queued<Claim> = { isIn: true; displaced?: Claim | undefined } | { isIn: false }

/**
 * Those that wait for their turn: one of each source at a time, in the order they came. Of one source there are so many and no more. Where there is no
 * room at all, the last of the source that has most gives way to one whose source has fewer: a crowd keeps out itself alone (G7).
 */
export class WaitingClaims<Claim extends { readonly source: string }> {
  readonly #sources = new Map<string, Set<Claim>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  push(one: Claim): Queued<Claim> {
    const own = this.#sources.get(one.source)?.size ?? 0
    if (own >= claimsOfSourceMax) return { isIn: false }
    const displaced = this.#size >= claimsMax ? this.#lastOfMost(own + 1) : undefined
    if (this.#size >= claimsMax && !displaced) return { isIn: false }
    if (displaced) this.remove(displaced)
    const waiting = this.#sources.get(one.source) ?? new Set()
    this.#sources.set(one.source, waiting.add(one))
    this.#size += 1
    return { isIn: true, displaced }
  }

  /** The next of each source in turn. */
  shift(): Claim | undefined {
    for (const [source, waiting] of this.#sources) {
      const [next] = waiting
      if (!next) continue
      this.remove(next)
      // Behind the others.
      this.#sources.delete(source)
      if (waiting.size > 0) this.#sources.set(source, waiting)
      return next
    }
    return undefined
  }

  /** Whether it has waited. */
  remove(one: Claim): boolean {
    const waiting = this.#sources.get(one.source)
    if (!waiting?.delete(one)) return false
    this.#size -= 1
    if (waiting.size === 0) this.#sources.delete(one.source)
    return true
  }

  #lastOfMost(sizeMin: number): Claim | undefined {
    let most: Set<Claim> | undefined
    for (const waiting of this.#sources.values())
      if (waiting.size > Math.max(sizeMin, most?.size ?? 0)) most = waiting
    return most && [...most].at(-1)
  }
}
