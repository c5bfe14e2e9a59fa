import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compare } from '../../../cloud/schemas/compatibility/compare.ts'
import { allRules } from '../../../cloud/schemas/compatibility/prove.ts'
import type { Version } from '../../../cloud/schemas/compatibility/version.ts'
import type { Validate } from '../../../src/schemas/compiler.ts'
import { narrowings, rewordings } from '../../support/cloud/schemas/narrowings.ts'
import { pairs } from '../../support/cloud/schemas/pairs.ts'
import { faultOfVerdict, verdictOf, versionsOf } from '../../support/cloud/schemas/verdicts.ts'

const quick = { documents: 50 }
const text = (pattern: string): object => ({ type: 'string', pattern })
const ofKind = (kind: string, more: object): object => ({ properties: { kind: { const: kind }, ...more } })
const serial = (format: string, t: object): object => ({
  type: 'object',
  properties: { code: { type: 'string', format }, t: { type: 'number', ...t } },
  required: ['code', 't'],
})
const bounded = (maximum: number): object => ({ properties: { 'a/b': { items: { maximum } } } })

const kinds = (count: number): object => ({
  oneOf: Array.from({ length: count }, (_, kind) => ({
    properties: { kind: { const: kind } },
    required: ['kind'],
  })),
})
const patterns = (count: number): object => ({
  patternProperties: Object.fromEntries(
    Array.from({ length: count }, (_, at) => [`^${at}`, { type: 'number' }]),
  ),
})
const nested = (depth: number, leaf: object): object =>
  depth === 0 ? leaf : { anyOf: [{ properties: { a: nested(depth - 1, leaf) } }, { maximum: depth }] }

