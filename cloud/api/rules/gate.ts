/** So much is under way at a time, and so much waits for its turn (G7): in all, or of each. */
export interface Gate {
  /** Does it when it is its turn, first come, first served. @throws what `full` makes, when too many wait already */
  pass<T>(who: string, work: () => Promise<T>): Promise<T>
}

export interface GateOptions {
  underWayMax: number
  waitingMax: number
  full: () => Error
}

interface Turns {
  underWay: number
  waiting: (() => void)[]
}

export function createGate({ underWayMax, waitingMax, full }: GateOptions): Gate {
  /** Whoever has nothing under way is forgotten. */
  const turns = new Map<string, Turns>()

  async function enter(who: string): Promise<Turns> {
    const mine = turns.get(who) ?? { underWay: 0, waiting: [] }
    turns.set(who, mine)
    if (mine.underWay < underWayMax) mine.underWay++
    else if (mine.waiting.length >= waitingMax) throw full()
    else await new Promise<void>((done) => mine.waiting.push(done))
    return mine
  }

  /** Whose turn is next takes the place as it is. */
  function leave(who: string, mine: Turns): void {
    const next = mine.waiting.shift()
    if (next) return next()
    mine.underWay--
    if (mine.underWay === 0) turns.delete(who)
  }

  return {
    async pass(who, work) {
      const mine = await enter(who)
      try {
        return await work()
      } finally {
        leave(who, mine)
      }
    },
  }
}
