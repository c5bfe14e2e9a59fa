export interface BatchPaceOptions {
  /** Most deliveries in one transaction. */
  batchMax: number
  timeTargetMs: number
}

interface Seen {
  held: number
  tookMs: number
}

/** How fast a consumer is shows with its first events; until then few are tried together. */
const limitAtFirst = 16

/** After so many transactions of one size it is not known any more what one of another takes: the server may have been busy then. */
const staleAfter = 16

/**
 * How many deliveries go into the next transaction: as many as fit into the time that one is to take. Where even an empty one would
 * take most of that time, smaller ones would not be faster, only more: then as many as take as long again as the empty one. What larger
 * ones take is tried again every now and then, or a server that was busy once would have small ones for ever.
 */
export class BatchPace {
  readonly #options: BatchPaceOptions
  #limit: number
  #last: Seen | undefined
  /** The newest that held half as much as the last, or less, or twice as much, or more. */
  #other: Seen | undefined
  /** Transactions since then. */
  #sinceOther = 0

  constructor(options: BatchPaceOptions) {
    this.#options = options
    this.#limit = Math.min(options.batchMax, limitAtFirst)
  }

  get limit(): number {
    return this.#limit
  }

  /** By what a transaction held, and not by what it could have held: a few that are fast say nothing of many. */
  committed(held: number, tookMs: number): void {
    const seen = { held, tookMs }
    this.#sinceOther++
    if (this.#last && isOfOtherSize(this.#last, seen)) {
      this.#other = this.#last
      this.#sinceOther = 0
    }
    this.#last = seen
    if (this.#sinceOther >= staleAfter) {
      this.#other = undefined
      this.#sinceOther = 0
      this.#limit = this.#bounded(Math.max(this.#limit, 2 * held))
      return
    }
    const { fixedMs, eachMs } = this.#costs(seen)
    const allowedMs = Math.max(this.#options.timeTargetMs, 2 * fixedMs)
    if (tookMs > allowedMs) this.#limit = Math.max(1, held >> 1)
    else
      this.#limit = this.#bounded(
        Math.max(this.#limit, Math.min(2 * held, Math.ceil((allowedMs - fixedMs) / eachMs))),
      )
  }

  /** A transaction that is too large for a time limit of the server, for one, fails as if the server were gone. */
  failed(held: number): void {
    this.#limit = Math.max(1, Math.min(this.#limit, held >> 1))
  }

  /** Of a transaction and of a delivery in it; without another size to compare with it, all of it is the deliveries'. */
  #costs(seen: Seen): { fixedMs: number; eachMs: number } {
    const other = this.#other
    const [small, large] = other && other.held < seen.held ? [other, seen] : [seen, other]
    if (large === undefined || !isOfOtherSize(small, large))
      return { fixedMs: 0, eachMs: seen.tookMs / seen.held }
    const eachMs = Math.max(0, (large.tookMs - small.tookMs) / (large.held - small.held))
    return { fixedMs: Math.max(0, small.tookMs - eachMs * small.held), eachMs }
  }

  #bounded(limit: number): number {
    return Math.min(this.#options.batchMax, limit)
  }
}

function isOfOtherSize(one: Seen, other: Seen): boolean {
  return Math.max(one.held, other.held) >= 2 * Math.min(one.held, other.held)
}
