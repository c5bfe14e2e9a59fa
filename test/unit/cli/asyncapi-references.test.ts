import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { moveReferences } from '../../../cli/asyncapi/moved-references.ts'

const pointer = '#/components/schemas/com.acme.tree.v2/schema'
const others = new Map([['https://acme.example/tree/1', '#/components/schemas/com.acme.tree.v1/schema']])
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
      stranger: { $ref: 'https://other.example/x' },
    },
    $defs: { level: { type: 'number', allOf: [{ $ref: '#low' }] }, 'a/b': { $anchor: 'low', minimum: 0 } },
  }
  const former = '#/components/schemas/com.acme.tree.v1/schema'
  expect(moved(schema)).toEqual({
    properties: {
      whole: { $ref: pointer },
      level: { $ref: `${pointer}/$defs/level` },
      anchored: { $ref: `${pointer}/$defs/a~1b` },
      named: { $ref: `${pointer}/$defs/level` },
      relative: { $ref: former },
      former: { $ref: `${former}/$defs/level` },
      stranger: { $ref: 'https://other.example/x' },
    },
    $defs: {
      level: { type: 'number', allOf: [{ $ref: `${pointer}/$defs/a~1b` }] },
      'a/b': { $anchor: 'low', minimum: 0 },
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

test('what is moved judges as what it was', () => {
  const schema = {
    type: 'object',
    properties: { value: { type: 'number' }, children: { type: 'array', items: { $ref: '#' } } },
    required: ['value'],
  }
  const document = { components: { schemas: { 'com.acme.tree.v2': { schema: moved(schema) } } } }
  const ajv = new Ajv2020({ strict: false })
  ajv.addSchema(document, 'document')
  const within = ajv.getSchema(`document${pointer}`)
  const alone = new Ajv2020().compile(schema)
  for (const data of [{ value: 1, children: [{ value: 2 }] }, { value: 1, children: [{}] }, {}]) {
    expect(within?.(data)).toBe(alone(data))
  }
})
