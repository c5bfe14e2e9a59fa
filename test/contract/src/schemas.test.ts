import { createHash } from 'node:crypto'
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadSchemas } from '../../../src/schemas/folder.ts'

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

  test('names eight faults at most', () => {
    expect(faultsOf({ items: { type: 'number' } }, Array(9).fill('no'))).toHaveLength(8)
  })

  test('says which property or value it does not allow', () => {
    const strict = { properties: { a: {}, unit: { enum: ['C', 'F'] } }, additionalProperties: false }
    expect(faultsOf(strict, { a: 1, hPa: 2 })).toEqual(['data: must NOT have additional properties (hPa)'])
    expect(faultsOf(strict, { unit: 'K' })).toEqual([
      'data.unit: must be equal to one of the allowed values (C, F)',
    ])
  })

  test('names members of the data, of long ones a part, and never a value', () => {
    const secret = 'secret'.repeat(3)
    const values = {
      type: 'object',
      additionalProperties: { enum: [1], const: 1, pattern: '^x$', maxLength: 1, type: 'number' },
    }
    const faults = faultsOf(values, { name: secret })
    expect(faults).toHaveLength(5)
    expect(faults.join()).not.toContain(secret)
    const [longPath = ''] = faultsOf(
      { additionalProperties: { type: 'number' } },
      { [`${'x'.repeat(5000)}.y`]: secret },
    )
    expect(longPath).toMatch(/^data…x{118}\.y: must be number$/)
    const [longName = ''] = faultsOf({ additionalProperties: false }, { ['y'.repeat(5000)]: secret })
    expect(longName).toMatch(/^data: must NOT have additional properties \(y{100}…\)$/)
  })

  test.for<[string, object | boolean]>([
    [
      'annotations of one’s own',
      { properties: { t: { type: 'number', unit: 'Cel', 'x-unit': 1, example: 2 } } },
    ],
    [
      'annotations like short words',
      { note: 1, nota: 1, the: 1, them: 1, elsa: 1, iff: 1, tile: 1, name: 1, uid: 1, max: 1, label: 1 },
    ],
    ['properties that are called like slips', { properties: { typ: {}, enums: {}, ref: {}, item: {} } }],
    ['a reference to its own dialect', { items: { $ref: 'https://json-schema.org/draft/2020-12/schema' } }],
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
    [
      'a slip in a short word',
      { properties: { t: { enums: [] } } },
      'no keyword "enums"; did you mean "enum"?',
    ],
    ['another', { item: {} }, 'no keyword "item"; did you mean "items"?'],
    ['another', { typ: 'number' }, 'no keyword "typ"; did you mean "type"?'],
    ['another', { ref: '#' }, 'no keyword "ref"; did you mean "$ref"?'],
    ['two slips in a long word', { propertys: {} }, 'no keyword "propertys"; did you mean "properties"?'],
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

  test.for<[string, object]>([
    ['what is no schema', { type: 'numbr' }],
    ['a pattern that is none', { pattern: '(' }],
    ['a slip', { minimun: 1 }],
    ['an unknown dialect', { $schema: 5 }],
    ['a reference to nowhere', { $ref: 'https://acme.example/none' }],
    ['one anchor twice', { $defs: { a: { $anchor: 'a' }, b: { $anchor: 'a' } } }],
  ])('tells %s once, of the version that has it', ([, faulty]) => {
    const load = () =>
      loadSchemas(
        schemas({
          'com.acme.x/1.json': { $id: id(1), ...faulty },
          'com.acme.x/2.json': { $id: id(2), items: { $ref: id(1) } },
          'com.acme.x/3.json': { $id: id(3), items: { $ref: id(2) } },
          'com.acme.x/4.json': { type: 'number' },
        }),
      )
    expect(load).toThrow('com.acme.x/1.json: ')
    expect(load).not.toThrow(/com\.acme\.x\/[234]\.json/)
  })

  test('names both of two versions that have the same fault, and of two that only want each other one', () => {
    const slip = { minimun: 1 }
    const other = { items: { $ref: id(1) } }
    const faultsOf = (first: object, second: object) => () =>
      loadSchemas(
        schemas({
          'com.acme.x/1.json': { $id: id(1), ...first },
          'com.acme.x/2.json': { $id: id(2), ...second },
        }),
      )
    expect(faultsOf(slip, { ...other, ...slip })).toThrow(/x\/1\.json: [^]*x\/2\.json: /)
    expect(faultsOf({ items: { $ref: `${id(2)}#/none` } }, other)).toThrow('com.acme.x/')
  })

  test('hundreds of schemas are read at once', () => {
    const many = Array.from({ length: 100 }, (_, index) => [`com.acme.t${index}/1.json`, climate])
    const root = schemas(Object.fromEntries(many) as Record<string, unknown>)
    const before = process.cpuUsage()
    loadSchemas(root)
    const { user, system } = process.cpuUsage(before)
    // Of the processor's time, so that it is the same on a busy machine; with a meta-schema for each it is twice as much and more.
    expect((user + system) / 1000 / 100).toBeLessThan(15)
  })

  test('a published version that was changed is refused wherever schemas are read, and named', () => {
    const text = JSON.stringify(climate)
    const digest = createHash('sha256').update(text).digest('hex')
    const lock = `${digest}  com.acme.climate/1.json\n`
    expect(loadSchemas(schemas({ 'com.acme.climate/1.json': text, 'schemas.lock': lock })).types).toEqual([
      'com.acme.climate',
    ])
    const load = () => loadSchemas(schemas({ 'com.acme.climate/1.json': `${text} `, 'schemas.lock': lock }))
    expect(load).toThrow(/climate\/1\.json: was changed after it was published/)
    expect(() => loadSchemas(schemas({ 'com.acme.climate/1.json': text, 'schemas.lock': 'x\n' }))).toThrow(
      'schemas.lock: line 1 is not',
    )
  })

  test('type.yaml says which versions are retired; all that is wrong with it is told at once', () => {
    const registry = loadSchemas(
      schemas({
        'com.acme.climate/1.json': climate,
        'com.acme.climate/2.json': climate,
        'com.acme.climate/type.yaml': 'compatibility: FULL\nretired: [1]\nowner: a@b.example\n',
        'com.acme.climate/upcast/1-2.yaml': 'anything',
      }),
    )
    expect(registry.versions('com.acme.climate')).toEqual([1, 2])
    expect([...registry.retired('com.acme.climate')]).toEqual([1])
    expect(registry.retired('com.acme.other').size).toBe(0)
    const faulty = 'compatability: FULL\nretired: [7]\nunknown: drop\n'
    expect(() =>
      loadSchemas(schemas({ 'com.acme.climate/1.json': climate, 'com.acme.climate/type.yaml': faulty })),
    ).toThrow(/did you mean compatibility\?.*\(line 1\)|unknown: [^]*did you mean compatibility\?/)
    for (const [said, fault] of [
      ['retired: [7]', 'retired: there is no version 7'],
      ['retired: [1]', 'retired: every version is'],
      ['compatibility: BACKWARDS', 'did you mean BACKWARD?'],
      ['accepted: [{ version: 1, path: /t }]', 'accepted.0.reason'],
      [': [', 'is not valid YAML'],
    ])
      expect(() =>
        loadSchemas(schemas({ 'com.acme.climate/1.json': climate, 'com.acme.climate/type.yaml': said })),
      ).toThrow(fault)
  })

  test('asks contains and uniqueItems of an array that ends before its tuple does', () => {
    const tuple = [{}, { type: 'number' }, { type: 'string' }]
    expect(faultsOf({ prefixItems: tuple, contains: { const: 'x' } }, [], [1])).toHaveLength(3)
    expect(faultsOf({ prefixItems: tuple, uniqueItems: true }, [1, 1])).toEqual([
      expect.stringContaining('duplicate'),
    ])
    const older = { $schema: 'http://json-schema.org/draft-07/schema#', items: tuple, uniqueItems: true }
    expect(faultsOf(older, [1, 1])).toHaveLength(1)
    expect(faultsOf({ prefixItems: tuple, uniqueItems: true }, [], [1], [1, 2], [1, 2, 'x'])).toEqual([])
  })

  test('a schema of which ajv makes code that fails refuses the data, and throws nothing', () => {
    const schema = {
      unevaluatedItems: false,
      allOf: [
        { anyOf: [true, { patternProperties: { '^a': false } }, true], patternProperties: { b: true } },
      ],
    }
    expect(() => faultsOf(schema, {}, [], { a: 1 })).not.toThrow()
    const failing = {
      oneOf: [true, { properties: { s: true }, unevaluatedProperties: false }],
      patternProperties: { '^s': false },
    }
    expect(faultsOf({ prefixItems: [failing] }, [{ s: 1 }])).not.toEqual([])
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

function id(version: number): string {
  return `https://acme.example/${version}`
}
