import { itemSchemas } from '../language/facts.ts'
import { type Goal, inside, outcomeOf, type Prover, probing, type Rule, toldUnless } from './goal.ts'
import { placesIn, schemasOfItem } from '../language/members.ts'
import type { Node } from '../language/node.ts'
import { valueOf } from '../language/node.ts'
import { containsOf, numberAt } from '../language/words.ts'

const isArray = ({ facts: { kinds } }: Goal): boolean => kinds.has('array')

/** Whether each item of every array is accepted by a schema. */
function coversItems(goal: Goal, prover: Prover, schema: Node): boolean {
  return placesOf(goal).every((at) =>
    prover.covers(itemSchemas(goal.one, at), schema, probing(inside(goal.place, goal, { in: 'array', at }))),
  )
}

/** The places that are written down, and one behind them that stands for the rest. */
function placesOf({ one, facts, reader }: Goal): number[] {
  const count = Math.max(...[...one.nodes, reader].map(placesIn)) + 1
  return Array.from({ length: Math.min(count, facts.itemsMax) }, (_, at) => at)
}

function hasEnough(goal: Goal, prover: Prover, wanted: Node, min: number): boolean {
  if (min === 0) return true
  const place = probing(inside(goal.place, goal, { in: 'array', at: 0 }))
  const { contains, itemsMin } = goal.facts
  const isGiven = contains.some((given) => given.min >= min && prover.covers([given.node], wanted, place))
  return isGiven || (itemsMin >= min && coversItems(goal, prover, wanted))
}

function hasFew(goal: Goal, prover: Prover, wanted: Node, max: number): boolean {
  if (goal.facts.itemsMax <= max) return true
  const place = probing(inside(goal.place, goal, { in: 'array', at: 0 }))
  return goal.facts.contains.some((given) => given.max <= max && prover.covers([wanted], given.node, place))
}

export const rulesOfArrays: Readonly<Record<string, Rule>> = {
  minItems: {
    of: ['minItems'],
    holds: (goal) =>
      outcomeOf(!isArray(goal) || goal.facts.itemsMin >= (numberAt(goal.reader, 'minItems') ?? 0)),
  },
  maxItems: {
    of: ['maxItems'],
    holds: (goal) =>
      outcomeOf(!isArray(goal) || goal.facts.itemsMax <= (numberAt(goal.reader, 'maxItems') ?? Infinity)),
  },
  uniqueItems: {
    of: ['uniqueItems'],
    holds: (goal) =>
      outcomeOf(
        !isArray(goal) ||
          valueOf(goal.reader, 'uniqueItems') !== true ||
          goal.facts.isUnique ||
          goal.facts.itemsMax <= 1,
      ),
  },
  contains: {
    of: ['contains', 'minContains', 'maxContains'],
    holds(goal, prover) {
      const wanted = containsOf(goal.reader)
      if (wanted === undefined || !isArray(goal)) return 'holds'
      const { node, min, max } = wanted
      return outcomeOf(
        hasEnough(goal, prover, node, min) && (max === Infinity || hasFew(goal, prover, node, max)),
      )
    },
  },
  items: {
    of: ['prefixItems', 'items', 'additionalItems', 'unevaluatedItems'],
    holds(goal, prover) {
      if (!isArray(goal)) return 'holds'
      let holds = true
      for (const at of placesOf(goal))
        for (const schema of schemasOfItem(goal.reader, at, 'surely')) {
          const place = inside(goal.place, goal, { in: 'array', at })
          holds = prover.covers(itemSchemas(goal.one, at), schema, place) && holds
        }
      return toldUnless(holds)
    },
  },
}
