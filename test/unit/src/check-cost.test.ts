import { describe, expect, test } from 'vitest'
import { compileVersions, type Validate } from '../../../src/schemas/compiler.ts'

function compiled(schema: object): Validate {
  const { validators, faults } = compileVersions(new Map([[1, schema]]))
  if (faults.size > 0) throw faults.get(1)
  return validators.get(1) as Validate
}

const messagesOf = (schema: object, data: unknown): (string | undefined)[] =>
  compiled(schema)(data).map(({ message }) => message)

const tooCostly = ['takes more than 10000000 steps to check']

/** Nobody is right: both ways are gone at each level. */
const eitherWay = (reference: object): object => ({
  type: 'object',
  anyOf: [{ properties: { x: reference } }, { properties: { x: reference } }],
})

describe('a check against a schema', () => {
  test('a pattern that takes the engine for ever is judged at once, in whatever keyword it stands (G7)', () => {
    const evil = '^(a+)+$'
    const text = `${'a'.repeat(100_000)}!`
    expect(messagesOf({ properties: { name: { pattern: evil } } }, { name: text })).toEqual([
      `must match pattern "${evil}"`,
    ])
    expect(messagesOf({ patternProperties: { [evil]: { type: 'number' } } }, { [text]: 'x', aa: 1 })).toEqual(
      [],
    )
    expect(
      messagesOf({ patternProperties: { [evil]: {} }, additionalProperties: false }, { [text]: 1 }),
    ).toEqual(['must NOT have additional properties'])
    expect(messagesOf({ propertyNames: { pattern: evil } }, { [text]: 1 })).toContain(
      `must match pattern "${evil}"`,
    )
    expect(
      messagesOf({ unevaluatedProperties: false, patternProperties: { [evil]: {} } }, { [text]: 1 }),
    ).toEqual(['must NOT have unevaluated properties'])
    expect(
      messagesOf({ $schema: 'http://json-schema.org/draft-07/schema#', items: { pattern: evil } }, [text]),
    ).toEqual([`must match pattern "${evil}"`])
  })

  test('data that takes too much work is at fault, and the next is checked as ever (G7)', () => {
    const validate = compiled({ items: { pattern: '(a|b)*a(a|b){2000}c' } })
    expect(validate(['ab'.repeat(10_000)]).map(({ message }) => message)).toEqual(tooCostly)
    expect(validate([`a${'b'.repeat(2000)}c`])).toEqual([])
  })

  test.for<[string, object]>([
    ['$ref', eitherWay({ $ref: '#' })],
    ['$dynamicRef', { $dynamicAnchor: 'x', ...eitherWay({ $dynamicRef: '#x' }) }],
    [
      '$recursiveRef',
      {
        $schema: 'https://json-schema.org/draft/2019-09/schema',
        $recursiveAnchor: true,
        ...eitherWay({ $recursiveRef: '#' }),
      },
    ],
  ])('what goes by %s again and again is counted (G7)', ([, schema]) => {
    const nested = (depth: number, leaf: unknown): unknown =>
      depth === 0 ? leaf : { x: nested(depth - 1, leaf) }
    expect(messagesOf(schema, nested(31, 1))).toEqual(tooCostly)
    expect(messagesOf(schema, nested(3, {}))).toEqual([])
    expect(messagesOf(schema, nested(3, 1))).toContain('must be object')
  })

  test('a loop that is gone through again and again counts each time as much as it goes through (G7)', () => {
    const schema = {
      properties: { many: { items: { type: 'number' } } },
      additionalProperties: eitherWay({ $ref: '#' }),
    }
    const nested = (depth: number): object =>
      depth === 0 ? { many: [...Array<number>(50_000).fill(1), 'x'] } : { x: { x: nested(depth - 1) } }
    expect(messagesOf(schema, nested(9))).toEqual(tooCostly)
    expect(messagesOf(schema, nested(1))).toEqual(['must be number'])
  })

  test('a schema that refers to itself without end, or data deeper than the stack, is a fault and ends nothing', () => {
    const fault = ['is nested too deeply for its schema, or its schema refers to itself without end']
    expect(messagesOf({ allOf: [{ $ref: '#' }] }, 1)).toEqual(fault)
    let deep: unknown = 1
    for (let depth = 0; depth < 200_000; depth += 1) deep = [deep]
    expect(messagesOf({ items: { $ref: '#' } }, deep)).toEqual(fault)
    expect(messagesOf({ uniqueItems: true }, [deep, deep])).toEqual(fault)
  })

  test('unique items are compared as JSON Schema has it, each once (G7)', () => {
    const unique = compiled({ uniqueItems: true })
    const repeats = (...items: unknown[]): boolean => unique(items).length > 0
    expect(repeats({ a: 1, b: [{ c: 1, d: 2 }] }, { b: [{ d: 2, c: 1 }], a: 1 })).toBe(true)
    expect([repeats(1, 1), repeats(0, -0), repeats('a', 'a'), repeats(null, null), repeats([], [])]).toEqual(
      Array(5).fill(true),
    )
    expect(
      repeats(1, '1', true, 'true', null, 'null', [1], ['1'], [[1]], '[1]', {}, [], '{}', { a: 1 }),
    ).toBe(false)
    expect(repeats({ a: 1 }, { a: 2 }, { b: 1 }, { a: 1, b: 1 }, [1, 2], [2, 1])).toBe(false)
    expect(unique([3, { a: 1 }, { a: 1 }]).map(({ message }) => message)).toEqual([
      'must NOT have duplicate items (items ## 1 and 2 are identical)',
    ])
    expect(messagesOf({ uniqueItems: false }, [1, 1])).toEqual([])
    let compared = 0
    const items = Array.from({ length: 40_000 }, (_, at) =>
      Object.defineProperty({}, 'at', { enumerable: true, get: () => ((compared += 1), at) }),
    )
    expect(unique(items)).toEqual([])
    expect(compared).toBe(40_000)
  })

  test('unique items of what leads to itself in several ways are compared once, and all of them counts (G7)', () => {
    const kids = { type: 'array', uniqueItems: true, items: { $ref: '#' } }
    const schema = {
      type: 'object',
      anyOf: ['room', 'zone'].map((kind) => ({ properties: { kids, kind: { const: kind } } })),
    }
    let reads = 0
    const leaf = Object.defineProperty({ kind: 'zone' }, 'at', { enumerable: true, get: () => (reads += 1) })
    let nested: object = leaf
    for (let depth = 0; depth < 8; depth += 1) nested = { kids: [nested, { depth }], kind: 'zone' }
    expect(messagesOf(schema, nested)).toEqual([])
    expect(reads).toBe(1)
    const one = { kind: 'zone', bulk: 'x'.repeat(6_000_000) }
    expect(messagesOf({ uniqueItems: true }, [one])).toEqual([])
    expect(messagesOf({ uniqueItems: true }, [one, 1])).toEqual([])
    expect(messagesOf({ uniqueItems: true }, [one, { ...one, a: 1 }])).toEqual(tooCostly)
    expect(messagesOf({ uniqueItems: true }, [one, [], 'x', 'x'])).toEqual([
      'must NOT have duplicate items (items ## 2 and 3 are identical)',
    ])
  })

  test('of large data the first fault is told, of others all', () => {
    const numbers = { items: { type: 'number' } }
    expect(messagesOf(numbers, Array(5).fill('x'))).toHaveLength(5)
    expect(messagesOf(numbers, Array(60_000).fill('x'))).toHaveLength(1)
    expect(messagesOf(numbers, ['x', Array(60_000).fill(1)])).toHaveLength(1)
  })
})
