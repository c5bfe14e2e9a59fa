/** How much of one kind runs at once; the rest waits in the order in which it came. */
export interface Places {
  /** Does it as soon as there is a place. */
  hold<T>(work: () => Promise<T>): Promise<T>
}

/** @param count `Infinity`: nothing waits. */
export function createPlaces(count: number): Places {
  let free = count
  const waiting: (() => void)[] = []
  return {
    async hold(work) {
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      try {
        return await work()
      } finally {
        const next = waiting.shift()
        // Its place goes to the next before anybody else can take it.
        if (next) next()
        else free++
      }
    },
  }
}
