import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openAuthority } from '../../../certs/authority.ts'
import { issueDevelopmentPki } from '../../../certs/development.ts'
import { revokeCertificates } from '../../../certs/revoke.ts'
import { checkEdge } from '../../../edge/check.ts'
import { type EdgeConfig, edgeConfigSchema } from '../../../edge/config.ts'
import { runEdge } from '../../../edge/main.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { cheapHash } from '../../support/edge/passwords.ts'
import { schemaFiles, schemaPlace } from '../../support/edge/signed-schemas.ts'

const dir = mkdtempSync(join(tmpdir(), 'tidegate-check-'))
const pki = join(dir, 'pki')
afterAll(() => rmSync(dir, { recursive: true, force: true }))
beforeAll(() => issueDevelopmentPki(pki, { devices: [], gateway: 'gateway-1' }))

const now = new Date()

interface Parts {
  cert?: string
  folder?: string
  dataDir?: string
  port?: number
  uplink?: object
  tls?: object
  listening?: object
}

function config({
  cert = 'edge',
  folder,
  dataDir = 'data',
  port = 0,
  uplink = {},
  tls = {},
  listening = {},
}: Parts = {}): EdgeConfig {
  return edgeConfigSchema.parse({
    gateway: 'gateway-1',
    dataDir: join(dir, dataDir),
    mqtt: {
      host: '127.0.0.1',
      port,
      tls: { ca: join(pki, 'ca.crt'), cert: join(pki, `${cert}.crt`), key: join(pki, `${cert}.key`), ...tls },
      ...listening,
    },
    schemas: { folder },
    uplink: { url: 'amqp://127.0.0.1:1', ...uplink },
    ops: { port: 0 },
  })
}

test('a gateway that would start is told so, and nothing is made', async () => {
  const { text, ok } = await checkEdge(config({ dataDir: 'not-there' }), now)
  expect(ok).toBe(true)
  expect(text.split('\n').at(-1)).toBe('It would start.')
  expect(text).toMatch(/ok +mqtt\.tls +CN=edge, until \d{4}-\d\d-\d\d \(8\d\d days left\)/)
  expect(text).toMatch(/ok +dataDir +\S+ will be made/)
})

test('everything that is in the way is told at once, each with what to do', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const uplink = { url: 'amqps://127.0.0.1', tls: { ca: join(pki, 'none.crt') } }
  const { text, ok } = await checkEdge(
    config({ cert: 'cloud', folder: join(dir, 'none'), dataDir: 'pki/ca.crt', port, uplink }),
    now,
  )
  server.close()
  expect(ok).toBe(false)
  for (const [what, code] of [
    ['mqtt.tls', 'TLS_WRONG_KIND'],
    ['uplink.tls', 'TLS_FILE_MISSING'],
    ['schemas.folder', 'SCHEMA_FOLDER'],
    ['dataDir', 'DATA_FOLDER_UNWRITABLE'],
    ['mqtt.port', 'PORT_TAKEN'],
  ] as const)
    expect(text).toMatch(new RegExp(`^FAULT ${what} +.*\\(${code}\\)\\n +\\S`, 'm'))
  expect(text.split('\n').at(-1)).toBe('It would not start: 5 faults.')
})

test('what works today and should be put right is a warning', async () => {
  const soon = new Date(now.getTime() + 800 * 86_400_000)
  const url = 'amqp://user:secret@192.0.2.1'
  const refused = await checkEdge(config({ uplink: { url } }), now)
  expect(refused.ok).toBe(false)
  expect(refused.text).toMatch(/^FAULT uplink\.tls .*leads to 192\.0\.2\.1 in clear.*CONNECTION_IN_CLEAR/m)
  const { text, ok } = await checkEdge(config({ uplink: { url, insecure: true } }), soon)
  expect(ok).toBe(true)
  expect(text).toMatch(/^warn +mqtt\.tls .*renew it/m)
  expect(text).toMatch(/^warn +uplink\.tls .*leads to 192\.0\.2\.1 in clear/m)
  expect(text).not.toContain('secret')
  expect(text.split('\n').at(-1)).toBe('It would start, 2 warnings.')
})

test('revocation lists and the file of who is denied are looked at: what is in them, and how long they last', async () => {
  const [denied, crl] = [join(dir, 'denied'), join(pki, 'ca.crl')]
  writeFileSync(denied, 'device a1\nserial 4a\nserial 4b\nend\n')
  const authority = await openAuthority(pki)
  await revokeCertificates(authority, [join(pki, 'cloud.crt')], { now, days: 7 })
  const sound = await checkEdge(config({ tls: { crl, denied } }), now)
  const day = new Date(now.getTime() + 7 * 86_400_000).toISOString().slice(0, 10)
  expect(sound.text).toMatch(new RegExp(`^ok +mqtt.tls.crl +1 revoked, next update ${day}`, 'm'))
  expect(sound.text).toMatch(/^ok +mqtt.tls.denied +1 devices and 2 serial numbers$/m)
  const later = new Date(now.getTime() + 8 * 86_400_000)
  const late = await checkEdge(config({ tls: { crl, denied, crlStale: 'refuse' } }), later)
  expect(late.text).toMatch(/^warn +mqtt.tls.crl .*out of date, and mqtt.tls.crlStale is refuse/m)
  writeFileSync(denied, 'device a1\n\nboiler\n')
  const faulty = await checkEdge(config({ tls: { crl: denied, denied } }), now)
  expect(faulty.ok).toBe(false)
  expect(faulty.text).toMatch(/^FAULT mqtt.tls.crl .*\(CRL_CORRUPT\)$/m)
  expect(faulty.text).toMatch(
    /^FAULT mqtt.tls.denied .*denied has lines that cannot be read: line 3: "boiler" \(DENIED_INVALID\)$/m,
  )
})

