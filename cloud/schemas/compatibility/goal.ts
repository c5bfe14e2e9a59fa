import type { Case } from '../language/cases.ts'
import type { Facts } from '../language/facts.ts'
import type { Name } from '../language/members.ts'
import type { Node } from '../language/node.ts'
import type { Work } from '../language/work.ts'

/** The way from one value into another that is in it. */
export type Step = { in: 'object'; name: Name } | { in: 'array'; at: number } | { in: 'names' }

/** Where one is in the data. */
export interface Place {
  readonly way: readonly { from: Case; reader: Node; step: Step }[]
  /** Within a member that the writer says nothing of and the reader does. */
  readonly isUndeclared: boolean
  /** It is only tried: what is found amiss is not told. */
  readonly isProbe: boolean
}

/** To be shown: every value of `one` is accepted by what a rule's keywords say in `reader`. */
export interface Goal {
  readonly one: Case
  readonly facts: Facts
  readonly reader: Node
  readonly place: Place
}

/** `told`: it does not hold, and where it does not is noted already. */
export type Outcome = 'holds' | 'fails' | 'told'

export interface Prover {
  readonly work: Work
  /** Whether every value that is accepted by `schemas`, and is in `among`, is accepted by `reader`. @throws OutOfWork */
  covers(schemas: readonly Node[], reader: Node, place: Place, among?: Partial<Case>): boolean
  /** Whether it is sure that no value of a case is accepted by `node`. @throws OutOfWork */
  isApart(one: Case, node: Node, place: Place): boolean
  /** Notes that something was not shown: a part of what a rule's keywords say. */
  note(rule: string, goal: Goal, part: Node): void
}

/** One rule: when what its keywords say is satisfied by every value of a case. */
export interface Rule {
  /** The keywords of the reader that it is about. */
  readonly of: readonly string[]
  readonly holds: (goal: Goal, prover: Prover) => Outcome
}

export function outcomeOf(holds: boolean): Outcome {
  return holds ? 'holds' : 'fails'
}

/** The same of what the parts have noted themselves. */
export function toldUnless(holds: boolean): Outcome {
  return holds ? 'holds' : 'told'
}

export function inside(
  place: Place,
  goal: Pick<Goal, 'one' | 'reader'>,
  step: Step,
  isUndeclared = false,
): Place {
  return {
    ...place,
    way: [...place.way, { from: goal.one, reader: goal.reader, step }],
    isUndeclared: place.isUndeclared || isUndeclared,
  }
}

export function probing(place: Place): Place {
  return { ...place, isProbe: true }
}
