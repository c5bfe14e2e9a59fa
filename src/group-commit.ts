/**
 * Group commit: many callers share one durable write. While a commit is under way arrivals wait; when it ends
 * all of them (up to `itemsMax`) go into the next one. No timer: an idle committer commits at once, a busy one
 * batches by itself. Source: Gray & Reuter, Transaction Processing, 1993, ch. 9.
 *
 * Promise: results arrive in the order of submission; a commit that throws fails all of its own items and no
 * other; `close()` waits for everything submitted.
 */
export interface GroupCommit<T, R> {
  submit(item: T): Promise<R>
  /** Items waiting for a commit, those of the commit under way included. */
  readonly pending: number
  close(): Promise<void>
}

interface Waiting<T, R> {
  item: T
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

export function groupCommit<T, R>(
  commit: (items: T[]) => Promise<R[]>,
  /** `countOf`: as how many it counts, unless it stands alone; 1 if absent. */
  options: { itemsMax: number; countOf?: (item: T) => number },
): GroupCommit<T, R> {
  let queue: Waiting<T, R>[] = []
  let underWay = 0
  let running: Promise<void> | undefined

  async function run(): Promise<void> {
    // One turn of the microtask queue lets everything parsed from the same socket chunk join the first batch.
    await Promise.resolve()
    while (queue.length > 0) {
      const batch = queue.slice(0, countOfNext())
      queue = queue.slice(batch.length)
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

  function countOfNext(): number {
    const { itemsMax, countOf = () => 1 } = options
    let counted = 0
    let next = 0
    for (const { item } of queue) {
      counted += countOf(item)
      if (next > 0 && counted > itemsMax) break
      next += 1
    }
    return next
  }

  return {
    submit(item) {
      return new Promise<R>((resolve, reject) => {
        queue.push({ item, resolve, reject })
        running ??= run()
      })
    },
    get pending() {
      return queue.length + underWay
    },
    async close() {
      // oxlint-disable-next-line no-unmodified-loop-condition -- run() clears it
      while (running) await running
    },
  }
}
