import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { registerAsyncapiCommand } from '../../../cli/asyncapi/command.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-asyncapi-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function run(...argv: string[]): Promise<string> {
  const written: string[] = []
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written.push(String(text))
    return true
  })
  try {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} })
    registerAsyncapiCommand(program)
    for (const command of program.commands) command.exitOverride()
    await program.parseAsync(['asyncapi', ...argv], { from: 'user' })
  } finally {
    spy.mockRestore()
  }
  return written.join('')
}

interface Document {
  servers: Record<string, { host: string; protocol: string }>
  channels: Record<string, { address: string; messages: object; 'x-tidegate-type'?: string }>
  components: {
    schemas: Record<string, { schemaFormat: string; schema: unknown }>
    messages: Record<string, { payload: { schema: { allOf: unknown[] } }; examples?: { payload: unknown }[] }>
  }
}

async function schemasOf(name: string, files: Readonly<Record<string, unknown>>): Promise<string> {
  const path = join(folder, name)
  for (const [file, schema] of Object.entries(files)) {
    await mkdir(join(path, file, '..'), { recursive: true })
    await writeFile(join(path, file), JSON.stringify(schema))
  }
  return path
}

const addressesOf = ({ channels }: Document): string[] =>
  Object.values(channels).map(({ address }) => address)

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
  const text = await run('--config', config)
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
  // Types that have no schema are quarantined there.
  expect(addresses).not.toContain('devices/{device}/events/{type}')
  expect(text).toContain('Lane: high.')
})

test('each schema has the dialect that it names; what no example can be made of has none', async () => {
  const draft07 = 'http://json-schema.org/draft-07/schema#'
  const schemas = await schemasOf('dialects', {
    'com.acme.old/1.json': { $schema: draft07, type: 'object', properties: { a: { type: 'number' } } },
    'com.acme.old/2.json': { type: 'string', pattern: '^[0-9]{4}$' },
    'com.acme.old/10.json': true,
  })
  const document = JSON.parse(await run('--schemas', schemas)) as Document
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
  // The newest may come as plain data.
  expect(Object.keys(document.channels['mqtt.devices-device-events-com.acme.old']?.messages ?? {})).toEqual([
    'com.acme.old.v1.cloudevent',
    'com.acme.old.v2.cloudevent',
    'com.acme.old.v10.data',
    'com.acme.old.v10.cloudevent',
  ])
})

test('a schema’s own examples are shown, those that conform', async () => {
  const examples = [{ celsius: 21 }, { celsius: 'warm' }, { celsius: 22 }]
  const schemas = await schemasOf('examples', {
    'com.acme.heat/1.json': { type: 'object', properties: { celsius: { type: 'number' } }, examples },
  })
  const { messages } = (JSON.parse(await run('--schemas', schemas)) as Document).components
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
  expect(await run('--schemas', schemas, '--out', out)).toBe('')
  expect(await readFile(out, 'utf8')).toBe(await run('--schemas', schemas))
  expect(await run('--schemas', schemas, '--html', page)).toBe('')
  const text = await readFile(page, 'utf8')
  expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
  expect(text).not.toContain('<script')
  for (const shown of ['com.acme.door', 'HTTP API of the cloud', '/v1/dead-letters'])
    expect(text).toContain(shown)
})

test('what cannot be made says why', async () => {
  const broken = await schemasOf('broken', { 'com.acme.door/1.json': { type: 'objekt' } })
  await expect(run('--schemas', broken)).rejects.toMatchObject({ code: 'SCHEMA_FOLDER' })
  await expect(run()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  await expect(run('--config', join(folder, 'none.yaml'))).rejects.toMatchObject({
    code: 'CONFIG_UNREADABLE',
  })
  const schemas = await schemasOf('unwritten', { 'com.acme.door/1.json': {} })
  for (const option of ['--out', '--html'])
    await expect(run('--schemas', schemas, option, join(folder, 'none', 'file'))).rejects.toMatchObject({
      code: 'DOCUMENT_UNWRITABLE',
    })
  await expect(run('--config', 'a', '--schemas', 'b')).rejects.toMatchObject({
    code: 'commander.conflictingOption',
  })
})
