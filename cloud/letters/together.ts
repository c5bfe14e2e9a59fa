/** Work that is done for many at once: one piece at a time, with all that has come meanwhile. */
export interface Together<Item> {
  /** Resolves when the piece of work that it was part of is done, and rejects with what that throws. */
  add(item: Item): Promise<void>
}

export interface TogetherOptions<Item> {
  work: (items: readonly Item[]) => Promise<void>
  /** Of one piece (G7); an item that is larger than that goes alone. */
  countMax: number
  bytesMax: number
  bytesOf: (item: Item) => number
}

interface Waiting<Item> {
  item: Item
  done: () => void
  failed: (error: unknown) => void
}

export function together<Item>(options: TogetherOptions<Item>): Together<Item> {
  const { work } = options
  let waiting: Waiting<Item>[] = []
  let running = false

  async function run(): Promise<void> {
    // What comes in one turn is one piece.
    await Promise.resolve()
    while (waiting.length > 0) {
      const count = fitting(waiting, options)
      const some = waiting.slice(0, count)
      waiting = waiting.slice(count)
      try {
        await work(some.map(({ item }) => item))
        for (const { done } of some) done()
      } catch (error) {
        for (const { failed } of some) failed(error)
      }
    }
    running = false
  }

  return {
    add(item) {
      const added = new Promise<void>((done, failed) => waiting.push({ item, done, failed }))
      if (!running) void run()
      running = true
      return added
    },
  }
}

/** As many as one piece takes, one at the least. */
function fitting<Item>(
  waiting: readonly Waiting<Item>[],
  { countMax, bytesMax, bytesOf }: TogetherOptions<Item>,
): number {
  let bytes = 0
  const beyond = waiting.findIndex(({ item }, index) => {
    bytes += bytesOf(item)
    return index > 0 && (index === countMax || bytes > bytesMax)
  })
  return beyond < 0 ? waiting.length : beyond
}
