import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { Maker } from '../../../cloud/schemas/documents/maker.ts'
import { Random } from '../../../cloud/schemas/documents/random.ts'
import type { Json } from '../../../cloud/schemas/language/json.ts'
import { SchemaDocument } from '../../../cloud/schemas/language/node.ts'
import { Work } from '../../../cloud/schemas/language/work.ts'
import { typedViews, type TypedView } from '../../../cloud/schemas/views/view.ts'
import { applyViews } from '../../../cloud/schemas/views/views-postgres.ts'
import type { Event } from '../../../src/contract/event.ts'
import { readSchemas, usableSchemas } from '../../../src/schemas/folder.ts'
import { createFormatTests } from '../../../src/schemas/formats.ts'
import { registryOf } from '../../../src/schemas/registry.ts'
import { loadUpcasts } from '../../../src/schemas/upcast/folder.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { pairs } from '../../support/cloud/schemas/pairs.ts'
import { sourceOf } from '../../support/cloud/schemas/schema-files.ts'
import { storeEvents } from '../../support/cloud/schemas/stored-events.ts'
import { createReadyDatabase } from '../../support/servers.ts'

let database: Database
beforeAll(async () => {
  database = poolOf({ url: await createReadyDatabase(), poolMax: 2, applicationName: 'test' })
})
afterAll(() => database.close())

type Files = Readonly<Record<string, unknown>>
type Row = Record<string, unknown>

const climate = 'com.acme.climate'

/** Three versions, of which each says the same in another way. */
const climateFiles: Files = {
  [`${climate}/type.yaml`]: 'description: temperature and humidity of a room\n',
  [`${climate}/1.json`]: {
    type: 'object',
    properties: { temp: { type: 'number', minimum: -40, maximum: 250 }, lat: { type: 'number' } },
    required: ['temp'],
  },
  [`${climate}/upcast/1-2.yaml`]: `
- rename: { path: /temp, to: temperature }
- unit: { path: /temperature, offset: -32 }
- unit: { path: /temperature, scale: 5/9 }
- move: { from: /lat, to: /position/lat }
- default: { path: /note, value: "it's old" }
`,
  [`${climate}/2.json`]: {
    type: 'object',
    properties: {
      temperature: { type: 'number' },
      position: { type: 'object', properties: { lat: { type: 'number' } } },
      note: { type: 'string' },
      humidity: { type: ['integer', 'null'], minimum: 0, maximum: 100 },
    },
    required: ['temperature'],
  },
  [`${climate}/upcast/2-3.yaml`]: `
- rename: { path: /humidity, to: rh }
`,
  [`${climate}/3.json`]: {
    type: 'object',
    properties: {
      temperature: { type: 'number', description: 'of the air', unit: '°C' },
      position: {
        type: 'object',
        properties: { lat: { type: 'number' }, at: { type: 'string', format: 'date-time' } },
      },
      note: { type: 'string', maxLength: 40 },
      rh: { type: ['integer', 'null'], minimum: 0, maximum: 100 },
      count: { type: 'integer' },
      time: { type: 'string' },
      'o\'x"y': { enum: [1, 'two', null] },
      list: { type: 'array', items: { type: 'number' }, maxItems: 3 },
      on: { $ref: '#/$defs/switch' },
    },
    required: ['temperature'],
    $defs: { switch: { type: 'boolean' } },
  },
}

const folderOf = (files: Files) => usableSchemas(sourceOf(files), 'checked')
const viewsOf = (files: Files): TypedView[] => typedViews(folderOf(files), 'checked')

let epochs = 0
const options = { schema: 'reading', dryRun: false }

/** What the view of a type has of these events, in their order. */
async function rowsOf(
  view: TypedView,
  events: readonly { dataschema: string | null; dataText: string }[],
): Promise<Row[]> {
  epochs += 1
  const epoch = `e${epochs}-`
  await storeEvents(database, epoch, view.type, events)
  const rows = await database.query<{ row: Row }>(
    `select to_jsonb(v) as row from reading."${view.name}" as v where starts_with(id, $1) order by substr(id, length($1) + 1)::bigint`,
    [epoch],
  )
  return rows.map(({ row }) => row)
}

/** Data as a view reads it; it can be printed as well. */
async function dataOf(text: string): Promise<unknown> {
  const [row] = await database.query<{ data: unknown }>(
    `select tidegate.event_data($1::json) as data, tidegate.event_data($1::json)::text as printed`,
    [`{"data":${text}}`],
  )
  return row?.data
}

/** As PostgreSQL has it: no U+0000 and no half of a pair. */
function storable<T>(value: T): T {
  const text = JSON.stringify(value ?? null).replace(/\\(u0000|ud[89a-f][0-9a-f]{2}|.)/g, (escape) =>
    escape.length > 2 ? '\\ufffd' : escape,
  )
  return JSON.parse(text) as T
}

function memberAt(data: unknown, pointer: string): unknown {
  const names = pointer
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
  return names.reduce<unknown>(
    (at, name) =>
      typeof at === 'object' && at !== null && !Array.isArray(at) && Object.hasOwn(at, name)
        ? (at as Row)[name]
        : null,
    data,
  )
}

