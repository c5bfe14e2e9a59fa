import { Ajv } from 'ajv'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { referencesIn, resolvePointer } from '../../../cli/asyncapi/json.ts'
import { moveReferences, resourcesIn } from '../../../cli/asyncapi/moved-references.ts'

const pointer = '#/components/schemas/com.acme.tree.v2/schema'
const former = {
  $id: 'https://acme.example/tree/1',
  $defs: { level: { type: 'number' }, low: { $anchor: 'low' } },
}
const others = resourcesIn(former, '#/components/schemas/com.acme.tree.v1/schema')
const moved = (schema: unknown): unknown => moveReferences(schema, { pointer, others })

test('a schema’s references to itself lead to where it lies in the document', () => {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'https://acme.example/tree/2',
    properties: {
      whole: { $ref: '#' },
      level: { $ref: '#/$defs/level' },
      anchored: { $ref: '#low' },
      named: { $ref: 'https://acme.example/tree/2#/$defs/level' },
      relative: { $ref: '1' },
      former: { $ref: 'https://acme.example/tree/1#/$defs/level' },
      formerAnchored: { $ref: '1#low' },
      stranger: { $ref: 'https://other.example/x' },
      meta: { $ref: 'https://json-schema.org/draft/2020-12/schema' },
    },
    $defs: { level: { type: 'number', allOf: [{ $ref: '#low' }] }, 'a/b': { $anchor: 'low', minimum: 0 } },
  }
  const first = '#/components/schemas/com.acme.tree.v1/schema'
  expect(moved(schema)).toEqual({
    properties: {
      whole: { $ref: pointer },
      level: { $ref: `${pointer}/$defs/level` },
      anchored: { $ref: `${pointer}/$defs/a~1b` },
      named: { $ref: `${pointer}/$defs/level` },
      relative: { $ref: first },
      former: { $ref: `${first}/$defs/level` },
      formerAnchored: { $ref: `${first}/$defs/low` },
      // The schema could not be compiled with it.
      stranger: { $comment: 'a reference to https://other.example/x' },
      meta: { $ref: 'https://json-schema.org/draft/2020-12/schema' },
    },
    $defs: {
      level: { type: 'number', allOf: [{ $ref: `${pointer}/$defs/a~1b` }] },
      'a/b': { minimum: 0 },
    },
  })
})

test('what is data, and a member that is called as a keyword, stays as it is', () => {
  const schema = {
    const: { $ref: '#' },
    enum: [{ $ref: '#' }],
    examples: [{ $ref: '#' }],
    default: { $ref: '#' },
    properties: { $ref: { type: 'string' }, const: { $ref: '#' }, $id: { type: 'string' } },
  }
  expect(moved(schema)).toEqual({
    ...schema,
    properties: { $ref: { type: 'string' }, const: { $ref: pointer }, $id: { type: 'string' } },
  })
  expect(moved(true)).toBe(true)
})

const draft07 = 'http://json-schema.org/draft-07/schema#'
const draft2019 = 'https://json-schema.org/draft/2019-09/schema'
const value = { value: { type: 'number' } }

/** Each with data that it takes, and data that it refuses. */
const schemas: Record<string, [schema: Record<string, unknown>, good: unknown, bad: unknown]> = {
  'a reference to the whole': [
    { type: 'object', properties: { ...value, next: { $ref: '#' } }, required: ['value'] },
    { value: 1, next: { value: 2 } },
    { value: 1, next: {} },
  ],
  'an anchor of draft-07': [
    {
      $schema: draft07,
      definitions: { low: { $id: '#low', type: 'number' } },
      properties: { a: { $ref: '#low' } },
    },
    { a: 1 },
    { a: 'x' },
  ],
  'dependencies of draft-07': [
    {
      $schema: draft07,
      definitions: { b: { required: ['b'] } },
      // Called as a keyword is.
      dependencies: { default: { $ref: '#/definitions/b' }, c: ['d'] },
    },
    { default: 1, b: 1, c: 1, d: 1 },
    { default: 1 },
  ],
  'a recursive reference of 2019-09': [
    { $schema: draft2019, $recursiveAnchor: true, properties: { ...value, next: { $recursiveRef: '#' } } },
    { next: { value: 1 } },
    { next: { value: 'x' } },
  ],
  'a dynamic reference': [
    { $dynamicAnchor: 'node', properties: { ...value, next: { $dynamicRef: '#node' } } },
    { next: { value: 1 } },
    { next: { value: 'x' } },
  ],
  'one anchor in two resources': [
    {
      properties: { a: { $ref: '#one' }, b: { $ref: 'inner#one' } },
      $id: 'https://acme.example/outer',
      $defs: {
        own: { $anchor: 'one', type: 'number' },
        inner: { $id: 'inner', $defs: { own: { $anchor: 'one', type: 'string' } } },
      },
    },
    { a: 1, b: 'x' },
    { a: 1, b: 1 },
  ],
}

const place = (key: string): string => `#/components/schemas/${key}/schema`

test.each(Object.entries(schemas))('what is moved judges as what it was: %s', (_, [schema, good, bad]) => {
  // Two versions of one shape: what they call alike must not be at odds in the document.
  const placed = (key: string): object => ({
    schema: moveReferences(schema, { pointer: place(key), others: [] }),
  })
  const document = { components: { schemas: { 'a.b.v1': placed('a.b.v1'), 'a.b.v2': placed('a.b.v2') } } }
  expect(referencesIn(document).filter((one) => resolvePointer(document, one) === undefined)).toEqual([])
  expect(JSON.stringify(document)).not.toMatch(/"\$(id|anchor|(dynamic|recursive)(Ref|Anchor))"/)
  const dialect = schema['$schema']
  const create = dialect === draft07 ? Ajv : dialect === draft2019 ? Ajv2019 : Ajv2020
  const ajv = new create({ strict: false })
  ajv.addSchema(document, 'document')
  const within = ajv.getSchema(`document${place('a.b.v2')}`)
  const alone = new create({ strict: false }).compile(schema)
  for (const [data, expected] of [
    [good, true],
    [bad, false],
  ] as const)
    expect([alone(data), within?.(data)]).toEqual([expected, expected])
})

test('of several references beside each other, which are of one name then, each holds', () => {
  const schema = {
    $dynamicAnchor: 'node',
    $defs: { named: {} },
    items: { $ref: '#/$defs/named', $dynamicRef: '#node', allOf: [{}] },
  }
  expect(moved(schema)).toEqual({
    $defs: { named: {} },
    items: { $ref: pointer, allOf: [{}, { $ref: `${pointer}/$defs/named` }] },
  })
})

test('a reference is found wherever a schema may stand, and none in what is data', () => {
  const $ref = '#/none'
  const document = {
    a: { properties: { default: { $ref }, $ref: { const: { $ref } } }, default: { $ref }, enum: [{ $ref }] },
  }
  expect(referencesIn(document)).toEqual([$ref])
})
