import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ShapeRow } from '../../../cloud/projections/built-in/shape-row.ts'
import { Shape } from '../../../cloud/projections/built-in/shape.ts'
import { shapes, weekOf } from '../../../cloud/projections/built-in/shapes.ts'
import type { ProjectedEvent } from '../../../cloud/projections/definition.ts'
import { schemaOf, takesAll } from '../../../cloud/schemas/gate/shape-schema.ts'
import type { Json } from '../../../cloud/schemas/language/json.ts'
import { accepts, excludedOf, mutations, shapeOf, withoutValues } from '../../support/cloud/schemas/shaped.ts'

const strangeNames = [
  'a',
  'b',
  '*',
  '~2',
  'a/b',
  '~',
  '',
  '__proto__',
  'constructor',
  'toString',
  'a\0',
  '\ud800',
]
const value: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.integer({ min: -3, max: 3 }),
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.constantFrom<Json>(
        '2026-01-05T00:00:00Z',
        '2026-01-05',
        'a9f8b6b4-5b7e-4a55-9d3c-0d7f0d2f7c11',
        '10.0.0.1',
        'urn:uuid:a9f8b6b4-5b7e-4a55-9d3c-0d7f0d2f7c11',
      ),
      fc.constantFrom<Json>(null, true, false, 'x'.repeat(80), -0, 1e300),
    ),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...strangeNames), tie('value'), { maxKeys: 4 }) as fc.Arbitrary<Json>,
  ),
})).value
const documents = fc.array(value, { minLength: 1, maxLength: 8 })

/** As PostgreSQL gives it back. */
const stored = (rows: readonly ShapeRow[]): ShapeRow[] =>
  (JSON.parse(JSON.stringify(rows)) as ShapeRow[]).toReversed()
const byPointer = (rows: readonly ShapeRow[]): ShapeRow[] =>
  rows.toSorted((one, other) => (one.pointer < other.pointer ? -1 : 1))
const rowAt = (rows: readonly ShapeRow[], pointer: string): ShapeRow | undefined =>
  rows.find((row) => row.pointer === pointer)

const counts = ({ pointer, values }: ShapeRow): unknown => [pointer, values]

const event = (version: number): ProjectedEvent =>
  ({
    type: 'com.acme.climate',
    dataschema: `com.acme.climate/${version}`,
    recordedtime: '2026-01-07T00:00:00Z',
    data: 1,
    cursor: `1.1.${version}`,
  }) as ProjectedEvent

const texts = (at: number): string[] => Array.from({ length: 50 }, (_, n) => `${at}-${n}`.padEnd(64, 'x'))

const schemaTakes = (rows: readonly ShapeRow[], document: Json): boolean =>
  accepts(schemaOf(stored(rows)), document)

