import { type Goal, outcomeOf, type Prover, probing, type Rule, toldUnless } from './goal.ts'
import type { Kind } from '../language/json.ts'
import { childrenOf, type Node } from '../language/node.ts'
import { conditionOf, schemaAt, textAt } from '../language/words.ts'

function branchesOf(node: Node, keyword: string): Node[] {
  return childrenOf(node, keyword).map(([, one]) => one)
}

function isIn({ one, place }: Goal, prover: Prover, branch: Node): boolean {
  return prover.covers([], branch, probing(place), one)
}

/** A case, else what it has of each kind by itself: a branch for each kind is the common use. */
function whole(goal: Goal, holds: (goal: Goal) => boolean): boolean {
  if (holds(goal)) return true
  const { kinds } = goal.facts
  if (kinds.size < 2) return false
  const parts: ReadonlySet<Kind>[] = [...kinds].map((kind) => new Set([kind]))
  return parts.every((kind) => holds({ ...goal, one: { ...goal.one, kinds: kind } }))
}

export const rulesInPlace: Readonly<Record<string, Rule>> = {
  $ref: {
    of: ['$ref'],
    holds({ one, reader, place }, prover) {
      const target = reader.document.resolve(textAt(reader, '$ref') ?? '')
      return target === undefined ? 'fails' : toldUnless(prover.covers([], target, place, one))
    },
  },
  /** Where they lead depends on where one has come from. */
  dynamic: { of: ['$dynamicRef', '$recursiveRef'], holds: () => 'fails' },
  allOf: {
    of: ['allOf'],
    holds({ one, reader, place }, prover) {
      const holding = branchesOf(reader, 'allOf').map((branch) => prover.covers([], branch, place, one))
      return toldUnless(!holding.includes(false))
    },
  },
  anyOf: {
    of: ['anyOf'],
    holds(goal, prover) {
      const branches = branchesOf(goal.reader, 'anyOf')
      return outcomeOf(whole(goal, (part) => branches.some((branch) => isIn(part, prover, branch))))
    },
  },
  oneOf: {
    of: ['oneOf'],
    holds(goal, prover) {
      const branches = branchesOf(goal.reader, 'oneOf')
      const isInOne = (part: Goal): boolean =>
        branches.some(
          (branch) =>
            isIn(part, prover, branch) &&
            branches.every((other) => other === branch || prover.isApart(part.one, other, part.place)),
        )
      return outcomeOf(whole(goal, isInOne))
    },
  },
  not: {
    of: ['not'],
    holds({ one, reader, place }, prover) {
      const refused = schemaAt(reader, 'not')
      return outcomeOf(refused === undefined || prover.isApart(one, refused, place))
    },
  },
  if: {
    of: ['if', 'then', 'else'],
    holds(goal, prover) {
      const condition = conditionOf(goal.reader)
      if (condition === undefined) return 'holds'
      const { one, place } = goal
      const { when, holding, otherwise } = condition
      const isThen =
        holding === undefined ||
        prover.isApart(one, when, place) ||
        prover.covers([when], holding, place, one)
      const without = { ...one, nots: [...one.nots, when] }
      const isElse =
        otherwise === undefined || isIn(goal, prover, when) || prover.covers([], otherwise, place, without)
      return toldUnless(isThen && isElse)
    },
  },
}
