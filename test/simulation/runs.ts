import { makePlan, type Plan } from './plan/plan.ts'
import type { Guarantee, Violation } from './parts/journal.ts'
import { play } from './world.ts'

/** What one run came to, as it travels between processes. */
export interface RunReport {
  seed: number
  violations: Violation[]
  counts: [kind: string, times: number][]
  simulatedMs: number
}

export async function runSeed(seed: number): Promise<RunReport> {
  const { violations, counts, simulatedMs } = await play(makePlan(seed))
  return { seed, violations, counts: [...counts], simulatedMs }
}

/** Which sends and faults of a seed's plan are kept; absent: all. */
export interface Kept {
  sends?: readonly number[] | undefined
  faults?: readonly number[] | undefined
}

export function reduced(plan: Plan, kept: Kept): Plan {
  return {
    ...plan,
    sends: plan.sends.filter(({ n }) => kept.sends?.includes(n) ?? true),
    faults: plan.faults.filter(({ n }) => kept.faults?.includes(n) ?? true),
  }
}

/**
 * A smaller plan that still breaks the guarantee: faults and sends are left out, many at a time and then fewer, for as
 * long as it does. Source: A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.
 */
export async function shrink(plan: Plan, guarantee: Guarantee, playsMax = 400): Promise<Plan> {
  const budget = { plays: playsMax }
  const stillFails = async (candidate: Plan): Promise<boolean> => {
    budget.plays -= 1
    return (await play(candidate)).violations.some((violation) => violation.guarantee === guarantee)
  }
  let smallest = plan
  for (let before = Infinity; size(smallest) < before && budget.plays > 0;) {
    before = size(smallest)
    for (const part of ['faults', 'sends'] as const) {
      for (
        let chunk = Math.ceil(smallest[part].length / 2);
        chunk >= 1;
        chunk = chunk === 1 ? 0 : chunk >> 1
      ) {
        for (let at = 0; at < smallest[part].length && budget.plays > 0;) {
          const candidate = { ...smallest, [part]: smallest[part].toSpliced(at, chunk) }
          if (await stillFails(candidate)) smallest = candidate
          else at += chunk
        }
      }
    }
  }
  return smallest
}

function size(plan: Plan): number {
  return plan.faults.length + plan.sends.length
}
