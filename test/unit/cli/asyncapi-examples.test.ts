import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { exampleData } from '../../../cli/asyncapi/example-data.ts'

test('a schema’s own examples are taken, and none is made beside them', () => {
  expect(exampleData({ type: 'number', examples: [1, 2] })).toEqual([1, 2])
  expect(exampleData({ type: 'number', examples: [] })).toEqual([21.5])
})

const schemas: Record<string, unknown> = {
  bounds: { type: 'number', minimum: 300, maximum: 1200 },
  'exclusive bounds': { type: 'integer', exclusiveMinimum: 0, exclusiveMaximum: 4 },
  'one bound above': { type: 'number', maximum: -5 },
  'one bound below': { type: 'number', minimum: 40 },
  steps: { type: 'number', multipleOf: 0.25, minimum: 10 },
  lengths: { type: 'string', minLength: 12, maxLength: 20 },
  short: { type: 'string', maxLength: 2 },
  'several types': { type: ['string', 'null'] },
  choice: { oneOf: [{ type: 'string', const: 'a' }, { type: 'number' }] },
  parts: {
    allOf: [{ type: 'object', properties: { a: { type: 'number' } }, required: ['a'] }],
    properties: { b: { type: 'boolean' } },
    required: ['b'],
  },
  list: { type: 'array', items: { $ref: '#/$defs/one' }, minItems: 1, $defs: { one: { enum: ['x'] } } },
  tuple: { type: 'array', prefixItems: [{ type: 'string' }, { type: 'integer' }], items: false },
  recursive: { type: 'object', properties: { child: { $ref: '#' }, name: { type: 'string' } } },
  nothing: {},
  true: true,
}

test.each(Object.entries(schemas))('what is made of a schema conforms to it: %s', (_, schema) => {
  const [made] = exampleData(schema)
  const validate = new Ajv2020({ strict: false }).compile(schema as object)
  expect([validate(made), made]).toEqual([true, made])
  expect(exampleData(schema)).toEqual([made])
})

const selves = Object.fromEntries('abcdefgh'.split('').map((name) => [name, { $ref: '#' }]))

test('of a schema that asks for eight of itself in each of itself no example is made, and soon', () => {
  let reads = 0
  const schema = {
    get type() {
      reads += 1
      return 'object'
    },
    properties: selves,
    required: Object.keys(selves),
  }
  expect(exampleData(schema)).toEqual([])
  expect(reads).toBeLessThan(100_000)
  expect(exampleData({ type: 'string', minLength: 1e9 })[0]).toHaveLength(4096)
})

test('where what recurses may end, it does', () => {
  const properties = { next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } }
  const ending = { type: 'object', properties, required: ['next'] }
  const kinds = { type: ['object', 'null'], properties: { next: { $ref: '#' } }, required: ['next'] }
  const choices = Object.keys(selves).map((name) => [
    name,
    { type: ['null', 'object'], anyOf: [{ $ref: '#' }, { type: 'null' }] },
  ])
  const wide = { type: 'object', properties: Object.fromEntries(choices), required: Object.keys(selves) }
  for (const schema of [ending, kinds, wide]) {
    const [made] = exampleData(schema)
    expect(new Ajv2020({ strict: false, allowUnionTypes: true }).compile(schema)(made)).toBe(true)
  }
})
