import { evaluate } from '../language/evaluate.ts'
import { type Case, casesOf } from '../language/cases.ts'
import { factsOf, isForbidden, memberSchemas, nameSchemas } from '../language/facts.ts'
import { type Goal, inside, outcomeOf, type Prover, type Rule, toldUnless } from './goal.ts'
import { isInherited, type Kind } from '../language/json.ts'
import { type Name, namesIn, schemasOfMember } from '../language/members.ts'
import { childrenOf, type Node, standing, valueOf } from '../language/node.ts'
import { saySame } from '../language/same.ts'
import { OutOfWork, type Work } from '../language/work.ts'
import { dependentsOf, dynamicAt, numberAt, schemaAt, textAt, textsOf } from '../language/words.ts'

const isObject = ({ facts: { kinds } }: Goal): boolean => kinds.has('object')
const objects: ReadonlySet<Kind> = new Set(['object'])
/** Of so many patterns every way of matching some and not others is looked at. */
const patternsMax = 5

/** Each name that somebody writes down, and for all others which patterns they match. */
function namesOf({ one, facts, reader }: Goal, work: Work): Name[] {
  const all = [...one.nodes, reader].map((node) => namesIn(node, work))
  const names = new Set([...all.flatMap((found) => [...found.names]), ...facts.required])
  const patterns = [...new Set(all.flatMap((found) => [...found.patterns]))]
  if (patterns.length > patternsMax) throw new OutOfWork()
  const listed = listedNames(one, work)
  if (listed !== undefined) return [...new Set([...names, ...listed])]
  return [...names, ...subsetsOf(patterns).filter((matched) => isPossible(one, matched, patterns, work))]
}

/** All names that there can be. */
function listedNames(one: Case, work: Work): string[] | undefined {
  const schemas = nameSchemas(one)
  if (schemas.length === 0) return undefined
  const cases = casesOf([...schemas, standing({ type: 'string' })], work)
  const found = cases.map((each) => factsOf(each, work)?.values ?? (factsOf(each, work) ? undefined : []))
  if (found.includes(undefined)) return undefined
  return found.flatMap((values) => values?.filter((value) => typeof value === 'string') ?? [])
}

function isPossible(
  one: Case,
  matched: ReadonlySet<string>,
  patterns: readonly string[],
  work: Work,
): boolean {
  const demanded = nameSchemas(one).flatMap((schema) => valueOf(schema, 'pattern') ?? [])
  return (
    patterns.every((source) => matched.has(source) || !demanded.includes(source)) &&
    !isForbidden(one, matched, work)
  )
}

function subsetsOf(patterns: readonly string[]): ReadonlySet<string>[] {
  let found: string[][] = [[]]
  for (const source of patterns) found = found.flatMap((subset) => [subset, [...subset, source]])
  return found.map((subset) => new Set(subset))
}

function coversMember(goal: Goal, prover: Prover, name: Name): boolean {
  const { one, reader, facts } = goal
  const given = memberSchemas(one, name, prover.work)
  const isDescribed = childrenOf(reader, 'properties').some(([described]) => described === name)
  const isUndeclared =
    isDescribed && given.length === 0 && !facts.required.has(name as string) && isKnownWhole(one)
  const place = inside(goal.place, goal, { in: 'object', name }, isUndeclared)
  let holds = true
  for (const schema of schemasOfMember(reader, name, 'surely', prover.work)) {
    if (typeof name === 'string' && isInherited(name)) {
      // ajv looks at what every object has by that name, so that only the very same is safe.
      if (given.some((one) => saySame(one, schema, prover.work))) continue
      prover.note('properties', goal, reader)
      holds = false
    } else holds = prover.covers(given, schema, place) && holds
  }
  return holds
}

/** Whether all that the writer says of a case is known here: else it may say something of a name as well. */
function isKnownWhole({ nodes, isCut }: Case): boolean {
  if (isCut) return false
  return nodes.every((node) => {
    const reference = textAt(node, '$ref')
    const isFollowed = reference === undefined || node.document.resolve(reference) !== undefined
    return isFollowed && dynamicAt(node) === undefined
  })
}

function coversNames(goal: Goal, prover: Prover, wanted: Node): boolean {
  const { one } = goal
  return namesOf(goal, prover.work).every((name) => {
    if (typeof name !== 'string') {
      const matched = [...name].map((pattern) => standing({ pattern }))
      const given = [...nameSchemas(one), standing({ type: 'string' }), ...matched]
      return prover.covers(given, wanted, inside(goal.place, goal, { in: 'names' }))
    }
    if (evaluate(wanted, name, prover.work) === true || isForbidden(one, name, prover.work)) return true
    prover.note('propertyNames', goal, wordsOnly(goal.reader, ['propertyNames']))
    return false
  })
}

/** A schema with some of its keywords, where it stands. */
export function wordsOnly(node: Node, keywords: readonly string[]): Node {
  const kept = Object.entries(node.schema as object).filter(([keyword]) => keywords.includes(keyword))
  return { ...node, schema: Object.fromEntries(kept) }
}

function coversDependents(goal: Goal, prover: Prover): boolean {
  const { one, reader, place } = goal
  let holds = true
  for (const [trigger, needed] of dependentsOf(reader)) {
    if (isForbidden(one, trigger, prover.work)) continue
    const present = standing({ type: 'object', required: [trigger] })
    const wanted = Array.isArray(needed)
      ? { ...reader, schema: { required: needed as string[] } }
      : (needed as Node)
    holds = prover.covers([present], wanted, place, { ...one, kinds: objects }) && holds
  }
  return holds
}

export const rulesOfObjects: Readonly<Record<string, Rule>> = {
  required: {
    of: ['required'],
    holds(goal, prover) {
      if (!isObject(goal)) return 'holds'
      const missing = textsOf(valueOf(goal.reader, 'required')).filter(
        (name) => !goal.facts.required.has(name),
      )
      for (const name of missing)
        prover.note('required', goal, { ...goal.reader, schema: { required: [name] } })
      return toldUnless(missing.length === 0)
    },
  },
  minProperties: {
    of: ['minProperties'],
    holds: (goal) =>
      outcomeOf(!isObject(goal) || goal.facts.membersMin >= (numberAt(goal.reader, 'minProperties') ?? 0)),
  },
  maxProperties: {
    of: ['maxProperties'],
    holds: (goal) =>
      outcomeOf(
        !isObject(goal) || goal.facts.membersMax <= (numberAt(goal.reader, 'maxProperties') ?? Infinity),
      ),
  },
  propertyNames: {
    of: ['propertyNames'],
    holds(goal, prover) {
      const wanted = schemaAt(goal.reader, 'propertyNames')
      return wanted === undefined || !isObject(goal) ? 'holds' : toldUnless(coversNames(goal, prover, wanted))
    },
  },
  properties: {
    of: ['properties', 'patternProperties', 'additionalProperties', 'unevaluatedProperties'],
    holds(goal, prover) {
      if (!isObject(goal)) return 'holds'
      let holds = true
      for (const name of namesOf(goal, prover.work))
        if (!isForbidden(goal.one, name, prover.work)) holds = coversMember(goal, prover, name) && holds
      return toldUnless(holds)
    },
  },
  dependents: {
    of: ['dependentRequired', 'dependentSchemas', 'dependencies'],
    holds: (goal, prover) => toldUnless(!isObject(goal) || coversDependents(goal, prover)),
  },
}
