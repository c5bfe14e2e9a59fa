import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadSchemas } from '../../../src/contract/schema-registry.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-schemas-'))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function schemas(files: Record<string, unknown>): string {
  const root = mkdtempSync(join(folder, 'schemas-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true })
    writeFileSync(join(root, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return root
}

const faultsOf = (schema: object | boolean, ...values: unknown[]): string[] => {
  const registry = loadSchemas(schemas({ 'com.acme.x/1.json': schema }))
  return values.flatMap((value) => registry.faults('com.acme.x', 1, value))
}

describe('schemas', () => {
  const climate = { type: 'object', required: ['t'], properties: { t: { type: 'number', maximum: 100 } } }

  test('checks data against the version asked for and names each fault by path', () => {
    const registry = loadSchemas(
      schemas({
        'com.acme.climate/1.json': climate,
        'com.acme.climate/2.json': { ...climate, required: ['t', 'h'] },
      }),
    )
    expect(registry.latest('com.acme.climate')).toBe(2)
    expect(registry.faults('com.acme.climate', 1, { t: 20 })).toEqual([])
    expect(registry.faults('com.acme.climate', 2, { t: 200 })).toEqual([
      expect.stringContaining("'h'"),
      expect.stringContaining('data.t: '),
    ])
    expect(() => registry.faults('com.acme.climate', 3, {})).toThrow(
      expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }),
    )
  })

  test('judges multipleOf by the digits, however large, and says of which', () => {
    const tenths = { type: 'number', multipleOf: 0.1 }
    expect(faultsOf(tenths, 8.1, 0.3, -0.7, 12, 1e21, 1e300)).toEqual([])
    expect(faultsOf(tenths, 6.25)).toEqual(['data: must be multiple of 0.1'])
    expect(faultsOf({ items: { multipleOf: 7 } }, [14, 15])).toEqual(['data.1: must be multiple of 7'])
  })

  test('says which property or value it does not allow', () => {
    const strict = { properties: { a: {}, unit: { enum: ['C', 'F'] } }, additionalProperties: false }
    expect(faultsOf(strict, { a: 1, hPa: 2 })).toEqual(['data: must NOT have additional properties (hPa)'])
    expect(faultsOf(strict, { unit: 'K' })).toEqual([
      'data.unit: must be equal to one of the allowed values (C, F)',
    ])
  })

  test.for<[string, object | boolean]>([
    [
      'annotations of one’s own',
      { properties: { t: { type: 'number', unit: 'Cel', 'x-unit': 1, example: 2 } } },
    ],
    ['a bound without a type', { properties: { t: { minimum: -40 } } }],
    ['draft-07', { $schema: 'http://json-schema.org/draft-07/schema#', definitions: {}, type: 'object' }],
    ['2019-09', { $schema: 'https://json-schema.org/draft/2019-09/schema', $recursiveAnchor: true }],
    ['2020-12 by name', { $schema: 'https://json-schema.org/draft/2020-12/schema', $defs: {} }],
    ['a tuple of draft-07', { $schema: 'http://json-schema.org/draft-07/schema#', items: [{}, {}] }],
    ['true', true],
    ['what is required and not described', { required: ['t'] }],
    ['several types', { type: ['object', 'null'], minimum: 0 }],
    ['a format', { format: 'no-such-format' }],
  ])('takes what is valid JSON Schema: %s', ([, schema]) => {
    expect(faultsOf(schema, { t: 1 })).toEqual([])
  })

  test('checks what a draft-07 schema says as that draft means it', () => {
    const tuple = { $schema: 'http://json-schema.org/draft-07/schema#', items: [{ type: 'number' }] }
    expect(faultsOf(tuple, ['no'])).toEqual(['data.0: must be number'])
  })

  test('two versions of a type may have one $id, and may refer to each other by different ones', () => {
    const root = schemas({
      'com.acme.x/1.json': { $id: 'https://acme.example/x', type: 'number' },
      'com.acme.x/2.json': { $id: 'https://acme.example/x', type: 'string' },
      'com.acme.y/1.json': { $id: 'https://acme.example/y/1', type: 'number' },
      'com.acme.y/2.json': { $id: 'https://acme.example/y/2', items: { $ref: 'https://acme.example/y/1' } },
    })
    const registry = loadSchemas(root)
    expect(registry.faults('com.acme.x', 1, 'text')).toEqual(['data: must be number'])
    expect(registry.faults('com.acme.x', 2, 'text')).toEqual([])
    expect(registry.faults('com.acme.y', 2, ['text'])).toEqual(['data.0: must be number'])
  })

  test.for<[string, unknown, string]>([
    [
      'a slip of the pen',
      { properties: { t: { minimun: 1 } } },
      'no keyword "minimun"; did you mean "minimum"?',
    ],
    ['a wrong case', { additionalproperties: false }, 'did you mean "additionalProperties"?'],
    ['a type that is none', { type: 'numbr' }, 'type must be equal to one of the allowed values'],
    ['a divisor that is none', { multipleOf: 0 }, 'multipleOf must be > 0'],
    [
      'an old dialect',
      { $schema: 'http://json-schema.org/draft-04/schema#' },
      'draft-04/schema is none that',
    ],
    ['a reference to nowhere', { $ref: 'https://acme.example/none' }, 'resolve reference https://acme'],
    ['what is no schema', 5, 'an object, true or false'],
  ])('refuses %s, and says what and where', ([, schema, fault]) => {
    const load = () => loadSchemas(schemas({ 'com.acme.x/1.json': schema }))
    expect(load).toThrow(fault)
    expect(load).toThrow('com.acme.x/1.json: ')
    expect(load).toThrow(expect.objectContaining({ code: 'SCHEMA_FOLDER' }))
  })

  test('names every file that cannot be used', () => {
    const root = schemas({
      'com.acme.climate/1.json': '{',
      'com.acme.climate/v2.json': {},
      'nodots/1.json': {},
    })
    expect(() => loadSchemas(root)).toThrow(/climate\/1\.json: [^]*v2\.json: [^]*nodots: /)
  })
})
