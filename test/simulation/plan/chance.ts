import { seededRandom } from '../../../dev/fleet/random.ts'
import type { Random } from '../../../src/clock.ts'

/** A stream of chance of its own for each part, so that what one part draws does not move another's. */
export interface Chance {
  readonly random: Random
  /** A number in [min, max). */
  between(min: number, max: number): number
  /** A whole number in [min, max]. */
  whole(min: number, max: number): number
  /** True with this probability. */
  one(probability: number): boolean
  pick<T>(items: readonly T[]): T
}

export function chance(...words: (string | number)[]): Chance {
  const random = seededRandom(...words)
  return {
    random,
    between: (min, max) => min + (max - min) * random(),
    whole: (min, max) => min + Math.floor((max - min + 1) * random()),
    one: (probability) => random() < probability,
    pick: (items) => items[Math.floor(random() * items.length)] as (typeof items)[number],
  }
}
