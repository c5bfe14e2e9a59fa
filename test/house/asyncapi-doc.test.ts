import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import specs from '@asyncapi/specs'
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { textOf } from '../../cli/asyncapi/command.ts'
import { asyncapiOf } from '../../cli/asyncapi/document.ts'
import { type Json, referencesIn, resolvePointer } from '../../cli/asyncapi/json.ts'
import { pageOf } from '../../cli/asyncapi/page/page.ts'
import { readSchemas } from '../../cli/asyncapi/schemas.ts'
import { loadEdgeConfig } from '../../edge/config.ts'
import { root } from './sources.ts'

const committed = readFileSync(join(root, 'docs/asyncapi.json'), 'utf8')
const document = JSON.parse(committed) as Json
const { messages, schemas } = document['components'] as { messages: Record<string, Json>; schemas: Json }

function generated(): string {
  const config = loadEdgeConfig(join(root, 'config/edge.example.yaml'), {})
  return textOf(asyncapiOf(readSchemas(join(root, 'schemas'), config.schemas.formats), config))
}

test('docs/asyncapi.json is what schemas, routes and topology say: npx tidegate asyncapi --config config/edge.example.yaml --out docs/asyncapi.json', () => {
  // As documents, so that a failure shows where.
  expect(document).toEqual(JSON.parse(generated()))
  expect(committed).toBe(generated())
})

test('docs/asyncapi.json is an AsyncAPI 3.0 document, by the meta schema of the specification', () => {
  // It brings draft-07 along.
  const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, validateFormats: false })
  const validate = ajv.compile(specs.schemas['3.0.0'] as object)
  expect([validate(document), validate.errors]).toEqual([true, null])
  // It would notice: an operation sends or receives.
  const [operation] = Object.values(document['operations'] as Json)
  const faulty = { ...document, operations: { one: { ...(operation as Json), action: 'publish' } } }
  expect(validate(faulty)).toBe(false)
})

test('every reference in docs/asyncapi.json leads to something', () => {
  const references = referencesIn(document)
  expect(references.length).toBeGreaterThan(100)
  expect(references.filter((reference) => resolvePointer(document, reference) === undefined)).toEqual([])
  const broken = { schema: { $ref: '#/components/schemas/none' } }
  expect(referencesIn(broken).filter((one) => resolvePointer(broken, one) === undefined)).toHaveLength(1)
})

test('every example in docs/asyncapi.json conforms to what its message says, and every version of a type has one', () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false, validateSchema: false })
  ajv.addSchema(document, 'document')
  const faults = (pointer: string, value: unknown): unknown[] => {
    const validate = ajv.getSchema(`document${pointer}`)
    expect(validate).toBeDefined()
    return validate?.(value) === true ? [] : [pointer, validate?.errors]
  }
  const all = Object.entries(messages).flatMap(([key, { payload, headers, examples = [] }]) => {
    const at = `#/components/messages/${key}`
    const reference = (payload as Json | undefined)?.['$ref']
    const schema = typeof reference === 'string' ? `${reference}/schema` : `${at}/payload/schema`
    return (examples as Json[]).flatMap((example) => [
      ...faults(schema, example['payload']),
      ...(headers === undefined ? [] : faults(`${at}/headers`, example['headers'])),
    ])
  })
  expect(all).toEqual([])
  expect(faults('#/components/messages/com.acme.climate.v1/payload/schema', {})).not.toEqual([])

  const versions = Object.keys(schemas).filter((key) => /\.v\d+$/.test(key))
  expect(versions.length).toBeGreaterThan(8)
  const shown = (key: string): boolean => messages[key]?.['examples'] !== undefined
  expect(versions.filter((key) => !shown(key) || !shown(`${key}.cloudevent`))).toEqual([])
})

test('the page of both documents has each place once, and every link of it leads to one', () => {
  const openapi = JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8')) as Json
  const page = pageOf(document, openapi)
  const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id = '']) => id)
  const links = [...page.matchAll(/ href="#([^"]*)"/g)].map(([, id = '']) => id)
  expect(links.length).toBeGreaterThan(100)
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([])
  expect(links.filter((id) => !ids.includes(id))).toEqual([])
  for (const path of Object.keys(openapi['paths'] as Json)) expect(page).toContain(` ${path}</code>`)
  for (const { address } of Object.values(document['channels'] as Record<string, Json>))
    expect(page).toContain(`<code>${String(address)}</code>`)
})
