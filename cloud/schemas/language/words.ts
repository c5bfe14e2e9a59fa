import { type Json, isMapping } from './json.ts'
import { childOf, childrenOf, type Node, valueOf } from './node.ts'

/** What a schema's keywords say, whichever dialect they are written in. */

export function numberAt(node: Node, keyword: string): number | undefined {
  const value = valueOf(node, keyword)
  return typeof value === 'number' ? value : undefined
}

export function textAt(node: Node, keyword: string): string | undefined {
  const value = valueOf(node, keyword)
  return typeof value === 'string' ? value : undefined
}

export function textsOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
}

/** The types of a schema; `nullable` is ajv's. */
export function typesOf(node: Node): readonly string[] | undefined {
  const type = valueOf(node, 'type')
  if (type === undefined) return undefined
  const types = typeof type === 'string' ? [type] : textsOf(type)
  return valueOf(node, 'nullable') === true ? [...types, 'null'] : types
}

/** The values of `const` or `enum`; of both, those of both. */
export function valuesAt(node: Node): readonly Json[][] {
  const found: Json[][] = []
  const constant = valueOf(node, 'const')
  if (constant !== undefined) found.push([constant])
  const listed = valueOf(node, 'enum')
  if (Array.isArray(listed)) found.push(listed as Json[])
  return found
}

export interface Elements {
  prefix: readonly Node[]
  /** Behind the prefix; none: whatever one likes. */
  rest: Node | undefined
}

/** A tuple may be long, and is asked for its places one by one. */
const known = new WeakMap<object, { node: Node; elements: Elements }>()

export function elementsOf(node: Node): Elements {
  if (!isMapping(node.schema)) return { prefix: [], rest: undefined }
  const found = known.get(node.schema)
  if (found?.node.document === node.document && found.node.pointer === node.pointer) return found.elements
  const elements = foundElements(node)
  known.set(node.schema, { node, elements })
  return elements
}

function foundElements(node: Node): Elements {
  const many = (keyword: string): Node[] => childrenOf(node, keyword).map(([, one]) => one)
  if (node.document.dialect === '2020-12')
    return { prefix: many('prefixItems'), rest: schemaAt(node, 'items') }
  if (Array.isArray(valueOf(node, 'items')))
    return { prefix: many('items'), rest: schemaAt(node, 'additionalItems') }
  return { prefix: [], rest: schemaAt(node, 'items') }
}

export interface Contains {
  node: Node
  min: number
  max: number
}

export function containsOf(node: Node): Contains | undefined {
  const contained = schemaAt(node, 'contains')
  if (contained === undefined) return undefined
  if (node.document.dialect === 'draft-07') return { node: contained, min: 1, max: Infinity }
  return {
    node: contained,
    min: numberAt(node, 'minContains') ?? 1,
    max: numberAt(node, 'maxContains') ?? Infinity,
  }
}

/** What the presence of a member asks for: other members, or a schema. */
export function dependentsOf(node: Node): [trigger: string, needed: readonly string[] | Node][] {
  const found: [string, readonly string[] | Node][] = []
  const isOld = node.document.dialect === 'draft-07'
  for (const [trigger, one] of childrenOf(node, 'dependencies'))
    found.push([trigger, Array.isArray(one.schema) ? textsOf(one.schema) : one])
  if (isOld) return found
  for (const [trigger, one] of childrenOf(node, 'dependentRequired'))
    found.push([trigger, textsOf(one.schema)])
  return [...found, ...childrenOf(node, 'dependentSchemas')]
}

/** A schema under a keyword. */
export function schemaAt(node: Node, keyword: string): Node | undefined {
  const child = childOf(node, keyword)
  return child && (typeof child.schema === 'boolean' || isMapping(child.schema)) ? child : undefined
}

export interface Condition {
  when: Node
  /** Undefined: whatever one likes. */
  holding: Node | undefined
  otherwise: Node | undefined
}

export function conditionOf(node: Node): Condition | undefined {
  const when = schemaAt(node, 'if')
  const holding = schemaAt(node, 'then')
  const otherwise = schemaAt(node, 'else')
  return when && (holding ?? otherwise) ? { when, holding, otherwise } : undefined
}

/** Keywords whose meaning depends on where one has come from. */
const dynamic = ['$dynamicRef', '$recursiveRef']

export function dynamicAt(node: Node): string | undefined {
  return dynamic.find((keyword) => valueOf(node, keyword) !== undefined)
}

const inPlace = '$ref allOf anyOf oneOf if not dependentSchemas dependencies $dynamicRef $recursiveRef'.split(
  ' ',
)

/** Whether other schemas judge the same value from within this one. */
export function hasInPlace(node: Node): boolean {
  return inPlace.some((keyword) => valueOf(node, keyword) !== undefined)
}
