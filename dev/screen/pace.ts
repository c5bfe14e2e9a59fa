import type { Snapshot } from '../watch/snapshot.ts'

/** What a view tells of the last seconds, beside the snapshot of now. */
export interface Pace {
  see(snapshot: Snapshot): void
  /** Since the fleet began; 0 before the first snapshot. */
  readonly elapsedMs: number
  /** The deepest the buffer was in each second, oldest first. */
  readonly depths: readonly number[]
  /** Of a growing count, just now. */
  perSecond(count: (snapshot: Snapshot) => number): number
}

const depthsMax = 200
const rateWindowMs = 2000

export function createPace(): Pace {
  const depths: number[] = []
  const recent: Snapshot[] = []
  let depthSecond = -1

  function seeDepth({ elapsedMs, buffered }: Snapshot): void {
    const second = Math.floor(elapsedMs / 1000)
    if (second === depthSecond && depths.length > 0) {
      depths.push(Math.max(depths.pop() ?? 0, buffered))
      return
    }
    depthSecond = second
    depths.push(buffered)
    if (depths.length > depthsMax) depths.shift()
  }

  return {
    depths,
    get elapsedMs() {
      return recent.at(-1)?.elapsedMs ?? 0
    },
    see(snapshot) {
      seeDepth(snapshot)
      recent.push(snapshot)
      while (snapshot.elapsedMs - (recent[0]?.elapsedMs ?? 0) > rateWindowMs) recent.shift()
    },
    perSecond(count) {
      const [first] = recent
      const last = recent.at(-1)
      if (!first || !last || last.elapsedMs <= first.elapsedMs) return 0
      return Math.max(0, ((count(last) - count(first)) / (last.elapsedMs - first.elapsedMs)) * 1000)
    },
  }
}
