import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressesOf, type Document, runAsyncapi, schemasIn } from '../../support/cli/asyncapi.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-asyncapi-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const schemasOf = (name: string, files: Readonly<Record<string, unknown>>): Promise<string> =>
  schemasIn(join(folder, name), files)

test('a configuration says which topics there are, and no password of it is in the document', async () => {
  const schemas = await schemasOf('own', { 'com.acme.door/1.json': { type: 'object', title: 'A door' } })
  const config = join(folder, 'edge.yaml')
  await writeFile(
    config,
    `gateway: gateway-7
mqtt: { port: 8884, tls: { ca: ca, cert: cert, key: key }, subscribe: ['fleet/{device}/#'] }
schemas: { folder: ${schemas}, unknownTypes: reject }
routes:
  - { topic: 'doors/{device}/{subject}/+', type: com.acme.door, lane: high }
  - { topic: 'logs/#', action: local }
uplink: { url: 'amqps://gateway-7:geheim@rabbit.acme.example:5671', partitions: 2 }
`,
  )
  const text = await runAsyncapi('--config', config)
  expect(text).not.toContain('geheim')
  const document = JSON.parse(text) as Document
  expect(document.servers).toMatchObject({
    gateway: { host: '{gateway}:8884' },
    rabbitmq: { host: 'rabbit.acme.example:5671', protocol: 'amqps' },
  })
  const addresses = addressesOf(document)
  for (const address of [
    'doors/{device}/{subject}/{level}',
    'logs/{rest}',
    'fleet/{device}/{rest}',
    'devices/{device}/events/com.acme.door',
    '{partition}.com.acme.door',
    '{group}.{partition}.v2',
    '{group}.retry.{delay}',
    '{group}.dead.v2',
  ])
    expect(addresses).toContain(address)
  expect(text).toContain('Lane: high.')
})

test('each schema has the dialect that it names; what no example can be made of has none', async () => {
  const draft07 = 'http://json-schema.org/draft-07/schema#'
  const schemas = await schemasOf('dialects', {
    'com.acme.old/1.json': { $schema: draft07, type: 'object', properties: { a: { type: 'number' } } },
    'com.acme.old/2.json': { type: 'string', pattern: '^[0-9]{4}$' },
    'com.acme.old/10.json': true,
  })
  const document = JSON.parse(await runAsyncapi('--schemas', schemas)) as Document
  const { schemas: components, messages } = document.components
  expect(components['com.acme.old.v1']).toEqual({
    schemaFormat: 'application/schema+json;version=draft-07',
    schema: { type: 'object', properties: { a: { type: 'number' } } },
  })
  expect(components['com.acme.old.v10']).toMatchObject({ schema: true })
  // A reference from one dialect into another leads nowhere.
  expect(JSON.stringify(messages['com.acme.old.v1']?.payload)).not.toContain('com.acme.old.v1')
  expect(JSON.stringify(messages['com.acme.old.v2']?.payload)).toContain('com.acme.old.v2/schema')
  expect(messages['com.acme.old.v1']?.examples).toHaveLength(1)
  expect(messages['com.acme.old.v2']?.examples).toBeUndefined()
  expect(Object.keys(document.channels['mqtt.devices-device-events-com.acme.old']?.messages ?? {})).toEqual([
    'com.acme.old.v1.data',
    'com.acme.old.v2.data',
    'com.acme.old.v10.data',
    'com.acme.old.v1.cloudevent',
    'com.acme.old.v2.cloudevent',
    'com.acme.old.v10.cloudevent',
    'com.acme.old.cloudevent',
  ])
  // The newest that takes it: all that the tenth does.
  expect(messages['com.acme.old.v1.data']?.examples).toBeUndefined()
})

test('a schema’s own examples are shown, those that conform', async () => {
  const examples = [{ celsius: 21 }, { celsius: 'warm' }, { celsius: 22 }]
  const schemas = await schemasOf('examples', {
    'com.acme.heat/1.json': { type: 'object', properties: { celsius: { type: 'number' } }, examples },
  })
  const { messages } = (JSON.parse(await runAsyncapi('--schemas', schemas)) as Document).components
  expect(messages['com.acme.heat.v1.data']?.examples?.map(({ payload }) => payload)).toEqual([
    { celsius: 21 },
    { celsius: 22 },
  ])
})

test('it is written where it is to be, and a page instead of it', async () => {
  const schemas = await schemasOf('written', {
    'com.acme.door/1.json': { title: '<script>alert(1)</script>' },
  })
  const [out, page] = [join(folder, 'asyncapi.json'), join(folder, 'page.html')]
  expect(await runAsyncapi('--schemas', schemas, '--out', out)).toBe('')
  expect(await readFile(out, 'utf8')).toBe(await runAsyncapi('--schemas', schemas))
  expect(await runAsyncapi('--schemas', schemas, '--html', page)).toBe('')
  const text = await readFile(page, 'utf8')
  expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
  expect(text).not.toContain('<script')
  for (const shown of ['com.acme.door', 'HTTP API of the cloud', '/v1/dead-letters'])
    expect(text).toContain(shown)
})

test('what cannot be made says why', async () => {
  const broken = await schemasOf('broken', { 'com.acme.door/1.json': { type: 'objekt' } })
  await expect(runAsyncapi('--schemas', broken)).rejects.toMatchObject({ code: 'SCHEMA_FOLDER' })
  await expect(runAsyncapi()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  await expect(runAsyncapi('--config', join(folder, 'none.yaml'))).rejects.toMatchObject({
    code: 'CONFIG_UNREADABLE',
  })
  const schemas = await schemasOf('unwritten', { 'com.acme.door/1.json': {} })
  for (const option of ['--out', '--html'])
    await expect(
      runAsyncapi('--schemas', schemas, option, join(folder, 'none', 'file')),
    ).rejects.toMatchObject({
      code: 'DOCUMENT_UNWRITABLE',
    })
  await expect(runAsyncapi('--config', 'a', '--schemas', 'b')).rejects.toMatchObject({
    code: 'commander.conflictingOption',
  })
})