test('schema files of routes are looked at, with everything that is wrong with them', async () => {
  const schema = join(dir, 'reading.avsc')
  const route = { topic: 'x/{device}', type: 'com.acme.x' }
  writeFileSync(schema, '"double"')
  const given = config({})
  const sound = await checkEdge({ ...given, routes: [{ ...route, format: 'avro', schema }] }, now)
  expect(sound.text).toMatch(/^ok +routes +payloads as avro$/m)
  const routes = [
    { ...route, format: 'avro' as const, schema: [schema, join(dir, 'gone.avsc')] },
    { ...route, format: 'protobuf' as const, schema, message: 'M' },
  ]
  const faulty = await checkEdge({ ...given, routes }, now)
  expect(faulty.ok).toBe(false)
  expect(faulty.text).toMatch(
    /^FAULT routes [^]*routes\[0\][^\n]*gone\.avsc: ENOENT[^]*routes\[1\][^\n]*illegal[^]*PAYLOAD_SCHEMA/m,
  )
  const parts = { clock: systemClock, random: Math.random, log: silentLog, signal: AbortSignal.abort() }
  await expect(runEdge({ ...given, routes }, parts)).rejects.toMatchObject({ code: 'PAYLOAD_SCHEMA' })
})

test('a start names everything that is in its way at once', async () => {
  const uplink = { url: 'amqps://127.0.0.1', tls: { ca: join(pki, 'none.crt') } }
  const parts = { clock: systemClock, random: Math.random, log: silentLog, signal: AbortSignal.abort() }
  await expect(
    runEdge(config({ cert: 'cloud', folder: join(dir, 'none'), uplink }), parts),
  ).rejects.toMatchObject({
    code: 'START_FAULTS',
    message: expect.stringMatching(
      /^3 things[^]*TLS_WRONG_KIND[^]*hint[^]*TLS_FILE_MISSING[^]*SCHEMA_FOLDER/,
    ) as string,
  })
})

test('every listener is looked at, with those who may come in by a password', async () => {
  const users = join(dir, 'devices.yaml')
  writeFileSync(users, `pump-7: ${cheapHash('x')}\n`, { mode: 0o600 })
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const listeners = [
    { port: 0, auth: 'password', host: '127.0.0.1', tls: false },
    { port, auth: 'certificate', host: '127.0.0.1', websocket: true },
  ]
  const { text } = await checkEdge(config({ listening: { users, listeners } }), now)
  expect(text).toMatch(/^ok +mqtt\.users +1 devices have a password$/m)
  expect(text).toMatch(/^ok +mqtt\.listeners\[0\] /m)
  expect(text).toMatch(
    /^FAULT mqtt\.listeners\[1\] .*the MQTT listener \(certificate over wss\).*\(PORT_TAKEN\)$/m,
  )
  server.close()
  chmodSync(users, 0o644)
  const open = await checkEdge(config({ listening: { users } }), now)
  expect(open.text).toMatch(/^warn +mqtt\.users .*others may read their hashes: chmod 600/m)
  writeFileSync(users, 'pump-7: secret\n')
  const faulty = await checkEdge(config({ listening: { users } }), now)
  expect(faulty.text).toMatch(/^FAULT mqtt\.users .*line 1: it is not `ID: hash` \(USERS_INVALID\)$/m)
  expect(faulty.text).not.toContain('secret')
})

test('of a snapshot it is told what is kept, what lies in its file, and what a start would lack', async () => {
  const place = schemaPlace()
  const signer = place.signer('registry')
  const file = place.at('schemas.snapshot')
  const dataDir = place.at('data')
  const said = async (more: object = {}): Promise<string> => {
    const snapshot = { file, keys: [signer.publicFile] }
    const schemas = { ...config().schemas, snapshot, ...more }
    const { text } = await checkEdge({ ...config(), dataDir, schemas } as EdgeConfig, now)
    return text.split('\n').find((line) => line.includes('schemas.snapshot')) ?? ''
  }
  expect(await said()).toMatch(/^warn .*there is none yet/)
  expect(await said({ unknownTypes: 'reject' })).toMatch(/^FAULT .*SCHEMA_SNAPSHOT_MISSING/)
  place.write('data/schemas.snapshot', signer.sign(7, schemaFiles({ 1: 100 })))
  expect(await said()).toMatch(/^ok .*kept snapshot 7 of 2026-11-28.*1 event types/)
  place.write('schemas.snapshot', signer.sign(6, schemaFiles({ 1: 100 })))
  expect(await said()).toMatch(/^warn .*kept snapshot 7 .*snapshot 6 is refused: 7 is in use/)
  place.write('schemas.snapshot', signer.sign(8, schemaFiles({ 1: 100, 2: 200 })))
  expect(await said()).toMatch(/^ok .*in its file snapshot 8 .*kept snapshot 7/)
})
