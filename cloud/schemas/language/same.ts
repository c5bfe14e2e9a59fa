import { isMapping, type Json } from './json.ts'
import { childOf, keyOf, type Node, valueOf } from './node.ts'
import type { Work } from './work.ts'
import { dynamicAt, textAt } from './words.ts'

const annotations = new Set(
  'title description default examples deprecated readOnly writeOnly $comment contentEncoding contentMediaType contentSchema $schema $id $anchor $defs definitions'.split(
    ' ',
  ),
)
/** What lies under these are schemas by name; under others, by number or alone. */
const byName = new Set('properties patternProperties dependentSchemas dependencies'.split(' '))
const single = new Set(
  'additionalProperties unevaluatedProperties unevaluatedItems additionalItems items contains propertyNames not if then else'.split(
    ' ',
  ),
)
const listed = new Set('allOf anyOf oneOf prefixItems'.split(' '))

/** Whether two schemas say the same word for word, but for annotations: what references lead to is compared as well. */
export function saySame(one: Node, other: Node, work: Work, assumed = new Set<string>()): boolean {
  if (keyOf(one) === keyOf(other)) return true
  if (one.document.dialect !== other.document.dialect) return false
  if (!isMapping(one.schema) || !isMapping(other.schema)) return one.schema === other.schema
  const pair = `${keyOf(one)} ${keyOf(other)}`
  if (assumed.has(pair)) return true
  assumed.add(pair)
  work.spend(1)
  if (dynamicAt(one) !== undefined || dynamicAt(other) !== undefined) return false
  const keywords = wordsOf(one)
  if (keywords.join() !== wordsOf(other).join()) return false
  return work.nested(() => keywords.every((keyword) => isSameWord(keyword, one, other, work, assumed)))
}

function wordsOf({ schema }: Node): string[] {
  return Object.keys(schema as object)
    .filter((keyword) => !annotations.has(keyword))
    .toSorted()
}

function isSameWord(keyword: string, one: Node, other: Node, work: Work, assumed: Set<string>): boolean {
  if (keyword === '$ref') {
    const targets = [one, other].map((node) => node.document.resolve(textAt(node, '$ref') ?? ''))
    const [here, there] = targets
    return here !== undefined && there !== undefined && saySame(here, there, work, assumed)
  }
  const here = childOf(one, keyword) as Node
  const there = childOf(other, keyword) as Node
  if (single.has(keyword) && !Array.isArray(here.schema)) return saySame(here, there, work, assumed)
  if (!byName.has(keyword) && !listed.has(keyword) && keyword !== 'items')
    return textOf(valueOf(one, keyword), work) === textOf(valueOf(other, keyword), work)
  if (typeof here.schema !== 'object' || here.schema === null) return here.schema === there.schema
  if (typeof there.schema !== 'object' || there.schema === null) return false
  const steps = Object.keys(here.schema).toSorted()
  if (steps.join('\n') !== Object.keys(there.schema).toSorted().join('\n')) return false
  return steps.every((step) =>
    isSameChild(childOf(here, step) as Node, childOf(there, step) as Node, work, assumed),
  )
}

/** `dependencies` has lists of names too. */
function isSameChild(here: Node, there: Node, work: Work, assumed: Set<string>): boolean {
  if (!Array.isArray(here.schema)) return saySame(here, there, work, assumed)
  return textOf(here.schema, work) === textOf(there.schema, work)
}

function textOf(value: Json | undefined, work: Work): string {
  const text = JSON.stringify(value, (_, one: unknown) =>
    isMapping(one) ? Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1))) : one,
  )
  work.spend((text?.length ?? 0) / 50)
  return text ?? ''
}
