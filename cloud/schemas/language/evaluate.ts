import { multiplesOf } from '../../../src/schemas/decimal.ts'
import { areEqual, isMapping, type Json, kindOf, lengthOf } from './json.ts'
import { schemasOfItem, schemasOfMember } from './members.ts'
import { childrenOf, type Node, valueOf } from './node.ts'
import type { Work } from './work.ts'
import {
  conditionOf,
  containsOf,
  dependentsOf,
  dynamicAt,
  hasInPlace,
  numberAt,
  schemaAt,
  textAt,
  textsOf,
  typesOf,
  valuesAt,
} from './words.ts'

/** Whether a schema accepts a value; undefined: cannot be told here. */
export type Answer = boolean | undefined

type Check = (node: Node, value: Json, work: Work) => Answer

/** False if one is, else undefined if one is. */
function all(answers: Iterable<Answer>): Answer {
  let found: Answer = true
  for (const answer of answers) {
    if (answer === false) return false
    if (answer === undefined) found = undefined
  }
  return found
}

function not(answer: Answer): Answer {
  return answer === undefined ? undefined : !answer
}

/**
 * Judges a value as a validator would, for many values that are only tried: whatever it says is confirmed by the compiler of `src/schemas` before
 * anybody is told of it, but where all values of a schema are listed.
 * @throws OutOfWork
 */
export function evaluate(node: Node, value: Json, work: Work): Answer {
  if (typeof node.schema === 'boolean') return node.schema
  if (!isMapping(node.schema)) return undefined
  work.spend(1 + Object.keys(node.schema).length)
  return work.nested(() => all(judged(node, value, work)))
}

function* judged(node: Node, value: Json, work: Work): Generator<Answer> {
  for (const check of checks) yield check(node, value, work)
}

const ofAny: Check = (node, value, work) => {
  const types = typesOf(node)
  if (types !== undefined) {
    const kind = kindOf(value)
    const isOne = types.some(
      (type) =>
        type === kind ||
        (type === 'number' && typeof value === 'number') ||
        (type === 'integer' && kind === 'integer'),
    )
    if (!isOne) return false
  }
  return valuesAt(node).every((values) => isListed(value, values, work))
}

/** Of long lists, the scalars in them. */
const scalarsOf = new WeakMap<readonly Json[], ReadonlySet<Json>>()

function isListed(value: Json, values: readonly Json[], work: Work): boolean {
  let scalars = scalarsOf.get(values)
  if (scalars === undefined) {
    work.spend(values.length)
    scalars = new Set(values.filter((one) => typeof one !== 'object' || one === null))
    scalarsOf.set(values, scalars)
  }
  if (typeof value !== 'object' || value === null) return scalars.has(value)
  work.spend(values.length)
  return values.some((one) => areEqual(one, value))
}

const ofNumber: Check = (node, value) => {
  if (typeof value !== 'number') return true
  const divisor = numberAt(node, 'multipleOf')
  return (
    value >= (numberAt(node, 'minimum') ?? -Infinity) &&
    value <= (numberAt(node, 'maximum') ?? Infinity) &&
    value > (numberAt(node, 'exclusiveMinimum') ?? -Infinity) &&
    value < (numberAt(node, 'exclusiveMaximum') ?? Infinity) &&
    (divisor === undefined || multiplesOf(divisor)(value))
  )
}

const ofString: Check = (node, value, work) => {
  if (typeof value !== 'string') return true
  const least = numberAt(node, 'minLength') ?? 0
  const most = numberAt(node, 'maxLength') ?? Infinity
  if (least > 0 || most < Infinity) {
    work.spend(value.length / 100)
    const length = lengthOf(value)
    if (length < least || length > most) return false
  }
  const pattern = textAt(node, 'pattern')
  if (pattern !== undefined && work.matches(pattern, value) !== true) return false
  // Which formats there are, and whether they are checked, is known to the compiler alone.
  return textAt(node, 'format') === undefined ? true : undefined
}

const ofArray: Check = (node, value, work) => {
  if (!Array.isArray(value)) return true
  const items = value as readonly Json[]
  if (
    items.length < (numberAt(node, 'minItems') ?? 0) ||
    items.length > (numberAt(node, 'maxItems') ?? Infinity)
  )
    return false
  if (valueOf(node, 'uniqueItems') === true && hasRepeat(items, work)) return false
  return all(ofItems(node, items, work))
}

