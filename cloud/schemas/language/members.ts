import { isMapping } from './json.ts'
import { childOf, childrenOf, keyOf, type Node, valueOf } from './node.ts'
import type { Work } from './work.ts'
import { conditionOf, dependentsOf, dynamicAt, elementsOf, schemaAt, textAt } from './words.ts'

/** A member's name, or any name that nobody has written down and that matches these patterns and no other that is known. */
export type Name = string | ReadonlySet<string>

/** What unevaluatedProperties leaves alone. */
interface Evaluated {
  names: Set<string>
  patterns: Set<string>
  all: boolean
}

/** `possibly`: in some document; `surely`: in every one. */
type Certainty = 'possibly' | 'surely'

function matches(name: Name, source: string, work: Work): boolean {
  return typeof name === 'string' ? work.matches(source, name) === true : name.has(source)
}

/**
 * The schemas that judge a member of such a name. Of what `unevaluatedProperties` says, where that depends on the document: `possibly` leaves
 * out what may not be asked, `surely` has all that may be asked.
 */
export function schemasOfMember(node: Node, name: Name, certainty: Certainty, work: Work): Node[] {
  work.spend(1)
  const found: Node[] = []
  if (typeof name === 'string') {
    const holder = childOf(node, 'properties')
    const own = holder && childOf(holder, name)
    if (own) found.push(own)
  }
  for (const [source, schema] of childrenOf(node, 'patternProperties'))
    if (matches(name, source, work)) found.push(schema)
  const others = schemaAt(node, 'additionalProperties')
  if (found.length === 0 && others !== undefined) found.push(others)
  const unevaluated = unevaluatedAt(node, 'unevaluatedProperties')
  if (unevaluated === undefined) return found
  const { names, patterns, all } = evaluatedIn(node, certainty, new Set())
  const isEvaluated =
    all ||
    (typeof name === 'string' && names.has(name)) ||
    [...patterns].some((source) => matches(name, source, work))
  return isEvaluated ? found : [...found, unevaluated]
}

/** Names that a schema writes down, and patterns. */
export function namesIn(node: Node, work: Work): { names: Set<string>; patterns: Set<string> } {
  const names = new Set(childrenOf(node, 'properties').map(([name]) => name))
  const patterns = new Set(childrenOf(node, 'patternProperties').map(([source]) => source))
  work.spend(1 + names.size + patterns.size)
  if (unevaluatedAt(node, 'unevaluatedProperties') === undefined) return { names, patterns }
  const evaluated = evaluatedIn(node, 'possibly', new Set())
  return {
    names: new Set([...names, ...evaluated.names]),
    patterns: new Set([...patterns, ...evaluated.patterns]),
  }
}

function unevaluatedAt(node: Node, keyword: string): Node | undefined {
  return node.document.dialect === 'draft-07' ? undefined : schemaAt(node, keyword)
}

function evaluatedIn(node: Node, certainty: Certainty, seen: Set<string>, isTop = true): Evaluated {
  const found: Evaluated = {
    names: new Set(childrenOf(node, 'properties').map(([name]) => name)),
    patterns: new Set(childrenOf(node, 'patternProperties').map(([source]) => source)),
    all: schemaAt(node, 'additionalProperties') !== undefined,
  }
  if (!isTop && schemaAt(node, 'unevaluatedProperties') !== undefined) found.all = true
  if (seen.has(keyOf(node))) return found
  seen.add(keyOf(node))
  for (const one of within(node, certainty)) {
    if (one === undefined) {
      found.all ||= certainty === 'possibly'
      continue
    }
    const { names, patterns, all } = evaluatedIn(one, certainty, seen, false)
    for (const name of names) found.names.add(name)
    for (const source of patterns) found.patterns.add(source)
    found.all ||= all
  }
  return found
}

/** The schemas that judge the same value, in each document or in some; undefined: it cannot be told which. */
function within(node: Node, certainty: Certainty): (Node | undefined)[] {
  const found: (Node | undefined)[] = childrenOf(node, 'allOf').map(([, one]) => one)
  const reference = textAt(node, '$ref')
  if (reference !== undefined) found.push(node.document.resolve(reference))
  if (certainty === 'surely') return found
  if (dynamicAt(node) !== undefined) found.push(undefined)
  for (const keyword of ['anyOf', 'oneOf']) found.push(...childrenOf(node, keyword).map(([, one]) => one))
  const condition = conditionOf(node)
  if (condition)
    found.push(...[condition.when, condition.holding, condition.otherwise].filter((one) => one !== undefined))
  const plain = schemaAt(node, 'if')
  if (plain) found.push(plain)
  for (const [, needed] of dependentsOf(node)) if (!Array.isArray(needed)) found.push(needed as Node)
  return found
}

/** The schemas that judge the item at a place; as `schemasOfMember`. */
export function schemasOfItem(node: Node, at: number, certainty: Certainty): Node[] {
  const { prefix, rest } = elementsOf(node)
  const own = prefix[at] ?? rest
  const found = own && isSchema(own) ? [own] : []
  const unevaluated = unevaluatedAt(node, 'unevaluatedItems')
  if (unevaluated === undefined) return found
  const from = certainty === 'surely' ? evaluatedItems(node, new Set()) : leastUnevaluated(node)
  return at >= from ? [...found, unevaluated] : found
}

/** How many places a schema writes down. */
export function placesIn(node: Node): number {
  const own = elementsOf(node).prefix.length
  const evaluated = unevaluatedAt(node, 'unevaluatedItems') ? evaluatedItems(node, new Set()) : 0
  return Math.max(own, evaluated === Infinity ? 0 : evaluated)
}

/** So many items at least are evaluated in every document. */
function evaluatedItems(node: Node, seen: Set<string>): number {
  if (seen.has(keyOf(node))) return 0
  seen.add(keyOf(node))
  const { prefix, rest } = elementsOf(node)
  const inPlace = within(node, 'surely').map((one) => (one ? evaluatedItems(one, seen) : 0))
  return Math.max(rest === undefined ? prefix.length : Infinity, ...inPlace, 0)
}

/** From where on items are surely not evaluated. */
function leastUnevaluated(node: Node): number {
  const { prefix, rest } = elementsOf(node)
  if (rest !== undefined || valueOf(node, 'contains') !== undefined) return Infinity
  return within(node, 'possibly').length > 0 ? Infinity : prefix.length
}

function isSchema({ schema }: Node): boolean {
  return typeof schema === 'boolean' || isMapping(schema)
}