describe('compatibility of schemas, by cases', () => {
  test('there are at least 60 each way', () => {
    expect(narrowings.length).toBeGreaterThanOrEqual(60)
  })

  test.each(narrowings)('$what: what the narrower accepts the wider does too', ({ narrow, wide }) => {
    expect(verdictOf(narrow, wide, quick)).toMatchObject({ answer: 'compatible', findings: [] })
  })

  test.each(narrowings)('$what: the other way it breaks, by $rule', ({ narrow, wide, rule, path }) => {
    const { answer, findings } = verdictOf(wide, narrow, quick)
    expect(answer).toBe('incompatible')
    expect(findings.filter(({ witness }) => witness !== undefined)).toContainEqual(
      expect.objectContaining({ rule, ...(path !== undefined && { path }) }),
    )
  })

  test.each(rewordings)('$what: compatible both ways', ({ one, other }) => {
    expect(verdictOf(one, other, quick)).toMatchObject({ answer: 'compatible' })
    expect(verdictOf(other, one, quick)).toMatchObject({ answer: 'compatible' })
  })

  test('an optional property on an open model breaks data that carries the name with something else, and is told apart', () => {
    const before = { type: 'object', properties: { t: { type: 'number' } } }
    const after = { type: 'object', properties: { t: { type: 'number' }, site: { type: 'string' } } }
    const { answer, findings } = verdictOf(before, after)
    expect(answer).toBe('incompatible')
    expect(findings).toEqual([
      expect.objectContaining({
        rule: 'type',
        path: '/site',
        isUndeclared: true,
        witness: { site: expect.anything() },
      }),
    ])
    expect(verdictOf(after, before)).toMatchObject({ answer: 'compatible' })
    const closes = verdictOf(before, { ...before, additionalProperties: false })
    expect(closes.findings).toEqual([expect.objectContaining({ isUndeclared: false })])
  })

  test('a name that the writer describes in one of its ways is declared there, and what breaks there is a break', () => {
    const writer = {
      type: 'object',
      required: ['kind'],
      properties: { kind: { enum: ['A', 'B'] } },
      oneOf: [ofKind('A', { a: { type: 'string' } }), ofKind('B', {})],
    }
    const reader = { ...writer, properties: { ...writer.properties, a: { type: 'integer' } } }
    expect(verdictOf(writer, reader).findings).toContainEqual(
      expect.objectContaining({
        path: '/a',
        isUndeclared: false,
        witness: { kind: 'A', a: expect.any(String) },
      }),
    )
  })

  test('a document that lies in a way that describes the name breaks it, whatever it was made for', () => {
    const writer = {
      type: 'object',
      anyOf: [{ properties: { v: { maximum: 5 } } }, { properties: { w: { type: 'string' } } }],
    }
    const reader = { ...writer, properties: { v: { type: 'integer' } } }
    expect(verdictOf(writer, reader).findings).toEqual([
      expect.objectContaining({ rule: 'type', path: '/v', isUndeclared: false, answer: 'incompatible' }),
    ])
  })

  test('of more ways than are looked at, each may describe a name', () => {
    const ways = Array.from({ length: 200 }, (_, at) => ({
      properties: { kind: { const: at }, a: { type: 'string' } },
      required: ['kind'],
    }))
    const writer = { type: 'object', oneOf: ways }
    const reader = { ...writer, properties: { a: { type: 'integer' } } }
    const { findings } = verdictOf(writer, reader)
    expect(findings).toContainEqual(expect.objectContaining({ path: '/a', isUndeclared: false }))
  })

  test('a document shows what is told of it, and nothing else', () => {
    // What nobody knows of a format cannot be told of a value: that another member breaks says nothing of it.
    const { findings } = verdictOf(serial('x-serial', {}), serial('x-code', { maximum: 5 }))
    expect(findings).toContainEqual(expect.objectContaining({ rule: 'maximum', answer: 'incompatible' }))
    expect(findings).toContainEqual(expect.objectContaining({ rule: 'format', answer: 'unknown' }))
  })

  test('what nobody has spoken of does not keep documents from being tried, and how many is said', () => {
    const before = { type: 'object', properties: { t: { type: 'number' } }, required: ['t'] }
    const after = { ...before, properties: { ...before.properties, site: { type: 'string' } } }
    expect(verdictOf(before, after, { documents: 200 }).tried).toBeGreaterThan(100)
    const broken = { ...after, properties: { ...after.properties, t: { type: 'number', maximum: 1 } } }
    expect(verdictOf(before, broken, { documents: 200 }).tried).toBe(0)
  })

  test.each(
    'date-time date time duration email hostname ipv4 ipv6 uri uri-reference uri-template uuid json-pointer relative-json-pointer regex'.split(
      ' ',
    ),
  )('a required member of the format %s keeps nothing from being shown', (format) => {
    const properties = { at: { type: 'string', format } }
    const before = { type: 'object', required: ['at'], properties }
    const after = { ...before, properties: { ...properties, site: { type: 'string' } } }
    const { findings, tried } = verdictOf(before, after, quick)
    expect(findings).toEqual([
      expect.objectContaining({ path: '/site', isUndeclared: true, witness: expect.anything() }),
    ])
    expect(tried).toBe(50)
  })

  test('texts are made for several patterns at once', () => {
    const code = {
      allOf: [{ pattern: '^[a-f0-9]{8}$' }, { pattern: '^0' }, { pattern: '7..7$' }],
      type: 'string',
    }
    const of = (more: object): object => ({
      type: 'object',
      required: ['code'],
      properties: { code, ...more },
    })
    const { findings } = verdictOf(of({}), of({ site: { type: 'string' } }), quick)
    expect(findings).toEqual([expect.objectContaining({ isUndeclared: true, witness: expect.anything() })])
    expect(verdictOf(of({ n: { maximum: 9 } }), of({ n: { maximum: 8 } }), quick)).toMatchObject({
      answer: 'incompatible',
    })
  })

  test('a required property with a default breaks: nobody fills it in', () => {
    const properties = { t: { type: 'number' }, unit: { type: 'string', default: 'C' } }
    expect(verdictOf({ properties }, { properties, required: ['unit'] })).toMatchObject({
      answer: 'incompatible',
      findings: [{ rule: 'required', witness: {} }],
    })
  })

  test('of patterns that are not the same, it says that it does not know, unless there is a witness', () => {
    expect(verdictOf(text('^[a-z]{3}$'), text('^[a-z]+$'))).toMatchObject({
      answer: 'unknown',
      findings: [{ rule: 'pattern', answer: 'unknown' }],
    })
    expect(verdictOf(text('^[a-z]+$'), text('^[a-z]{3}$'))).toMatchObject({ answer: 'incompatible' })
  })

  test('says where in the data and in the schema, what both say, and what the validator says of the witness', () => {
    expect(verdictOf(bounded(5), bounded(3)).findings).toEqual([
      {
        answer: 'incompatible',
        rule: 'maximum',
        path: '/a~1b/0',
        schemaPath: '/properties/a~1b/items/maximum',
        writerSays: 5,
        readerSays: 3,
        isUndeclared: false,
        witness: { 'a/b': [expect.any(Number)] },
        fault: expect.stringContaining('must be <= 3'),
      },
    ])
  })

  test('the same comparison has the same witness', () => {
    const [one, other] = [1, 2].map(() => verdictOf({ type: 'string' }, { type: 'string', pattern: '^x' }))
    expect(one).toEqual(other)
  })
})

