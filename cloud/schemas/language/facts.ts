import { multiplesOf } from '../../../src/schemas/decimal.ts'
import { type Case, casesOf } from './cases.ts'
import { evaluate } from './evaluate.ts'
import { allKinds, isInherited, type Json, type Kind, kindOf } from './json.ts'
import { namesIn, placesIn, schemasOfItem, schemasOfMember, type Name } from './members.ts'
import type { Node } from './node.ts'
import { childrenOf, valueOf } from './node.ts'
import { lengthsOf } from './pattern-lengths.ts'
import type { Work } from './work.ts'
import { type Contains, containsOf, numberAt, schemaAt, textAt, textsOf, typesOf, valuesAt } from './words.ts'

/** What is true of every value of a case. */
export interface Facts {
  readonly kinds: ReadonlySet<Kind>
  /** All that it can be; undefined: they are not listed. */
  readonly values: readonly Json[] | undefined
  readonly least: Bound
  readonly most: Bound
  readonly divisors: readonly number[]
  readonly lengthMin: number
  readonly lengthMax: number
  readonly patterns: readonly string[]
  readonly formats: readonly string[]
  readonly itemsMin: number
  readonly itemsMax: number
  readonly isUnique: boolean
  readonly contains: readonly Contains[]
  readonly required: ReadonlySet<string>
  readonly membersMin: number
  readonly membersMax: number
}

export interface Bound {
  value: number
  /** Whether the bound itself is left out. */
  isOpen: boolean
}

/** In objects and arrays it is looked so deep whether there can be any. */
const emptyDepthMax = 4

const known = new WeakMap<Case, { facts: Facts | undefined }>()

/** What is true of a case; undefined: no value is in it, for sure. @throws OutOfWork */
export function factsOf(one: Case, work: Work, depth = 0): Facts | undefined {
  if (depth > 0) return foundFacts(one, work, depth)
  let found = known.get(one)
  if (found === undefined) known.set(one, (found = { facts: foundFacts(one, work, depth) }))
  return found.facts
}

function foundFacts(one: Case, work: Work, depth: number): Facts | undefined {
  work.spend(1 + one.nodes.length)
  const kinds = kindsOf(one)
  const values = listedValues(one, kinds, work)
  if (values !== undefined) {
    const listed = new Set(values.map(kindOf))
    for (const kind of kinds) if (!listed.has(kind)) kinds.delete(kind)
  }
  const numbers = numbersOf(one, kinds)
  const strings = stringsOf(one)
  const arrays = arraysOf(one, work, depth)
  const objects = objectsOf(one, work, depth)
  if (isCrossed(numbers)) for (const kind of ['integer', 'fraction'] as const) kinds.delete(kind)
  if (strings.lengthMin > strings.lengthMax) kinds.delete('string')
  if (arrays.itemsMin > arrays.itemsMax) kinds.delete('array')
  if (objects.membersMin > objects.membersMax) kinds.delete('object')
  if (kinds.size === 0) return undefined
  return { kinds, values: values ?? fewValues(kinds), ...numbers, ...strings, ...arrays, ...objects }
}

/** Whether it is sure that no value satisfies all of these. @throws OutOfWork */
export function isNobody(schemas: readonly Node[], work: Work, depth = 0): boolean {
  if (schemas.length === 0) return false
  return work.nested(() => casesOf(schemas, work).every((one) => factsOf(one, work, depth) === undefined))
}

function kindsOf({ nodes, nots, kinds }: Case): Set<Kind> {
  const found = new Set(kinds)
  for (const node of nots) for (const kind of wholeKinds(node)) found.delete(kind)
  for (const node of nodes) {
    const types = typesOf(node)
    if (types !== undefined)
      for (const kind of allKinds)
        if (
          !types.includes(kind) &&
          !(types.includes('number') && (kind === 'integer' || kind === 'fraction'))
        )
          found.delete(kind)
    const divisor = numberAt(node, 'multipleOf')
    if (divisor !== undefined && divisor % 1 === 0) found.delete('fraction')
  }
  return found
}

/** The kinds of which a schema accepts everything: where it says nothing but types. */
function wholeKinds(node: Node): Kind[] {
  const types = typesOf(node)
  if (types === undefined || Object.keys(node.schema as object).length > 1) return []
  return allKinds.filter(
    (kind) =>
      types.includes(kind) || (types.includes('number') && (kind === 'integer' || kind === 'fraction')),
  )
}

function listedValues(
  { nodes, nots }: Case,
  kinds: ReadonlySet<Kind>,
  work: Work,
): readonly Json[] | undefined {
  const lists = nodes.flatMap(valuesAt)
  const [first] = lists.toSorted((one, other) => one.length - other.length)
  return first?.filter(
    (value) =>
      kinds.has(kindOf(value)) &&
      nodes.every((node) => evaluate(node, value, work) !== false) &&
      nots.every((node) => evaluate(node, value, work) !== true),
  )
}

/** Of these kinds there are not many. */
function fewValues(kinds: ReadonlySet<Kind>): readonly Json[] | undefined {
  const isFew = [...kinds].every((kind) => kind === 'null' || kind === 'boolean')
  if (!isFew) return undefined
  return [...(kinds.has('null') ? [null] : []), ...(kinds.has('boolean') ? [true, false] : [])]
}

