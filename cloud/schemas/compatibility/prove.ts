import { type Case, casesOf } from '../language/cases.ts'
import { evaluate } from '../language/evaluate.ts'
import { factsOf } from '../language/facts.ts'
import { type Goal, type Place, probing, type Prover, type Rule } from './goal.ts'
import { keyOf, type Node } from '../language/node.ts'
import { isMapping } from '../language/json.ts'
import { rulesInPlace } from './rules-in-place.ts'
import { rulesOfArrays } from './rules-arrays.ts'
import { rulesOfObjects, wordsOnly } from './rules-objects.ts'
import { rulesOfValues } from './rules-values.ts'
import { saySame } from '../language/same.ts'
import type { Work } from '../language/work.ts'

/** Every rule, by the name under which it is told. */
export const allRules: Readonly<Record<string, Rule>> = {
  ...rulesOfValues,
  ...rulesOfArrays,
  ...rulesOfObjects,
  ...rulesInPlace,
}

/** Something that a reader asks and that was not shown of every value of a writer. */
export interface Gap {
  rule: string
  /** Values of this case are to be looked at, */
  one: Case
  /** and this is what one of them may not satisfy. */
  part: Node
  place: Place
}

const gapsMax = 100

/**
 * What is not shown of "every document that the writer accepts the reader accepts as well"; nothing: it is so. A proof goes down both schemas together,
 * rule by rule. Where a schema refers to itself, what is to be shown is taken for granted of the smaller values within a value.
 * @throws OutOfWork
 */
export function gapsOf(
  writer: Node,
  reader: Node,
  work: Work,
  rules: Readonly<Record<string, Rule>> = allRules,
): Gap[] {
  const proof = new Proof(work, rules)
  const place: Place = { way: [], isUndeclared: false, isProbe: false }
  proof.covers([writer], reader, place)
  return proof.gaps
}

class Proof implements Prover {
  readonly gaps: Gap[] = []
  readonly work: Work
  readonly #rules: readonly (readonly [string, Rule])[]
  /** What is being shown, and how deep in the data. */
  readonly #open = new Map<string, number>()

  constructor(work: Work, rules: Readonly<Record<string, Rule>>) {
    this.work = work
    this.#rules = Object.entries(rules)
  }

  covers(schemas: readonly Node[], reader: Node, place: Place, among: Partial<Case> = {}): boolean {
    this.work.spend(1)
    if (reader.schema === true) return true
    const given = [...schemas, ...(among.nodes ?? [])]
    if (given.some((one) => saySame(one, reader, this.work))) return true
    const key = keyOfGoal(given, reader, among)
    const depth = this.#open.get(key)
    if (depth !== undefined && depth < place.way.length) return true
    const isAgain = depth !== undefined
    if (!isAgain) this.#open.set(key, place.way.length)
    try {
      return this.work.nested(() =>
        this.#coversCases(casesOf(schemas, this.work, among), reader, place, isAgain),
      )
    } finally {
      if (!isAgain) this.#open.delete(key)
    }
  }

  isApart(one: Case, node: Node, place: Place): boolean {
    // What costs least is asked first.
    if (one.nots.some((refused) => saySame(refused, node, this.work))) return true
    if (casesOf([node], this.work, one).every((part) => factsOf(part, this.work) === undefined)) return true
    return (
      this.#isRefusedByItself(one, place) ||
      one.nots.some((refused) => this.covers([node], refused, probing(place)))
    )
  }

  note(rule: string, { one, place }: Goal, part: Node): void {
    if (!place.isProbe && this.gaps.length < gapsMax) this.gaps.push({ rule, one, part, place })
  }

  #coversCases(cases: readonly Case[], reader: Node, place: Place, isAgain: boolean): boolean {
    let holds = true
    for (const one of cases) {
      const facts = factsOf(one, this.work)
      if (facts === undefined || this.#isRefusedByItself(one, place)) continue
      const goal: Goal = { one, facts, reader, place }
      if (isAgain || !isMapping(reader.schema)) {
        // The schema refers to itself without going into the data, or it refuses everything.
        this.note(isAgain ? '$ref' : 'false', goal, reader)
        holds = false
      } else holds = this.#coversCase(goal) && holds
      if (!holds && place.isProbe) return false
    }
    return holds
  }

  /** Whether all of a case is what it is said not to be: so there is nothing in it. */
  #isRefusedByItself(one: Case, place: Place): boolean {
    return one.nots.some((refused) => this.covers([], refused, probing(place), { ...one, nots: [] }))
  }

  #coversCase(goal: Goal): boolean {
    const words = Object.keys(goal.reader.schema as object)
    let holds = true
    for (const [name, rule] of this.#rules) {
      if (!rule.of.some((keyword) => words.includes(keyword))) continue
      holds = this.#keeps(name, rule, goal) && holds
      if (!holds && goal.place.isProbe) return false
    }
    return holds
  }

  #keeps(name: string, rule: Rule, goal: Goal): boolean {
    const part = partOf(goal.reader, rule)
    // Values that are listed are judged one by one; listed ones that are amiss are so by what the rule says of them.
    if (goal.facts.values?.every((value) => evaluate(part, value, this.work) === true)) return true
    const reader = name === 'enum' || name === 'const' ? part : goal.reader
    const outcome = rule.holds({ ...goal, reader }, this)
    if (outcome === 'holds') return true
    if (outcome === 'fails') this.note(name, goal, part)
    return false
  }
}

/** What one rule is about. What is unevaluated depends on all that stands beside it. */
function partOf(reader: Node, { of }: Rule): Node {
  const isWhole = of.some(
    (keyword) => keyword.startsWith('unevaluated') && keyword in (reader.schema as object),
  )
  return isWhole ? reader : wordsOnly(reader, of)
}

function keyOfGoal(given: readonly Node[], reader: Node, { nots = [], kinds }: Partial<Case>): string {
  return `${keysOf(given)} | ${keysOf(nots)} | ${kinds ? [...kinds].toSorted().join() : ''} | ${keyOf(reader)}`
}

function keysOf(nodes: readonly Node[]): string {
  return [...new Set(nodes.map(keyOf))].toSorted().join(' ')
}
