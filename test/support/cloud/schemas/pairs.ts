import fc from 'fast-check'
import { Random } from '../../../../cloud/schemas/documents/random.ts'
import type { Json } from '../../../../cloud/schemas/language/json.ts'

/** Pairs of schemas as they come about: a schema, and the same after some edits. Now and then two that have nothing to do with each other. */

type Schema = Record<string, Json> | boolean

const name = fc.constantFrom('a', 'b', 'c', 's_x')
const small = fc.integer({ min: 0, max: 3 })
const number = fc.constantFrom(-1, 0, 0.5, 1, 2, 3, 5, 10)
const scalar: fc.Arbitrary<Json> = fc.oneof(
  number,
  fc.constantFrom<Json>('a', 'b', 'ab', '', true, false, null),
)
const pattern = fc.constantFrom('^a', '^[ab]+$', 'b$', '^s_', '^.{2}$', '')

interface Tied {
  schema: Schema
}

const { schema } = fc.letrec<Tied>((tie) => {
  const some = tie('schema') as fc.Arbitrary<Json>
  const members = fc.dictionary(name, some, { maxKeys: 3 })
  const words: Record<string, fc.Arbitrary<Json>> = {
    type: fc.oneof(
      fc.constantFrom('number', 'integer', 'string', 'object', 'array', 'null', 'boolean'),
      fc.constant(['string', 'null']),
      fc.constant(['object', 'array']),
    ),
    enum: fc.uniqueArray(scalar, { minLength: 1, maxLength: 4, selector: (one) => JSON.stringify(one) }),
    const: scalar,
    minimum: number,
    maximum: number,
    exclusiveMinimum: number,
    exclusiveMaximum: number,
    multipleOf: fc.constantFrom(0.5, 1, 2, 3, 4),
    minLength: small,
    maxLength: small,
    pattern,
    minItems: small,
    maxItems: small,
    uniqueItems: fc.boolean(),
    items: some,
    prefixItems: fc.array(some, { minLength: 1, maxLength: 2 }),
    contains: some,
    minContains: small,
    maxContains: small,
    unevaluatedItems: fc.oneof(fc.constant(false), some),
    properties: members,
    required: fc.uniqueArray(name, { maxLength: 2 }),
    additionalProperties: fc.oneof(fc.constant(false), some),
    patternProperties: fc.dictionary(fc.constantFrom('^a', '^s_', 'b$'), some, { minKeys: 1, maxKeys: 2 }),
    unevaluatedProperties: fc.oneof(fc.constant(false), some),
    propertyNames: fc.oneof(
      fc.constant<Json>({ maxLength: 1 }),
      fc.constant<Json>({ enum: ['a', 'b'] }),
      fc.constant<Json>({ pattern: '^a' }),
    ),
    minProperties: small,
    maxProperties: small,
    dependentRequired: fc.dictionary(name, fc.uniqueArray(name, { maxLength: 2 }), { maxKeys: 1 }),
    dependentSchemas: fc.dictionary(name, some, { maxKeys: 1 }),
    allOf: fc.array(some, { minLength: 1, maxLength: 2 }),
    anyOf: fc.array(some, { minLength: 1, maxLength: 3 }),
    oneOf: fc.array(some, { minLength: 1, maxLength: 2 }),
    not: some,
    if: some,
    ...Object.fromEntries(['then', 'else'].map((keyword) => [keyword, some])),
    $ref: fc.constantFrom('#/$defs/one', '#/$defs/two'),
  }
  const word = fc.constantFrom(...Object.keys(words))
  const one = fc
    .uniqueArray(word, { minLength: 1, maxLength: 4 })
    .chain((chosen) =>
      fc.record(
        Object.fromEntries(withThen(chosen).map((each) => [each, words[each] as fc.Arbitrary<Json>])),
      ),
    )
  const either: fc.Arbitrary<unknown> = fc.oneof({ depthSize: 'small', maxDepth: 3 }, fc.boolean(), one)
  return { schema: either as fc.Arbitrary<Schema> }
})

/** A condition that nothing follows from says nothing. */
function withThen(chosen: readonly string[]): readonly string[] {
  return chosen.includes('if') ? [...new Set([...chosen, 'then'])] : chosen
}

const simple: fc.Arbitrary<Json> = fc.constantFrom<Json>(
  { type: 'number' },
  { type: 'object', properties: { a: { $ref: '#/$defs/one' } } },
  { type: 'array', items: { $ref: '#/$defs/two' } },
  { type: 'array', items: { $dynamicRef: '#top' } },
  { maximum: 3 },
  true,
)

const whole: fc.Arbitrary<Schema> = fc
  .record({ top: schema, one: simple, two: simple })
  .map(({ top, one, two }) =>
    typeof top === 'boolean' ? top : { ...top, $dynamicAnchor: 'top', $defs: { one, two } },
  )

export interface Pair {
  writer: Schema
  reader: Schema
  seed: number
}

