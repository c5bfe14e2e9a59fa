import type { Delivery } from '../../amqp/delivery.ts'

/** What waits for its turn in a lane. */
export interface BatchQueueOptions {
  /** Most deliveries of one batch. */
  batchMax: number
  /** Those that share a line; of each line one after another goes into a batch, so that a long one holds up no other. */
  lineOf: (delivery: Delivery) => number
  nowMs: () => number
  /** What the lane had lost to failed attempts so far. */
  failedMs: () => number
}

export interface Batch {
  deliveries: Delivery[]
  /** When its first was taken. */
  sinceMs: number
  /** What the lane had lost to failed attempts until then. */
  failedMsBefore: number
}

/** Of what waits nothing is made but an entry in its batch: whole queues wait here, and the collector carries what lives (G7). */
export class BatchQueue {
  readonly #options: BatchQueueOptions
  /** Of each line, in the order of their turns: full batches, and the one that is being filled. */
  readonly #lines = new Map<number, Batch[]>()

  constructor(options: BatchQueueOptions) {
    this.#options = options
  }

  /** The one that has waited for longest. */
  get oldest(): Batch | undefined {
    let oldest: Batch | undefined
    for (const [first] of this.#lines.values())
      if (first && (oldest === undefined || first.sinceMs < oldest.sinceMs)) oldest = first
    return oldest
  }

  push(delivery: Delivery): void {
    const name = this.#options.lineOf(delivery)
    const line = this.#lines.get(name)
    const last = line?.at(-1)
    if (last && last.deliveries.length < this.#options.batchMax) last.deliveries.push(delivery)
    else if (line) line.push(this.#batchOf([delivery]))
    else this.#lines.set(name, [this.#batchOf([delivery])])
  }

  /** The next; undefined: nothing waits. */
  shift(): Batch | undefined {
    const { batchMax } = this.#options
    if (this.#lines.size === 0) return undefined
    const share = Math.max(1, Math.floor(batchMax / this.#lines.size))
    const batch: Batch = { deliveries: [], sinceMs: Infinity, failedMsBefore: 0 }
    // Whoever has had a turn is behind those that have not.
    const turns = [...this.#lines]
    for (const [name, line] of turns) {
      const room = Math.min(share, batchMax - batch.deliveries.length)
      if (room === 0) break
      const first = line[0] as Batch
      batch.deliveries.push(...first.deliveries.splice(0, room))
      if (first.sinceMs < batch.sinceMs) {
        batch.sinceMs = first.sinceMs
        batch.failedMsBefore = first.failedMsBefore
      }
      if (first.deliveries.length === 0) line.shift()
      this.#lines.delete(name)
      if (line.length > 0) this.#lines.set(name, line)
    }
    return batch
  }

  #batchOf(deliveries: Delivery[]): Batch {
    return { deliveries, sinceMs: this.#options.nowMs(), failedMsBefore: this.#options.failedMs() }
  }
}