/** Where a row is not what a handler is given; times to the millisecond. */
function differences(view: TypedView, row: Row, data: unknown): string[] {
  return view.columns.flatMap(({ name, kind, path }) => {
    const wanted = memberAt(data, path)
    const found = row[name]
    const isSame =
      kind === 'instant' && typeof wanted === 'string'
        ? typeof found === 'string' && Math.abs(Date.parse(found) - Date.parse(wanted)) < 2
        : isDeepStrictEqual(found, storable(wanted))
    return isSame ? [] : [`${name} (${kind}): ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`]
  })
}

/** Documents as a schema has them, the same every time. */
function documentsOf(schema: unknown, count: number): Json[] {
  const maker = new Maker(new Work(5_000_000), new Random(7))
  const { root } = new SchemaDocument('made', schema as Json)
  return Array.from({ length: count }, () => maker.make([root], [root])).filter((one) => one !== undefined)
}

describe('views of event types', () => {
  test('a row is what a handler is given that asks for the newest version, of documents of every version', async () => {
    const folder = folderOf(climateFiles)
    const registry = registryOf(folder.types)
    const readAs = createReadAs(registry, await loadUpcasts(folder.source, registry))
    const [view] = typedViews(folder, 'checked') as [TypedView]
    await applyViews(database, [view], options)
    const events = [1, 2, 3].flatMap((version) =>
      documentsOf(climateFiles[`${climate}/${version}.json`], 400)
        .filter((data) => registry.firstFault(climate, version, data) === undefined)
        .map((data) => ({
          version,
          data,
          dataschema: `${climate}/${version}`,
          dataText: JSON.stringify(data),
        })),
    )
    expect(new Set(events.map(({ version }) => version)).size).toBe(3)
    expect(events.length).toBeGreaterThan(600)
    const rows = await rowsOf(view, events)
    let compared = 0
    for (const [index, { version, data, dataschema }] of events.entries()) {
      const given = { type: climate, dataschema, data } as Event
      let read: unknown
      try {
        read = readAs(given, 3).data
      } catch {
        continue
      }
      compared += 1
      const row = rows[index] as Row
      expect({ data, of: differences(view, row, read) }).toEqual({ data, of: [] })
      expect(row).toMatchObject({ schema_version: version, data: storable(read), device: 'sensor-1' })
    }
    expect(compared).toBeGreaterThan(500)
  })

  test('no document that a schema accepts is other in its columns than it is, whatever the schema', async () => {
    let compared = 0
    await fc.assert(
      fc.asyncProperty(pairs, async ({ writer: schema }) => {
        const files = { 'com.acme.any/1.json': JSON.stringify(schema) }
        const folder = readSchemas(sourceOf(files))
        // One of an edit that made no schema of it.
        if (folder.faults.length > 0) return
        const registry = registryOf(folder.types)
        const [view] = typedViews(folder, 'checked') as [TypedView]
        const documents = documentsOf(schema, 30).filter(
          (data) => registry.firstFault('com.acme.any', 1, data) === undefined,
        )
        if (documents.length === 0 || view.columns.length === 0) return
        await applyViews(database, [view], options)
        const rows = await rowsOf(
          view,
          documents.map((data) => ({ dataschema: 'com.acme.any/1', dataText: JSON.stringify(data) })),
        )
        compared += rows.length
        for (const [index, data] of documents.entries())
          expect({ data, of: differences(view, rows[index] as Row, data) }).toEqual({ data, of: [] })
      }),
      { numRuns: 200 },
    )
    expect(compared).toBeGreaterThan(300)
  })

  test('whatever JSON a device has sent, no query fails: what a column cannot hold is null in it, and in no other', async () => {
    const [view] = viewsOf(climateFiles) as [TypedView]
    await applyViews(database, [view], options)
    const strange = [
      '"\\u0000"', '"a\\u0000\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\\\ud83d\\ude00"', '"\\\\u0000"', '"\\\\\\u0000"',
      '"\\ud83d\\ude00\\ude00"', '1e400', '-1e400', '1e-400', '1e140000', '-1E+00140000', '1e-20000', '["1e5000",1e5000,"\\"",-1e-5000]', `1${'0'.repeat(140_000)}`, `0.${'1'.repeat(20_000)}`, '-0', '99999999999999999999999', '1.5', '9223372036854775808',
      'null', 'true', '[]', '{}', '{"\\u0000": 1}', '"2026-02-30T00:00:00Z"', '"0000-01-01T00:00:00Z"', '"2016-12-31T23:59:60Z"', '"x"',
      `${'['.repeat(4_000)}${']'.repeat(4_000)}`,
    ] // prettier-ignore
    const documents = strange.flatMap((text) => [
      text,
      ...[
        'temperature',
        'temp',
        'note',
        'rh',
        'humidity',
        'count',
        'position',
        'list',
        'on',
        'time',
        'lat',
      ].map((name) => `{"${name}":${text},"neighbour":7}`),
      `{"position":{"lat":${text},"at":${text}},"temperature":20}`,
    ])
    const schemas = [
      `${climate}/1`,
      `${climate}/2`,
      `${climate}/3`,
      `${climate}/4`,
      null,
      'urn:other',
      `${climate}/x`,
    ]
    for (const dataschema of schemas) {
      const rows = await rowsOf(
        view,
        documents.map((dataText) => ({ dataschema, dataText })),
      )
      expect(rows.length).toBe(documents.length)
      const lost = rows.flatMap(({ data }, index) => {
        const text = documents[index] as string
        const isKept = !text.includes('neighbour') || (data as Row | null)?.['neighbour'] === 7
        return isKept || dataschema !== `${climate}/3` ? [] : [text.slice(0, 60)]
      })
      expect(lost).toEqual([])
    }
    const [row] = await rowsOf(view, [
      {
        dataschema: `${climate}/3`,
        dataText: '{"temperature":20,"note":"a\\u0000b\\ud800","count":1e400,"on":"yes"}',
      },
    ])
    expect(row).toMatchObject({ temperature: 20, note: 'a\ufffdb\ufffd', on: null })
  })

  test('a number that no program reads as one is null or 0, and a small document is not made a large one (G7)', async () => {
    expect(await dataOf(`[${'1e131071,'.repeat(9_000)}1]`)).toHaveLength(9_001)
    expect(await dataOf('[1e5000,-1E+05000,1e-5000,-2.5e-99999,1e0002,1e999999999, 3]')).toEqual(
      [null, null, 0, 0, 100, null, 3],
    ) // prettier-ignore
    const texts = { 'a1e5000,': ['x\\"1e5000,', '1e5000', '\\', '[1e5000]'], b: 1 }
    expect(await dataOf(`[${JSON.stringify(texts)},1e5000]`)).toEqual([texts, null])
    expect(await dataOf(`["\\u0000",1e5000,1${'0'.repeat(140_000)},"1${'0'.repeat(500)}",1]`)).toEqual(
      ['\ufffd', null, null, `1${'0'.repeat(500)}`, 1],
    ) // prettier-ignore
  })

  test('every date-time that the check accepts is read, as the days of PostgreSQL go', async () => {
    const times = {
      '2026-01-02T03:04:05Z': '2026-01-02T03:04:05.000Z',
      '2026-01-02t03:04:05.25z': '2026-01-02T03:04:05.250Z',
      '2026-01-02T03:04:05+23:59': '2026-01-01T03:05:05.000Z',
      '2026-01-02T03:04:05-16:00': '2026-01-02T19:04:05.000Z',
      '2026-01-02T03:04:05+0530': '2026-01-01T21:34:05.000Z',
      '2026-01-02 03:04:05-05': '2026-01-02T08:04:05.000Z',
      [`2026-01-02T03:04:05.${'5'.repeat(400)}Z`]: '2026-01-02T03:04:05.555Z',
      '2016-12-31T23:59:60Z': '2017-01-01T00:00:00.000Z',
    }
    const isDateTime = createFormatTests().get('date-time')
    for (const [text, wanted] of Object.entries(times)) {
      expect([text, isDateTime?.(text)]).toEqual([text, true])
      const [row] = await database.query<{ at: Date | null }>(
        'select tidegate.typed_instant(to_jsonb($1::text)) as at',
        [text],
      )
      expect([text, row?.at?.toISOString().slice(0, 23)]).toEqual([text, wanted.slice(0, 23)])
    }
  })

  test('what a session has set changes nothing', async () => {
    const client = await database.connect()
    try {
      await client.query('set standard_conforming_strings = off')
      const { rows } = await client.query<{ data: unknown }>(
        'select tidegate.event_data($1::json) as data, tidegate.typed_instant($2) as at',
        ['{"data":["\\u0000",1e5000,"\\\\u0000"]}', '"2026-01-02T03:04:05Z"'],
      )
      expect(rows[0]).toMatchObject({
        data: ['\ufffd', null, '\\u0000'],
        at: new Date('2026-01-02T03:04:05Z'),
      })
    } finally {
      client.release(true)
    }
  })

  test('what cannot be brought forward in SQL has no values, and stands there', async () => {
    const files = {
      'com.acme.code/1.json': { properties: { t: { type: 'number' } } },
      'com.acme.code/2.json': { properties: { t: { type: 'number' } } },
      'com.acme.code/3.json': { properties: { t: { type: 'number' } } },
      'com.acme.code/upcast/1-2.js': 'throw new Error("never run")',
    }
    const [view] = viewsOf(files) as [TypedView]
    expect(view.notes.join('\n')).toContain('upcast/1-2.js is code')
    await applyViews(database, [view], options)
    const schemas = ['com.acme.code/1', 'com.acme.code/2', 'com.acme.code/3', 'com.acme.code/4', null]
    const rows = await rowsOf(
      view,
      schemas.map((dataschema) => ({ dataschema, dataText: '{"t":1}' })),
    )
    expect(rows.map(({ t, schema_version }) => [t, schema_version])).toEqual([
      [null, 1],
      [1, 2],
      [1, 3],
      [null, 4],
      [null, null],
    ])
  })
})