function* ofItems(node: Node, items: readonly Json[], work: Work): Generator<Answer> {
  const isPlain =
    schemaAt(node, 'unevaluatedItems') === undefined ||
    !(hasInPlace(node) || valueOf(node, 'contains') !== undefined)
  if (!isPlain) yield undefined
  for (const [at, item] of items.entries())
    for (const schema of schemasOfItem(node, at, 'possibly')) yield evaluate(schema, item, work)
  const contains = containsOf(node)
  if (contains === undefined) return
  const answers = items.map((item) => evaluate(contains.node, item, work))
  const surely = answers.filter((answer) => answer === true).length
  const possibly = surely + answers.filter((answer) => answer === undefined).length
  if (possibly < contains.min || surely > contains.max) yield false
  else yield surely >= contains.min && possibly <= contains.max ? true : undefined
}

export function hasRepeat(items: readonly Json[], work: Work): boolean {
  work.spend((items.length * items.length) / 4)
  return items.some((item, at) => items.slice(0, at).some((other) => areEqual(item, other)))
}

const ofObject: Check = (node, value, work) => {
  if (!isMapping(value)) return true
  const names = Object.keys(value)
  if (names.length < (numberAt(node, 'minProperties') ?? 0)) return false
  if (names.length > (numberAt(node, 'maxProperties') ?? Infinity)) return false
  if (!textsOf(valueOf(node, 'required')).every((name) => Object.hasOwn(value, name))) return false
  return all(ofMembers(node, value, work))
}

function* ofMembers(node: Node, value: Readonly<Record<string, Json>>, work: Work): Generator<Answer> {
  if (schemaAt(node, 'unevaluatedProperties') !== undefined && hasInPlace(node)) yield undefined
  const nameSchema = schemaAt(node, 'propertyNames')
  for (const [name, member] of Object.entries(value)) {
    work.spend(1)
    if (nameSchema) yield evaluate(nameSchema, name, work)
    for (const schema of schemasOfMember(node, name, 'possibly', work)) yield evaluate(schema, member, work)
  }
  for (const [trigger, needed] of dependentsOf(node)) {
    if (!Object.hasOwn(value, trigger)) continue
    if (Array.isArray(needed)) yield needed.every((name) => Object.hasOwn(value, name))
    else yield evaluate(needed as Node, value, work)
  }
}

const inPlace: Check = (node, value, work) => all(ofInPlace(node, value, work))

function* ofInPlace(node: Node, value: Json, work: Work): Generator<Answer> {
  const reference = textAt(node, '$ref')
  if (reference !== undefined) {
    const target = node.document.resolve(reference)
    yield target && evaluate(target, value, work)
  }
  if (dynamicAt(node) !== undefined) yield undefined
  const answersOf = (keyword: string): Answer[] =>
    childrenOf(node, keyword).map(([, one]) => evaluate(one, value, work))
  yield* answersOf('allOf')
  if (valueOf(node, 'anyOf') !== undefined) yield not(all(answersOf('anyOf').map(not)))
  if (valueOf(node, 'oneOf') !== undefined) yield exactlyOne(answersOf('oneOf'))
  const refused = schemaAt(node, 'not')
  if (refused) yield not(evaluate(refused, value, work))
  const condition = conditionOf(node)
  if (condition) {
    const { when, holding, otherwise } = condition
    const holds = evaluate(when, value, work)
    const answer = (one: Node | undefined): Answer => (one ? evaluate(one, value, work) : true)
    if (holds === undefined) yield answer(holding) === true && answer(otherwise) === true ? true : undefined
    else yield answer(holds ? holding : otherwise)
  }
}

function exactlyOne(answers: readonly Answer[]): Answer {
  const surely = answers.filter((answer) => answer === true).length
  const perhaps = answers.filter((answer) => answer === undefined).length
  if (surely > 1 || surely + perhaps === 0) return false
  return perhaps === 0 ? true : undefined
}

const checks: readonly Check[] = [ofAny, ofNumber, ofString, ofArray, ofObject, inPlace]
