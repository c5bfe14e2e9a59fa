import type { Usage } from '../layout/usage.ts'
import type { Head } from '../layout/head.ts'
import type { Lane } from '../outbox.ts'

/** Part of all that is queued that those who make room have at least: of every few events looked at, one may go. */
const heavyPart = 1 / 4

/**
 * From how much on a device is one of those who make room: the largest power of two for which the devices that have as much hold a
 * quarter of all that is queued (G7). So whoever has less loses nothing, and no more is looked at than can be paid for.
 */
export function heavyFrom(devices: Iterable<Usage>, measure: keyof Usage): number {
  const held: number[] = []
  let total = 0
  for (const { [measure]: size } of devices) {
    if (size < 1) continue
    const power = Math.floor(Math.log2(size))
    held[power] = (held[power] ?? 0) + size
    total += size
  }
  let sum = 0
  for (let power = held.length - 1; power > 0; power -= 1) {
    sum += held[power] ?? 0
    if (sum >= total * heavyPart) return 2 ** power
  }
  return 1
}

const smallDepth = 2000
const newPart = 1 / 16

/**
 * How far eviction has looked, over many writes: each looks at a little, so that nobody waits for a look at all that is queued. It
 * passes over what belongs to others, and comes back to that when it has been through, when a sixteenth has come since, or when
 * the uplink was lost. In a small outbox it begins with the first each time.
 */
export class Eviction {
  /** The write under way, or the last, has not found enough: the next goes on. */
  isLooking = false
  #isMidway = false
  readonly #next: Record<Lane, number> = { high: 0, normal: 0 }
  /** Nothing was found since it began with the first. */
  #isWholeAndFruitless = false
  #heavyFromMax = Infinity
  #cursors: object | undefined
  #begunAt = 0

  /** Begins or goes on. After a rewind (other cursors) what it passed over as in flight is there again. */
  look(cursors: object, { position, depth }: Pick<Head, 'position' | 'depth'>): void {
    const queued = depth.high + depth.normal
    const isDue = queued <= smallDepth || position - this.#begunAt >= queued * newPart
    const goesOn = this.#cursors === cursors && (this.#isMidway || !isDue)
    this.#isMidway = false
    if (goesOn) return
    this.#cursors = cursors
    this.#begunAt = position
    this.#restart()
    this.found()
  }

  /** As much was looked at as one write may. */
  pause(): void {
    this.isLooking = true
    this.#isMidway = true
  }

  /** From where on it has not looked. */
  next(lane: Lane): number {
    return this.#next[lane]
  }

  lookedAt(lane: Lane, position: number): void {
    this.#next[lane] = Math.max(this.#next[lane], position + 1)
  }

  found(): void {
    this.#isWholeAndFruitless = false
    this.#heavyFromMax = Infinity
  }

  /** What a device has to have, as `heavyFrom` says; less if all of that is in somebody's hands. */
  atMost(heavyFrom: number): number {
    return Math.min(heavyFrom, this.#heavyFromMax)
  }

  /** It has been through: whether to begin again, with the first and, if nothing at all was found, with smaller ones. */
  beginAgain(from: number): boolean {
    this.#restart()
    if (this.#isWholeAndFruitless) this.#heavyFromMax = from / 2
    this.#isWholeAndFruitless = true
    if (this.#heavyFromMax >= 1) return true
    this.found()
    return false
  }

  #restart(): void {
    this.#next.high = 0
    this.#next.normal = 0
  }
}