describe('a comparison has an end, whatever the schemas are (G7)', () => {
  test.each([
    ['many ways', kinds(40), kinds(41)],
    ['more patterns than are looked at', patterns(12), { ...patterns(12), maxProperties: 3 }],
    ['ways within ways', nested(40, { minimum: 1 }), nested(40, { minimum: 2 })],
    ['a schema that is itself', { $ref: '#' }, { $ref: '#', type: 'number' }],
    [
      'an array longer than can be made',
      { type: 'array', minItems: 1e9 },
      { type: 'array', minItems: 1e9 + 1 },
    ],
    [
      'a text longer than can be made',
      { type: 'string', minLength: 1e9 },
      { type: 'string', minLength: 1e9 + 1 },
    ],
  ])('%s', (_, writer, reader) => {
    const { answer, findings } = verdictOf(writer, reader, { documents: 20, stepsMax: 20_000 })
    expect(answer === 'compatible').toBe(findings.length === 0)
  })

  test('validators have so many steps for all documents together', () => {
    const { writer, reader } = versionsOf({ type: 'string' }, { type: 'string', pattern: '^x' }) as {
      writer: Version
      reader: Version
    }
    let steps = 0
    const costly = (version: Version): Version => {
      const within: Validate['within'] = (data, stepsMax, brief) => {
        const taken = Math.min(stepsMax, 3_000_000)
        steps += taken
        return { ...version.validate.within(data, stepsMax, brief), steps: taken }
      }
      return { ...version, validate: Object.assign(version.validate.bind({}), version.validate, { within }) }
    }
    compare(costly(writer), costly(reader))
    expect(steps).toBeLessThanOrEqual(20_000_000)
  })

  test('what takes more work than it may is unknown, and says so', () => {
    const { answer, findings } = verdictOf(kinds(40), kinds(41), { documents: 0, stepsMax: 1000 })
    expect({ answer, findings }).toMatchObject({ answer: 'unknown', findings: [{ rule: 'work' }] })
  })
})

describe('compatibility of schemas, by generated pairs', () => {
  test('what is called compatible survives documents, and what is called incompatible has a witness', () => {
    fc.assert(
      fc.property(pairs, (pair) => {
        expect(faultOfVerdict(pair, { documents: 60, strangers: 100 }).fault).toBeUndefined()
      }),
      { numRuns: 250, seed: 14 },
    )
  })

  test.each(Object.keys(allRules).filter((name) => name !== 'dynamic'))(
    'a wrong rule is found: %s holds always',
    (name) => {
      const rules = { ...allRules, [name]: { of: allRules[name]?.of ?? [], holds: () => 'holds' as const } }
      const isNoticed = narrowings.some(
        ({ narrow, wide }) => verdictOf(wide, narrow, { documents: 0, rules }).findings.length === 0,
      )
      expect(isNoticed).toBe(true)
    },
  )
})
