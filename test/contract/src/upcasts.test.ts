import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadSchemas } from '../../../src/schemas/folder.ts'
import { noUpcasts, type Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
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
  return loadUpcasts(folder, loadSchemas(folder))
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
})
