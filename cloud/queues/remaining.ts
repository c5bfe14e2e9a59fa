import type { FormerQueue } from './former.ts'

export interface RemainingOptions {
  queues: readonly FormerQueue[]
  drained: ReadonlySet<string>
  ordered: boolean
}

/** Which former queues are still to be drained, and who waits for that. */
export class Remaining {
  readonly #all: readonly FormerQueue[]
  readonly #drained: Set<string>
  /** In an ordered group nothing of a partition's queue of today is read before its former ones are drained (G6). */
  readonly #ready = new Map<number, { promise: Promise<void>; resolve: () => void }>()

  constructor({ queues, drained, ordered }: RemainingOptions) {
    this.#all = queues
    this.#drained = new Set(drained)
    if (ordered) for (const partition of this.partitions()) this.#ready.set(partition, deferred())
  }

  get none(): boolean {
    return this.queues().length === 0
  }

  queues(): FormerQueue[] {
    return this.#all.filter((former) => !this.isDrained(former))
  }

  partitions(): ReadonlySet<number> {
    return new Set(this.queues().map(({ partition }) => partition))
  }

  isDrained({ queue }: FormerQueue): boolean {
    return this.#drained.has(queue)
  }

  /** Undefined if there is no such queue, or if it was drained before. */
  drain(queue: string): FormerQueue | undefined {
    const former = this.#all.find((one) => one.queue === queue)
    if (!former || this.isDrained(former)) return undefined
    this.#drained.add(queue)
    return former
  }

  /** Lets the partition's queue of today be read, unless a former one is left. */
  tellReady(partition: number): void {
    if (!this.partitions().has(partition)) this.#ready.get(partition)?.resolve()
  }

  /** Resolves when the partition's queue of today may be read; undefined: at once. */
  whenReady(partition: number): Promise<void> | undefined {
    return this.#ready.get(partition)?.promise
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