function numbersOf({ nodes }: Case, kinds: ReadonlySet<Kind>): Pick<Facts, 'least' | 'most' | 'divisors'> {
  let least: Bound = { value: -Infinity, isOpen: true }
  let most: Bound = { value: Infinity, isOpen: true }
  const divisors: number[] = []
  for (const node of nodes) {
    for (const [keyword, isOpen] of [
      ['minimum', false],
      ['exclusiveMinimum', true],
    ] as const) {
      const value = numberAt(node, keyword)
      if (value !== undefined && (value > least.value || (value === least.value && isOpen)))
        least = { value, isOpen }
    }
    for (const [keyword, isOpen] of [
      ['maximum', false],
      ['exclusiveMaximum', true],
    ] as const) {
      const value = numberAt(node, keyword)
      if (value !== undefined && (value < most.value || (value === most.value && isOpen)))
        most = { value, isOpen }
    }
    const divisor = numberAt(node, 'multipleOf')
    if (divisor !== undefined) divisors.push(divisor)
  }
  if (kinds.has('fraction')) return { least, most, divisors }
  return { least: whole(least, 1), most: whole(most, -1), divisors }
}

/** The bound of whole numbers, as far as each of them has a number of its own. */
function whole({ value, isOpen }: Bound, inwards: 1 | -1): Bound {
  if (!(Math.abs(value) < Number.MAX_SAFE_INTEGER)) return { value, isOpen }
  const rounded = inwards === 1 ? Math.ceil(value) : Math.floor(value)
  // Never -0, which is written as 0.
  return { value: (isOpen && rounded === value ? rounded + inwards : rounded) + 0, isOpen: false }
}

function isCrossed({ least, most, divisors }: Pick<Facts, 'least' | 'most' | 'divisors'>): boolean {
  if (least.value > most.value) return true
  if (least.value !== most.value) return false
  return least.isOpen || most.isOpen || divisors.some((divisor) => !multiplesOf(divisor)(least.value))
}

function stringsOf({ nodes }: Case): Pick<Facts, 'lengthMin' | 'lengthMax' | 'patterns' | 'formats'> {
  const patterns = nodes.flatMap((node) => textAt(node, 'pattern') ?? [])
  const lengths = [
    ...patterns.map(lengthsOf),
    ...nodes.map((node) => ({
      min: numberAt(node, 'minLength') ?? 0,
      max: numberAt(node, 'maxLength') ?? Infinity,
    })),
  ]
  return {
    lengthMin: Math.max(0, ...lengths.map(({ min }) => min)),
    lengthMax: Math.min(Infinity, ...lengths.map(({ max }) => max)),
    patterns,
    formats: nodes.flatMap((node) => textAt(node, 'format') ?? []),
  }
}

function arraysOf(
  one: Case,
  work: Work,
  depth: number,
): Pick<Facts, 'itemsMin' | 'itemsMax' | 'isUnique' | 'contains'> {
  const { nodes } = one
  const contains = nodes.flatMap((node) => containsOf(node) ?? [])
  const itemsMin = Math.max(
    0,
    ...nodes.map((node) => numberAt(node, 'minItems') ?? 0),
    ...contains.map(({ min }) => min),
  )
  let itemsMax = Math.min(Infinity, ...nodes.map((node) => numberAt(node, 'maxItems') ?? Infinity))
  const places = Math.max(0, ...nodes.map(placesIn))
  const looked = depth < emptyDepthMax ? places : -1
  for (let at = 0; at <= looked && at < itemsMax; at += 1)
    if (isNobody(itemSchemas(one, at), work, depth + 1)) {
      itemsMax = at
      break
    }
  return {
    itemsMin,
    itemsMax,
    contains,
    isUnique: nodes.some((node) => valueOf(node, 'uniqueItems') === true),
  }
}

export function itemSchemas({ nodes }: Case, at: number): Node[] {
  return nodes.flatMap((node) => schemasOfItem(node, at, 'possibly'))
}

function objectsOf(
  one: Case,
  work: Work,
  depth: number,
): Pick<Facts, 'required' | 'membersMin' | 'membersMax'> {
  const { nodes } = one
  const required = new Set<string>()
  for (const node of nodes)
    for (const name of textsOf(valueOf(node, 'required'))) if (!isInherited(name)) required.add(name)
  const membersMin = Math.max(required.size, ...nodes.map((node) => numberAt(node, 'minProperties') ?? 0))
  let membersMax = Math.min(Infinity, ...nodes.map((node) => numberAt(node, 'maxProperties') ?? Infinity))
  if (depth < emptyDepthMax) {
    if ([...required].some((name) => isForbidden(one, name, work, depth))) membersMax = -1
    else if (nodes.some((node) => isClosed(node)))
      membersMax = Math.min(membersMax, allowedNames(one, work, depth))
  }
  return { required, membersMin, membersMax }
}

/** Whether every name that is allowed is written down. */
function isClosed(node: Node): boolean {
  return (
    schemaAt(node, 'additionalProperties')?.schema === false &&
    childrenOf(node, 'patternProperties').length === 0
  )
}

function allowedNames(one: Case, work: Work, depth: number): number {
  const names = new Set(one.nodes.flatMap((node) => [...namesIn(node, work).names]))
  return [...names].filter((name) => !isForbidden(one, name, work, depth)).length
}

/** Whether it is sure that no object of a case has a member of such a name. @throws OutOfWork */
export function isForbidden(one: Case, name: Name, work: Work, depth = 0): boolean {
  if (typeof name === 'string' && nameSchemas(one).some((schema) => evaluate(schema, name, work) === false))
    return true
  return isNobody(memberSchemas(one, name, work), work, depth + 1)
}

export function memberSchemas({ nodes }: Case, name: Name, work: Work): Node[] {
  return nodes.flatMap((node) => schemasOfMember(node, name, 'possibly', work))
}

export function nameSchemas({ nodes }: Case): Node[] {
  return nodes.flatMap((node) => schemaAt(node, 'propertyNames') ?? [])
}
