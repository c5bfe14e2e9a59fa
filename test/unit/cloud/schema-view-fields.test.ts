import { describe, expect, test } from 'vitest'
import { fieldsOf } from '../../../cloud/schemas/views/fields.ts'
import { columnNames, ownColumns, viewNames } from '../../../cloud/schemas/views/names.ts'

const kindsOf = (schema: unknown, formats: 'checked' | 'annotation' = 'checked') =>
  Object.fromEntries(
    fieldsOf('com.acme.any/1', schema, formats).fields.map(({ path, kind }) => [path.join('.'), kind]),
  )

describe('columns of a schema', () => {
  test('have the type of what every document has there, and are JSON where that is not one', () => {
    const schema = {
      properties: {
        number: { type: 'number' },
        maybe: { type: ['number', 'null'] },
        small: { type: 'integer', minimum: 0, maximum: 10 },
        large: { type: 'integer', minimum: 0 },
        text: { type: 'string' },
        word: { enum: ['on', 'off', null] },
        switch: { type: 'boolean' },
        at: { type: 'string', format: 'date-time' },
        union: { type: ['string', 'number'] },
        either: { anyOf: [{ type: 'string' }, { type: 'string', maxLength: 3 }] },
        list: { type: 'array' },
        anything: {},
        bag: { type: 'object' },
        never: false,
        nothing: { type: 'null' },
      },
    }
    expect(kindsOf(schema)).toEqual({
      number: 'double',
      maybe: 'double',
      small: 'bigint',
      large: 'whole',
      text: 'text',
      word: 'text',
      switch: 'boolean',
      at: 'instant',
      union: 'json',
      either: 'text',
      list: 'json',
      anything: 'json',
      bag: 'json',
      nothing: 'json',
    })
    expect(kindsOf(schema, 'annotation')).toMatchObject({ at: 'text' })
  })

  test('are of objects within objects, through references and alternatives, and end where a schema is in itself', () => {
    const schema = {
      $defs: {
        place: { type: 'object', properties: { lat: { type: 'number' }, next: { $ref: '#/$defs/place' } } },
      },
      allOf: [{ properties: { position: { $ref: '#/$defs/place' } } }],
      oneOf: [
        { properties: { kind: { const: 'a' }, value: { type: 'number' } }, required: ['kind'] },
        { properties: { kind: { const: 'b' }, value: { type: 'string' } }, required: ['kind'] },
      ],
    }
    expect(kindsOf(schema)).toEqual({
      'position.lat': 'double',
      'position.next': 'json',
      kind: 'text',
      value: 'json',
    })
  })

  test('say what the schema says of them, with the unit', () => {
    const { fields } = fieldsOf(
      'x/1',
      {
        properties: {
          t: { type: 'number', title: 'T', description: 'of the air', unit: '°C' },
          u: { type: 'number' },
        },
      },
      'checked',
    )
    expect(fields.map(({ said }) => said)).toEqual(['of the air. Unit: °C', undefined])
  })

  test('are bounded, and it is said when there are more (G7)', () => {
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, n) => [`m${n}`, { type: 'number' }]))
    const { fields, isCut } = fieldsOf('x/1', { properties: many }, 'checked')
    expect([fields.length, isCut]).toEqual([400, true])
    const branches = Array.from({ length: 3_000 }, (_, n) => ({ properties: { [`m${n}`]: { const: n } } }))
    expect(fieldsOf('x/1', { anyOf: branches }, 'checked').isCut).toBe(true)
  })
})

describe('names', () => {
  test('of views are for typing; where two would be one both have a part of their digest', () => {
    const names = viewNames(['com.acme.Climate', 'com.acme-x.a', 'com.acme_x.a', `com.${'long'.repeat(30)}`])
    expect([...names.values()]).toEqual([
      'com_acme_climate',
      expect.stringMatching(/^com_acme_x_a_[0-9a-f]{6}$/),
      expect.stringMatching(/^com_acme_x_a_[0-9a-f]{6}$/),
      expect.stringMatching(/^com_(long)+[a-z]*_[0-9a-f]{6}$/),
    ])
    expect(new Set(names.values()).size).toBe(4)
    expect(Math.max(...[...names.values()].map((name) => Buffer.byteLength(name)))).toBe(63)
  })

  test('of columns are distinct from each other and from those that every view has, whatever members are called', () => {
    const long = 'ü'.repeat(40)
    const paths = [
      ['t'],
      ['time'],
      ['data_time'],
      ['data', 'time'],
      ['a', 'b'],
      ['a_b'],
      [long],
      [`${long}x`],
      ...ownColumns.map((name) => [name, 'x']),
    ]
    const names = [...columnNames(paths).values()]
    expect(names.slice(0, 2)).toEqual(['t', expect.stringMatching(/^data_time_[0-9a-f]{6}$/)])
    expect(new Set([...names, ...ownColumns]).size).toBe(paths.length + ownColumns.length)
    expect(Math.max(...names.map((name) => Buffer.byteLength(name)))).toBeLessThanOrEqual(63)
  })

  test('of columns of a member called as one that every view has say that it is of the data', () => {
    expect([...columnNames([['time'], ['humidity']]).values()]).toEqual(['data_time', 'humidity'])
  })
})
