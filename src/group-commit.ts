/**
 * Group commit: many callers share one durable write. While a commit is under way arrivals wait; when it ends
 * all of them (up to `itemsMax`) go into the next one. No timer: an idle committer commits at once, a busy one
 * batches by itself. Source: Gray & Reuter, Transaction Processing, 1993, ch. 9.
 *
 * Promise: results arrive in the order of submission, of each owner; a commit that throws fails all of its own items and no
 * other; `close()` waits for everything submitted. Of owners that have more waiting than one commit holds each is taken one item in
 * turn, so that none waits for all that another has brought. What is nobody's goes into the next commit, all of it, and one owner's
 * item at the least with it.
 */
export interface GroupCommit<T, R> {
  submit(item: T): Promise<R>
  /** Items waiting for a commit, those of the commit under way included. */
  readonly pending: number
  close(): Promise<void>
}

export interface GroupCommitOptions<T> {
  itemsMax: number
  /** As how many it counts, unless it stands alone; 1 if absent. */
  countOf?: (item: T) => number
  /** Whose it is; undefined: nobody's. All are of one if absent. */
  ownerOf?: (item: T) => string | undefined
}

interface Waiting<T, R> {
  item: T
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

export function groupCommit<T, R>(
  commit: (items: T[]) => Promise<R[]>,
  options: GroupCommitOptions<T>,
): GroupCommit<T, R> {
  const queue = new FairQueue<T, R>(options)
  let underWay = 0
  let running: Promise<void> | undefined

  async function run(): Promise<void> {
    // One turn of the microtask queue lets everything parsed from the same socket chunk join the first batch.
    await Promise.resolve()
    while (queue.size > 0) {
      const batch = queue.next()
      underWay = batch.length
      try {
        const results = await commit(batch.map((waiting) => waiting.item))
        batch.forEach((waiting, index) => waiting.resolve(results[index] as R))
      } catch (error) {
        for (const waiting of batch) waiting.reject(error)
      }
      underWay = 0
    }
    running = undefined
  }

  return {
    submit(item) {
      return new Promise<R>((resolve, reject) => {
        queue.push({ item, resolve, reject })
        running ??= run()
      })
    },
    get pending() {
      return queue.size + underWay
    },
    async close() {
      // oxlint-disable-next-line no-unmodified-loop-condition -- run() clears it
      while (running) await running
    },
  }
}

/** What waits, a line for each owner; the one that was served longest ago is first. */
class FairQueue<T, R> {
  readonly #options: Required<GroupCommitOptions<T>>
  readonly #lines = new Map<string, Waiting<T, R>[]>()
  #nobodys: Waiting<T, R>[] = []
  size = 0

  constructor({ itemsMax, countOf = () => 1, ownerOf = () => '' }: GroupCommitOptions<T>) {
    this.#options = { itemsMax, countOf, ownerOf }
  }

  push(waiting: Waiting<T, R>): void {
    this.size += 1
    const owner = this.#options.ownerOf(waiting.item)
    if (owner === undefined) {
      this.#nobodys.push(waiting)
      return
    }
    const line = this.#lines.get(owner)
    if (line) line.push(waiting)
    else this.#lines.set(owner, [waiting])
  }

  next(): Waiting<T, R>[] {
    const { itemsMax, countOf } = this.#options
    const batch = this.#nobodys
    this.#nobodys = []
    const nobodys = batch.length
    let counted = batch.reduce((sum, { item }) => sum + countOf(item), 0)
    // An owner that is set again comes at the end of the round, which the iteration goes on to.
    for (const [owner, line] of this.#lines) {
      const next = line[0] as Waiting<T, R>
      counted += countOf(next.item)
      if (batch.length > nobodys && counted > itemsMax) break
      batch.push(next)
      line.shift()
      this.#lines.delete(owner)
      if (line.length > 0) this.#lines.set(owner, line)
    }
    this.size -= batch.length
    return batch
  }
}
