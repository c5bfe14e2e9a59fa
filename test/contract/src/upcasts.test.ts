import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { firstFitting } from '../../../src/schemas/fitting.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'
import { folderSource } from '../../../src/schemas/source.ts'
import { noUpcasts, type Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { ambiguitiesOn } from '../../../edge/admission/schema-check.ts'
import { ambiguitiesIn, tellingOf } from '../../../src/schemas/upcast/ambiguous.ts'
import { loadUpcasts } from '../../../src/schemas/upcast/folder.ts'

const root = mkdtempSync(join(tmpdir(), 'tidegate-upcasts-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const needs = (name: string) => JSON.stringify({ type: 'object', required: [name] })

function load(files: Record<string, string>): Promise<Upcasts> {
  const folder = mkdtempSync(join(root, 'schemas-'))
  const versions = {
    'com.acme.x/1.json': needs('a'),
    'com.acme.x/2.json': needs('b'),
    'com.acme.x/4.json': needs('c'),
  }
  for (const [name, text] of Object.entries({ ...versions, ...files })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return loadUpcasts(folderSource(folder), loadSchemas(folder))
}

const upcast = 'com.acme.x/upcast'
const cases = (...pairs: object[]) => JSON.stringify(pairs)

const closed = (properties: object) => ({
  type: 'object',
  required: ['t'],
  properties,
  additionalProperties: false,
})
const at = (more: object) => closed({ t: { type: 'number' }, at: closed({ t: {}, ...more }) })

test('an event of a later version is read as an earlier one without what that does not know, where it is closed', async () => {
  const folder = mkdtempSync(join(root, 'schemas-'))
  mkdirSync(join(folder, 'com.acme.x'))
  writeFileSync(join(folder, 'com.acme.x/1.json'), JSON.stringify(at({})))
  writeFileSync(
    join(folder, 'com.acme.x/2.json'),
    JSON.stringify({ ...at({ 'a/b': {} }), additionalProperties: true }),
  )
  const readAs = createReadAs(loadSchemas(folder), noUpcasts)
  const read = (data: object) =>
    readAs(new Ledger().next('d', { type: 'com.acme.x', dataschema: 'com.acme.x/2', data }).event, 1).data
  expect(read({ t: 1, p: 2, at: { t: 3, 'a/b': 4 } })).toEqual({ t: 1, at: { t: 3 } })
  expect(() => read({ t: 'warm', p: 2 })).toThrow(
    expect.objectContaining({ code: 'SCHEMA_NEWER', retryable: true }),
  )
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`m${n}`, n]))
  expect(() => read({ t: 1, ...many })).toThrow(expect.objectContaining({ code: 'SCHEMA_NEWER' }))
})

const between = (older: object, newer: object) => {
  const folder = mkdtempSync(join(root, 'schemas-'))
  mkdirSync(join(folder, 'com.acme.x'))
  writeFileSync(join(folder, 'com.acme.x/1.json'), JSON.stringify(older))
  writeFileSync(join(folder, 'com.acme.x/2.json'), JSON.stringify(newer))
  const readAs = createReadAs(loadSchemas(folder), noUpcasts)
  return (data: object, version = 2) =>
    readAs(new Ledger().next('d', { type: 'com.acme.x', dataschema: `com.acme.x/${version}`, data }).event, 1)
      .data
}

test.each(['anyOf', 'oneOf'])(
  'nothing is left out for the sake of an alternative of %s: it would be another',
  (keyword) => {
    const point = closed({ t: { type: 'number' } })
    const place = { $ref: '#/$defs/place' }
    const defs = { $defs: { place: { ...closed({ t: {}, at: { type: 'string' } }), required: ['t', 'at'] } } }
    for (const alternatives of [
      [point, place],
      [place, point],
    ]) {
      const read = between({ ...defs, [keyword]: alternatives }, true as never)
      expect(read({ t: 1 })).toEqual({ t: 1 })
      expect(() => read({ t: 1, at: 7 })).toThrow(expect.objectContaining({ code: 'SCHEMA_NEWER' }))
    }
    const read = between(
      {
        [keyword]: [
          { required: ['t'], properties: { t: {} } },
          { required: ['at'], properties: { at: { type: 'string' } } },
        ],
        unevaluatedProperties: false,
      },
      true as never,
    )
    expect(() => read({ t: 1, at: 7 })).toThrow(expect.objectContaining({ code: 'SCHEMA_NEWER' }))
  },
)

test('nothing is left out for the sake of a condition', () => {
  const read = between(
    {
      if: { required: ['t'] },
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
      then: { properties: { t: {} }, additionalProperties: false },
    },
    true as never,
  )
  expect(() => read({ t: 1, at: 7 })).toThrow(expect.objectContaining({ code: 'SCHEMA_NEWER' }))
})

const costly = (more: object) => ({
  type: 'object',
  properties: { text: { type: 'string', pattern: '(a|b|ab)*(a|ab)*c$' } },
  ...more,
})

test('all versions together may cost what one check may, and so may all members that are left out (G7)', () => {
  const folder = mkdtempSync(join(root, 'schemas-'))
  mkdirSync(join(folder, 'com.acme.x'))
  const versions = Array.from({ length: 12 }, (_, index) => index + 1)
  for (const version of versions)
    writeFileSync(join(folder, `com.acme.x/${version}.json`), JSON.stringify(costly({ title: `${version}` })))
  const registry = loadSchemas(folder)
  const data = { text: 'ab'.repeat(200_000) }
  const spent: number[] = []
  const fitting = firstFitting(
    {
      ...registry,
      firstFault(type, version, each, budget) {
        const fault = registry.firstFault(type, version, each, budget)
        spent.push(budget?.steps ?? NaN)
        return fault
      },
    },
    'com.acme.x',
    versions,
    data,
  )
  expect(fitting).toBeUndefined()
  expect(spent.length).toBeGreaterThan(1)
  expect(spent.length).toBeLessThan(12)
  expect(spent.at(-1)).toBe(0)
  expect(spent).toEqual(spent.toSorted((one, other) => other - one))
})

const loadFunction = (body: string) =>
  load({
    [`${upcast}/1-2.js`]: body,
    [`${upcast}/1-2.cases.json`]: cases({ from: { a: 1 }, to: { b: 1 } }, { from: { a: 2 }, to: { b: 2 } }),
  })

describe('the folder of upcasts', () => {
  test('has one for each step to the next version that there is, declared or as a function with its cases', async () => {
    const upcasts = await load({
      [`${upcast}/1-2.yaml`]: '- rename: { path: /a, to: b }',
      [`${upcast}/1-2.cases.json`]: cases({ from: { a: 1 }, to: { b: 1 } }),
      [`${upcast}/2-4.js`]:
        'export default (data) => { data.c = data.b * 2; delete data.b; return { ...data, gone: undefined } }',
      [`${upcast}/2-4.cases.json`]: cases({ from: { b: 2, x: 0 }, to: { c: 4, x: 0 } }),
    })
    expect(upcasts.find('com.acme.x', 1, 2)?.apply({ a: 3 })).toEqual({ b: 3 })
    expect(upcasts.find('com.acme.x', 1, 2)?.steps).toHaveLength(1)
    const given = { b: 3 }
    expect(upcasts.find('com.acme.x', 2, 4)?.apply(given)).toStrictEqual({ c: 6 })
    expect(given).toEqual({ b: 3 })
    expect(upcasts.find('com.acme.x', 2, 4)?.steps).toBeUndefined()
    expect(upcasts.find('com.acme.x', 1, 4)).toBeUndefined()
  })

  test('that cannot be used is told whole, each file with what is wrong', async () => {
    const error = await load({
      [`${upcast}/1-2.yaml`]: '- drop: a',
      [`${upcast}/1-2.cases.json`]: '[]',
      [`${upcast}/1-4.yaml`]: '[]',
      [`${upcast}/2-3.yaml`]: '[]',
      [`${upcast}/2-4.js`]: 'export default 7',
      [`${upcast}/2-4.yaml`]: '[]',
      [`${upcast}/4-2.js`]: '',
      [`${upcast}/notes.txt`]: '',
      'com.acme.y/1.json': needs('a'),
      'com.acme.y/2.json': needs('b'),
      'com.acme.y/3.json': needs('c'),
      'com.acme.y/4.json': needs('d'),
      'com.acme.y/upcast/1-2.js': 'export default async (data) => data',
      'com.acme.y/upcast/1-2.cases.json': cases({ from: { a: 1 }, to: { b: 1 } }),
      'com.acme.y/upcast/2-3.js': 'export default (data) => data',
      'com.acme.y/upcast/3-4.js': 'export default (',
      'com.acme.y/upcast/3-4.cases.json': cases({ from: { c: 1 }, to: { d: 1 } }),
    }).catch((thrown: unknown) => thrown as Error & { code: string })
    expect(error).toMatchObject({ code: 'SCHEMA_FOLDER' })
    const told = (error as Error).message
      .split('\n')
      .slice(1)
      .map((line) => line.trim())
    expect(told).toEqual([
      `${upcast}/1-2.yaml: step 1: drop must be a JSON pointer such as /temperature`,
      `${upcast}/1-2.cases.json: must be a list of at least one case, each { "from": …, "to": … }`,
      `${upcast}/1-4: the version after 1 is 2; a step leads to the next one`,
      `${upcast}/2-3: there is no com.acme.x/3.json`,
      `${upcast}/2-4: is there as .yaml and as .js; keep one`,
      `${upcast}/4-2: the version after 4 is none; a step leads to the next one`,
      `${upcast}/notes.txt: an upcast is 1-2.yaml, or 1-2.js with 1-2.cases.json beside it`,
      'com.acme.y/upcast/1-2.cases.json: case 1: it throws: it answers with a promise: an upcast is a function of the data alone',
      'com.acme.y/upcast/2-3.js: needs 2-3.cases.json, which shows what it does',
      expect.stringMatching(/^com\.acme\.y\/upcast\/3-4\.js: cannot be loaded: /),
    ])
  })

  test('has cases that fail if an upcast does otherwise, or what it makes is not of the version', async () => {
    await expect(
      load({
        [`${upcast}/1-2.yaml`]: '- rename: { path: /a, to: c }',
        [`${upcast}/1-2.cases.json`]: cases(
          { name: 'plain', from: { a: 1 }, to: { b: 1 } },
          { from: { a: 1 }, to: { c: 1 } },
        ),
      }),
    ).rejects.toThrow(
      /1-2\.cases\.json: case plain: it makes {"c":1} of it\n.*case 2: to is no version 2: data: must have required property 'b'/,
    )
  })

  test('has functions of the data alone: what they keep from run to run, and what JSON does not know, is found', async () => {
    await expect(
      loadFunction(
        'const seen = []; export default ({ a }) => { seen.push(a); return { b: seen.length > 4 ? seen[0] : a } }',
      ),
    ).rejects.toThrow(/case 2: it makes something else of it behind other cases/)
    await expect(loadFunction('export default () => new Map()')).rejects.toThrow(
      /something that JSON does not know/,
    )
    await expect(loadFunction('export default () => ({ b: NaN })')).rejects.toThrow(
      /something that JSON does not know/,
    )
    await expect(loadFunction('export default (data) => ({ then() {} })')).rejects.toThrow(
      /answers with a promise/,
    )
  })
})

const measured = (more: object = {}) =>
  JSON.stringify({ type: 'object', required: ['t'], properties: { t: { type: 'number' } }, ...more })

const found = (files: Record<string, string>) => {
  const folder = mkdtempSync(join(root, 'schemas-'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return ambiguitiesIn(folderSource(folder), loadSchemas(folder))
}

describe('versions that take the same data', () => {
  const inUnit = (unit: string) =>
    measured({ required: ['t', 'unit'], properties: { t: { type: 'number' }, unit: { const: unit } } })

  const step = '- unit: { path: /t, offset: -32 }\n- unit: { path: /t, scale: 5/9 }'

  test.each<[string, Record<string, string>, object[]]>([
    [
      'where a unit changes under one name',
      { '1.json': measured(), '2.json': measured(), 'upcast/1-2.yaml': step },
      [{ type: 'com.acme.t', from: 1, to: 2 }],
    ],
    [
      'also in a version behind that',
      { '1.json': measured(), '2.json': inUnit('C'), '3.json': measured(), 'upcast/1-2.yaml': step },
      [{ type: 'com.acme.t', from: 1, to: 3 }],
    ],
    [
      'where the case of a function is taken',
      {
        '1.json': measured(),
        '2.json': measured(),
        'upcast/1-2.js': 'throw new Error()',
        'upcast/1-2.cases.json': cases({ from: { t: 212 }, to: { t: 100 } }),
      },
      [{ type: 'com.acme.t', from: 1, to: 2 }],
    ],
    [
      'not where a constant tells them apart',
      { '1.json': measured(), '2.json': inUnit('C'), 'upcast/1-2.yaml': step },
      [],
    ],
    [
      'not where no device may send the old one',
      { '1.json': measured(), '2.json': measured(), 'upcast/1-2.yaml': step, 'type.yaml': 'retired: [1]' },
      [],
    ],
    [
      'not where nothing changes its meaning',
      {
        '1.json': measured(),
        '2.json': measured(),
        'upcast/1-2.yaml': '- default: { path: /unit, value: F }',
      },
      [],
    ],
  ])('are told %s', (_, files, ambiguities) => {
    const there = Object.entries(files).map(([name, text]) => [`com.acme.t/${name}`, text] as const)
    expect(found(Object.fromEntries(there))).toEqual(ambiguities)
    expect(tellingOf(found(Object.fromEntries(there)))).toHaveLength(ambiguities.length)
  })

  test('are no concern of a gateway whose routes say the version', () => {
    const one = [{ type: 'com.acme.t', from: 1, to: 2 }]
    const route = { topic: 't', type: 'com.acme.t' }
    expect(ambiguitiesOn([route], one)).toEqual(one)
    expect(ambiguitiesOn([{ topic: 'e/{type}' }], one)).toEqual(one)
    expect(
      ambiguitiesOn(
        [
          { ...route, schemaVersion: 1 },
          { topic: 'u', type: 'com.acme.u' },
        ],
        one,
      ),
    ).toEqual([])
  })
})