describe('the shape of data', () => {
  test('tells kinds, bounds, lengths and values of each place', () => {
    const rows = shapeOf([
      { t: 21.5, tags: ['a', 'bcd'] },
      { t: 4, tags: [] },
      { t: null, site: '😀' },
    ])
    expect(rowAt(rows, '')).toMatchObject({ objects: 3, isOpen: false, first: '1.1.1', last: '1.1.3' })
    expect(rowAt(rows, '/t')).toMatchObject({
      fractions: 1,
      integers: 1,
      nulls: 1,
      least: 4,
      greatest: 21.5,
      values: [21.5, 4, null],
    })
    expect(rowAt(rows, '/tags')).toMatchObject({ arrays: 2, leastItems: 0, greatestItems: 2 })
    expect(rowAt(rows, '/tags/*')).toMatchObject({ strings: 2, leastLength: 1, greatestLength: 3 })
    expect(rowAt(rows, '/site')).toMatchObject({ strings: 1, leastLength: 1, first: '1.1.3' })
  })

  test('is the same however it is put away in between', () => {
    fc.assert(
      fc.property(documents, fc.nat(7), (all, cut) => {
        const whole = shapeOf(all)
        const first = new Map(shapeOf(all.slice(0, cut)).map((row) => [row.pointer, row]))
        const second = Shape.of(stored([...first.values()]))
        for (const [at, document] of all.slice(cut).entries()) second.add(document, `1.1.${cut + at + 1}`)
        for (const row of second.changed()) first.set(row.pointer, row)
        expect(stored(byPointer([...first.values()]))).toEqual(stored(byPointer(whole)))
      }),
      { numRuns: 200, seed: 1 },
    )
  })

  test('is a schema that accepts each document that it was made of', () => {
    fc.assert(
      fc.property(documents, (all) => {
        for (const rows of [shapeOf(all), withoutValues(shapeOf(all))]) {
          const schema = schemaOf(stored(rows))
          for (const document of all) expect(accepts(schema, document)).toBe(true)
        }
      }),
      { numRuns: 20, seed: 2 },
    )
  })

  test('is bounded in places, in depth and in values, and says so (G7)', () => {
    const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`m${at}`, at]))
    const rows = shapeOf([wide])
    expect(rows).toHaveLength(200)
    expect(rowAt(rows, '')).toMatchObject({ isOpen: true })
    const deep = JSON.parse(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`) as Json
    expect(shapeOf([deep]).filter(({ isOpen }) => isOpen)).toHaveLength(1)
    expect(rowAt(shapeOf([{ ['x'.repeat(300)]: 1 }]), '')).toMatchObject({ isOpen: true })
    const many = Array.from({ length: 51 }, (_, at) => at)
    expect(rowAt(shapeOf([many]), '/*')?.values).toBeNull()
    expect(rowAt(shapeOf([many.slice(1)]), '/*')?.values).toHaveLength(50)
    expect(rowAt(shapeOf(['x'.repeat(65)]), '')?.values).toBeNull()
  })

  test('has so much of all its values together, and says so (G7)', () => {
    const wide = Object.fromEntries(Array.from({ length: 190 }, (_, at) => [`m${at}`, texts(at)]))
    const rows = shapeOf([wide])
    const kept = rows.flatMap(({ values }) => values ?? []).join('').length
    expect(kept).toBeLessThanOrEqual(65_536)
    expect(kept).toBeGreaterThan(60_000)
    expect(schemaTakes(rows, wide)).toBe(true)
    const again = Shape.of(stored(rows))
    again.add(wide, '1.1.2')
    expect(byPointer(again.changed()).map(counts)).toEqual(byPointer(shapeOf([wide, wide])).map(counts))
  })

  test('knows the formats that every text was of', () => {
    const times = Array.from({ length: 60 }, (_, at) => ({
      at: `2026-01-05T00:00:${String(at).padStart(2, '0')}Z`,
    }))
    const timed = { properties: { at: { type: 'string', format: 'date-time' } } }
    expect(takesAll(schemaOf(stored(shapeOf(times))), timed, [])).toBe(true)
    expect(takesAll(schemaOf(stored(shapeOf(times.slice(0, 3)))), timed, [])).toBe(true)
    expect(takesAll(schemaOf(stored(shapeOf([...times, { at: 'yesterday' }]))), timed, [])).toBe(false)
    expect(takesAll(schemaOf(stored(shapeOf([{ at: 'yesterday' }, ...times]))), timed, [])).toBe(false)
    const dated = { properties: { at: { type: 'string', format: 'date' } } }
    expect(takesAll(schemaOf(stored(shapeOf(times))), dated, [])).toBe(false)
  })

  test('a number that is none to a validator is excluded by nothing that speaks of it', () => {
    const rows = shapeOf([JSON.parse('{"t":1e400}') as Json])
    expect(takesAll(schemaOf(rows), { properties: { t: { type: 'number' } } }, [])).toBe(false)
    expect(takesAll(schemaOf(rows), { properties: { s: { type: 'number' } } }, [])).toBe(true)
  })

  test('weeks begin as partitions do: on Mondays, UTC', () => {
    expect(new Date(weekOf(Date.parse('2026-11-28T00:00:00Z'))).toISOString()).toBe(
      '2026-11-23T00:00:00.000Z',
    )
    expect(new Date(weekOf(Date.parse('2026-11-23T00:00:00Z'))).toISOString()).toBe(
      '2026-11-23T00:00:00.000Z',
    )
    expect(new Date(weekOf(Date.parse('1969-12-31T00:00:00Z'))).toISOString()).toBe(
      '1969-12-29T00:00:00.000Z',
    )
  })
})

describe('the projection shapes', () => {
  const events = Array.from({ length: 320 }, (_, at) => event(at + 1))

  test('has so many shapes in memory at a time, however many a batch is about (G7)', async () => {
    const asked: number[] = []
    const tx = {
      query: (_: string, [types]: [string[]]) => {
        asked.push(types.length)
        return Promise.resolve({ rows: [] })
      },
    }
    await shapes.apply(events, { tx } as never)
    expect(Math.max(...asked)).toBe(8)
    expect(asked.length).toBeGreaterThanOrEqual(320 / 8)
  })

  test('an event weighs what is read for it: a shape, the first time in a batch (G7)', () => {
    const weigh = shapes.weigh?.()
    expect([event(1), event(1), event(2)].map((one) => weigh?.(one))).toEqual([200, 1, 200])
    expect(shapes.weigh?.()(event(1))).toBe(200)
  })
})

describe('a shape excludes nothing that could fail', () => {
  test.each([
    ['with values', (rows: readonly ShapeRow[]) => [...rows]],
    ['with bounds alone', withoutValues],
  ])('%s, of many pairs of schemas', (_, change) => {
    const { shapes, excluded, wrongly } = excludedOf(60, 7, change)
    expect(wrongly).toEqual([])
    // Else it would be no answer.
    expect(excluded).toBeGreaterThan(shapes / 20)
  })

  test.each(Object.entries(mutations))('a shape in which %s is noticed', (_, change) => {
    expect(excludedOf(300, 7, change, 1).wrongly.length).toBeGreaterThan(0)
  })
})
