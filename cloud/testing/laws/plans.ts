import type { Random } from '../../../src/clock.ts'
import type { LawName } from './options.ts'
import { between, pick, seeded, shuffled } from './random.ts'
import type { Sample } from './sample.ts'

/** What is done to the events of a case on their way. */
export interface Plan {
  /** Most events in one transaction. */
  batchMax: number
  /** Each event comes when the one before it is done with. */
  alone: boolean
  /** In which order they come: indices of the case's events. */
  orderOf: (samples: readonly Sample[], ordered: boolean) => readonly number[]
  /** All of them come once more when they are done with. */
  again: boolean
  /** At which call of the handler, as a part of all, something happens; of each one once. */
  at: readonly number[]
  what: 'nothing' | 'drop' | 'fail' | 'crash-before-commit' | 'crash-after-commit'
}

const inOrder: Plan['orderOf'] = (samples) => samples.map((_, index) => index)

/** Each event once, alone, undisturbed: what all else is compared with. */
export const undisturbed: Plan = {
  batchMax: 1,
  alone: true,
  orderOf: inOrder,
  again: false,
  at: [],
  what: 'nothing',
}

/** What a law does, of a seed. */
export function planOf(law: LawName, random: Random): Plan {
  const batchMax = pick(random, [1, 2, 3, 50])
  const at = Array.from({ length: between(random, 1, 3) }, () => random())
  const plan = { ...undisturbed, alone: false, batchMax }
  switch (law) {
    case 'limits':
      return undisturbed
    case 'twice':
      return { ...plan, again: true }
    case 'cut':
      return { ...plan, at, what: 'drop' }
    case 'attempt':
      return { ...plan, at, what: 'fail' }
    case 'crash-before-commit':
    case 'crash-after-commit':
      return { ...plan, at, what: law }
    case 'order':
      return { ...plan, orderOf: shuffling(Math.floor(random() * 2 ** 32)) }
  }
}

/** The same events, together, and nothing that happens to them: what comes of that is the order's doing. */
export function calmed(plan: Plan): Plan {
  return { ...plan, again: false, at: [], what: 'nothing' }
}

/** The last first, one by one: where two events are enough to show what order does, this shows it. */
export const reversed: Plan = {
  ...undisturbed,
  orderOf: (samples, ordered) => {
    const all = [...samples.keys()].toReversed()
    return ordered ? withinDevices(samples, all) : all
  },
}

/** Another order, in which a device's events are as they were, unless the group has none. */
function shuffling(seed: number): Plan['orderOf'] {
  return (samples, ordered) => {
    const all = shuffled(seeded(seed), [...samples.keys()])
    return ordered ? withinDevices(samples, all) : all
  }
}

/** The places of a device are taken by its events in their order. */
function withinDevices(samples: readonly Sample[], places: readonly number[]): number[] {
  const next = new Map<string, number[]>()
  samples.forEach(({ device }, index) => next.set(device, [...(next.get(device) ?? []), index]))
  return places.map((place) => next.get(samples[place]?.device ?? '')?.shift() as number)
}
