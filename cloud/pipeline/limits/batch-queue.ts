/** What waits for its turn in a lane. */
export interface BatchQueueOptions<Item> {
  /** Most of one batch. */
  batchMax: number
  /** Those that share a line; of each line one after another goes into a batch, so that a long one holds up no other. */
  lineOf: (item: Item) => number
  nowMs: () => number
  /** What the lane had lost to failed attempts so far. */
  failedMs: () => number
}

export interface Batch<Item> {
  items: Item[]
  /** When its first was taken. */
  sinceMs: number
  /** What the lane had lost to failed attempts until then. */
  failedMsBefore: number
}

/** Of what waits nothing is made but an entry in its batch: whole queues wait here, and the collector carries what lives (G7). */
export class BatchQueue<Item> {
  readonly #options: BatchQueueOptions<Item>
  /** Of each line, in the order of their turns: full batches, and the one that is being filled. */
  readonly #lines = new Map<number, Batch<Item>[]>()

  constructor(options: BatchQueueOptions<Item>) {
    this.#options = options
  }

  /** The one that has waited for longest. */
  get oldest(): Batch<Item> | undefined {
    let oldest: Batch<Item> | undefined
    for (const [first] of this.#lines.values())
      if (first && (oldest === undefined || first.sinceMs < oldest.sinceMs)) oldest = first
    return oldest
  }

  push(item: Item): void {
    const name = this.#options.lineOf(item)
    const line = this.#lines.get(name)
    const last = line?.at(-1)
    if (last && last.items.length < this.#options.batchMax) last.items.push(item)
    else if (line) line.push(this.#batchOf([item]))
    else this.#lines.set(name, [this.#batchOf([item])])
  }

  /** The next; undefined: nothing waits. */
  shift(): Batch<Item> | undefined {
    const { batchMax } = this.#options
    if (this.#lines.size === 0) return undefined
    const batch: Batch<Item> = { items: [], sinceMs: Infinity, failedMsBefore: 0 }
    this.#fill(batch, Math.max(1, Math.floor(batchMax / this.#lines.size)))
    // What those leave that have less than their share.
    this.#fill(batch, batchMax)
    return batch
  }

  /** Of each line one after another so many, at the most. Whoever has had a turn is behind those that have not. */
  #fill(batch: Batch<Item>, share: number): void {
    const turns = [...this.#lines]
    for (const [name, line] of turns) {
      const room = Math.min(share, this.#options.batchMax - batch.items.length)
      if (room === 0) break
      const first = line[0] as Batch<Item>
      batch.items.push(...first.items.splice(0, room))
      if (first.sinceMs < batch.sinceMs) {
        batch.sinceMs = first.sinceMs
        batch.failedMsBefore = first.failedMsBefore
      }
      if (first.items.length === 0) line.shift()
      this.#lines.delete(name)
      if (line.length > 0) this.#lines.set(name, line)
    }
  }

  #batchOf(items: Item[]): Batch<Item> {
    return { items, sinceMs: this.#options.nowMs(), failedMsBefore: this.#options.failedMs() }
  }
}
