/**
 * Virtual time: a queue of events, run one after the other. Between two of them everything that waits only for
 * promises has its turn, so the same events in the same order always lead to the same run.
 */
export class Scheduler {
  /** True time since the run began, ms. Nothing can make it jump. */
  nowMs = 0
  events = 0
  private readonly heap: Entry[] = []
  private order = 0

  after(delayMs: number, run: () => void): Timer {
    if (Number.isNaN(delayMs)) throw new RangeError('a delay that is not a number')
    const entry: Entry = { atMs: this.nowMs + Math.max(0, delayMs), order: this.order++, run }
    this.push(entry)
    return {
      cancel: () => {
        entry.run = undefined
      },
    }
  }

  /** Runs until `done` says so; false when `limitMs` of virtual time passed first, or nothing is left to run. */
  async runUntil(done: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.nowMs + limitMs
    await turn()
    while (!done()) {
      const next = this.pop()
      if (!next) return false
      if (!next.run) continue
      if (next.atMs > endMs) {
        this.push(next)
        this.nowMs = endMs
        return false
      }
      this.nowMs = next.atMs
      this.events += 1
      next.run()
      await turn()
    }
    return true
  }

  private push(entry: Entry): void {
    const { heap } = this
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as Entry
      if (!before(entry, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = entry
  }

  private pop(): Entry | undefined {
    const { heap } = this
    const [first] = heap
    const last = heap.pop()
    if (heap.length === 0 || !last) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) child += 1
      if (!before(heap[child] as Entry, last)) break
      heap[at] = heap[child] as Entry
      at = child
    }
    heap[at] = last
    return first
  }
}

export interface Timer {
  cancel(): void
}

interface Entry {
  readonly atMs: number
  readonly order: number
  run: (() => void) | undefined
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** The promise queue runs dry before an immediate is served. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