/** Two bounds of one kind that are the same, a step from each other, or one open and the other not. */
const bounds: fc.Arbitrary<{ one: Schema; other: Schema }> = fc
  .record({
    keywords: fc.constantFrom(
      ['minimum', 'exclusiveMinimum'],
      ['maximum', 'exclusiveMaximum'],
      ['minLength', 'minLength'],
      ['maxLength', 'maxLength'],
      ['minItems', 'minItems'],
      ['maxItems', 'maxItems'],
      ['minProperties', 'minProperties'],
      ['maxProperties', 'maxProperties'],
      ['multipleOf', 'multipleOf'],
    ),
    type: fc.constantFrom('number', 'integer', undefined),
    base: fc.integer({ min: 1, max: 3 }),
    step: fc.constantFrom(-1, 0, 0, 1),
    isOpen: fc.tuple(fc.nat(1), fc.nat(1)),
    isInside: fc.boolean(),
  })
  .map(({ keywords, type, base, step, isOpen, isInside }) => {
    const bound = (value: number, open: number): Schema => {
      const keyword = keywords[open] ?? 'minimum'
      const isOfNumbers = /imum$|multipleOf/i.test(keyword)
      const schema = { [keyword]: value, ...(isOfNumbers && type !== undefined && { type }) }
      return isInside ? { properties: { a: schema } } : schema
    }
    return { one: bound(base, isOpen[0]), other: bound(Math.max(1, base + step), isOpen[1]) }
  })

/** What the presence of a member asks for, against less and more of it. */
const dependent: fc.Arbitrary<Schema> = fc.constantFrom<Schema>(
  {},
  { required: ['a'] },
  { required: ['a', 'b'] },
  { dependentRequired: { a: ['b'] } },
  { dependentSchemas: { a: { required: ['b'] } } },
  { dependentSchemas: { a: { maxProperties: 1 } } },
  { properties: { a: false } },
)

/** What a text is said to be, against something else, or nothing. */
const formatted: fc.Arbitrary<Schema> = fc
  .constantFrom('date', 'date-time', 'ipv4', 'uuid', 'email', undefined)
  .map((format) => ({ type: 'string', ...(format !== undefined && { format }) }))

/** Arrays of what they are themselves, against arrays of anything. */
const nested: fc.Arbitrary<Schema> = fc.constantFrom<Schema>(
  { type: 'array' },
  { type: 'array', items: { type: 'array' } },
  { $dynamicAnchor: 'top', type: 'array', items: { $dynamicRef: '#top' } },
  { $dynamicAnchor: 'top', type: ['array', 'null'], items: { $dynamicRef: '#top' } },
)

const near: fc.Arbitrary<Pair> = fc
  .record({
    pair: fc.oneof(
      { arbitrary: bounds, weight: 4 },
      { arbitrary: fc.record({ one: dependent, other: dependent }), weight: 1 },
      { arbitrary: fc.record({ one: formatted, other: formatted }), weight: 1 },
      { arbitrary: fc.record({ one: nested, other: nested }), weight: 1 },
    ),
    seed: fc.nat(),
  })
  .map(({ pair: { one, other }, seed }) => ({ writer: one, reader: other, seed }))

const edited: fc.Arbitrary<Pair> = fc
  .record({
    one: whole,
    other: fc.option(whole, { freq: 6 }),
    edits: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
    seed: fc.nat(),
  })
  .map(({ one, other, edits, seed }) => {
    const changed =
      other ?? (edits.reduce<Json>((before, edit) => editedBy(before, new Random(edit)), one) as Schema)
    return seed % 2 === 0 ? { writer: one, reader: changed, seed } : { writer: changed, reader: one, seed }
  })

export const pairs: fc.Arbitrary<Pair> = fc.oneof(
  { arbitrary: edited, weight: 5 },
  { arbitrary: near, weight: 1 },
)

/** Changes one thing somewhere in a schema: a number, a list, a keyword that goes or is put in another place. */
function editedBy(value: Json, random: Random): Json {
  if (typeof value === 'number')
    return value + random.of([1, -1, 2]) < 0 && value >= 0 ? value + 1 : value + random.of([1, 2])
  if (typeof value === 'boolean') return !value
  if (typeof value === 'string' || value === null) return value
  if (Array.isArray(value)) {
    const items = value as readonly Json[]
    if (items.length > 1 && random.isLucky(0.5)) return items.toSpliced(random.upTo(items.length - 1), 1)
    const at = random.upTo(Math.max(0, items.length - 1))
    return items.length === 0 ? items : items.with(at, editedBy(items[at] as Json, random))
  }
  const entries = Object.entries(value as Record<string, Json>)
  const spare = entries.filter(([key]) => key !== '$defs')
  if (spare.length === 0) return { ...(value as object), maximum: 3 }
  const [key, old] = random.of(spare)
  if (random.isLucky(0.3)) return Object.fromEntries(entries.filter(([one]) => one !== key))
  return Object.fromEntries(entries.map(([one, each]) => [one, one === key ? editedBy(old, random) : each]))
}

/** Documents that know nothing of what schemas mean: made of the names, texts and numbers that stand in them. */
export function* documentsNear(schemas: readonly Json[], count: number, seed: number): Generator<Json> {
  const random = new Random(seed)
  const names = new Set<string>(['other'])
  const values: Json[] = [null, true, false, '', 'a', 'ab', 'b', 0, 1, 2, 1.5]
  const collect = (value: Json): void => {
    if (typeof value === 'number') values.push(value, value + 1, value - 1, value + 0.5)
    else if (typeof value === 'string') values.push(value)
    else if (Array.isArray(value)) value.forEach(collect)
    else if (typeof value === 'object' && value !== null)
      for (const [key, each] of Object.entries(value as Record<string, Json>)) {
        if (key.length < 4) names.add(key)
        collect(each)
      }
  }
  schemas.forEach(collect)
  const make = (depth: number): Json => {
    if (depth > 2 || random.isLucky(0.4)) return random.of(values)
    const length = random.upTo(4)
    if (random.isLucky(0.4)) return Array.from({ length }, () => make(depth + 1))
    return Object.fromEntries(Array.from({ length }, () => [random.of([...names]), make(depth + 1)]))
  }
  for (let made = 0; made < count; made += 1) yield make(0)
}
