import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Link, startLink } from '../../dev/stack/link.ts'
import { edgeConfigSchema } from '../../edge/config.ts'
import { runEdge, type StartedEdge } from '../../edge/main.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { signSnapshot } from '../../src/schemas/snapshot.ts'
import { type CloudBench, openCloudBench, type RunningCloud } from '../support/cloud/cloud.ts'
import { createTestPki, type TestPki } from '../support/edge/test-broker.ts'

const type = 'com.acme.climate'
const closed = (name: string): string =>
  JSON.stringify({
    type: 'object',
    required: [name],
    properties: { [name]: { type: 'number' } },
    additionalProperties: false,
  })
/** Version 2 takes nothing of version 1. */
const versionOne = { [`${type}/1.json`]: closed('temp') }
const versionTwo = {
  ...versionOne,
  [`${type}/2.json`]: closed('temperature'),
  [`${type}/upcast/1-2.yaml`]: '- rename: { path: /temp, to: temperature }',
}
const consumerOf = (version: number): string => `
export default {
  group: 'alerts',
  events: { '${type}': ${version} },
  async handle({ id, dataschema, data }, { tx }) {
    await tx.query('insert into public.alerts (id, dataschema, data) values ($1, $2, $3)', [id, dataschema, JSON.stringify(data)])
  },
}`

let root: string
let pki: TestPki
let bench: CloudBench
let link: Link
let cloud: RunningCloud | undefined
let edge: (StartedEdge & { stop(): Promise<void> }) | undefined
let revision: number
const registry = generateKeyPairSync('ed25519')
const credentials = new Map<string, Awaited<ReturnType<TestPki['device']>>>()

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'tidegate-versions-'))
  credentials.clear()
  revision = 0
  pki = await createTestPki()
  bench = await openCloudBench()
  await bench.rows('create table public.alerts (id text primary key, dataschema text, data jsonb)')
  await bench.rows('grant insert on public.alerts to public')
  const { hostname, port } = new URL(bench.url)
  link = await startLink({ target: { host: hostname, port: Number(port || 5672) } })
})
afterEach(async () => {
  await edge?.stop()
  edge = undefined
  cloud = undefined
  await bench.close()
  await link.close()
  await pki.close()
  rmSync(root, { recursive: true, force: true })
})

function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(root, 'schemas-'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

/** Where the gateway's schemas come from: a file that is replaced, as on a stick. */
const snapshotFile = (): string => join(root, 'schemas.snapshot')

function put(schemas: Readonly<Record<string, string>>): void {
  const files = new Map(Object.entries(schemas).map(([path, text]) => [path, Buffer.from(text)]))
  revision += 1
  const snapshot = { revision, madeTime: new Date().toISOString(), files }
  writeFileSync(`${snapshotFile()}.new`, signSnapshot(snapshot, registry.privateKey))
  renameSync(`${snapshotFile()}.new`, snapshotFile())
}

/** The gateway that runs has other schemas from here on. */
async function handToEdge(schemas: Readonly<Record<string, string>>): Promise<void> {
  put(schemas)
  await edge?.reload()
  const metrics = await (await fetch(`http://127.0.0.1:${edge?.opsPort}/metrics`)).text()
  expect(metrics).toMatch(new RegExp(`tidegate_edge_schemas_info\\{.*revision="${revision}".*\\} 1`))
}

async function startEdge(schemas: Readonly<Record<string, string>>): Promise<void> {
  put(schemas)
  const keys = join(root, 'registry.pub')
  writeFileSync(keys, registry.publicKey.export({ format: 'pem', type: 'spki' }))
  const stopping = new AbortController()
  const uplink = new URL(bench.url)
  uplink.hostname = '127.0.0.1'
  uplink.port = String(link.port)
  const config = edgeConfigSchema.parse({
    gateway: 'gateway-1',
    dataDir: join(root, 'edge'),
    mqtt: {
      host: '127.0.0.1',
      port: 0,
      tls: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile },
    },
    schemas: { snapshot: { file: snapshotFile(), keys } },
    outbox: { reserve: 0 },
    uplink: {
      url: uplink.href,
      partitions: bench.partitions,
      reconnect: { min: '50ms', max: '200ms' },
    },
    ops: { port: 0 },
  })
  let ended: Promise<void> = Promise.resolve()
  const started = await new Promise<StartedEdge>((resolve, reject) => {
    const parts = { clock: systemClock, random: Math.random, log: silentLog, signal: stopping.signal }
    ended = runEdge(config, { ...parts, onStarted: resolve })
    ended.catch(reject)
  })
  edge = {
    ...started,
    async stop() {
      stopping.abort()
      await ended
    },
  }
}

async function startCloud(schemas: Readonly<Record<string, string>>, wanted: number): Promise<void> {
  await cloud?.stop()
  const module = bench.module(consumerOf(wanted))
  cloud = await bench.start({
    schemas: { folder: folderOf(schemas) },
    consumers: ['history', { module }],
    gateways: { users: { 'gateway-1': [decodeURIComponent(new URL(bench.url).username)] } },
  })
}

/** Resolves when the reading is acknowledged. */
async function send(device: string, id: string, data: object): Promise<void> {
  const credential = credentials.get(device) ?? (await pki.device(device))
  credentials.set(device, credential)
  const url = `mqtts://127.0.0.1:${edge?.mqttPort}`
  const client = await connectAsync(url, { ...credential, reconnectPeriod: 0 })
  const event = { specversion: '1.0', id, source: 'x', type, data }
  await client.publishAsync(`devices/${device}/events/${type}`, JSON.stringify(event), { qos: 1 })
  await client.endAsync()
}

const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 50 })

const stored = (): Promise<object[]> =>
  bench.rows(`select id, disposition, dataschema, body->'data' as data from tidegate.events
              where source like '/devices/%' order by id`)
const handled = (): Promise<object[]> => bench.rows('select * from public.alerts order by id')
const as = (version: number, id: string, value: number): object => ({
  id,
  dataschema: `${type}/${version}`,
  data: version === 1 ? { temp: value } : { temperature: value },
})

async function expectStored(...events: readonly object[]): Promise<void> {
  const accepted = events.map((event) => ({ ...event, disposition: 'accepted' }))
  await until(async () => expect(await stored()).toEqual(accepted))
}

/** History says which readings were judged by which schemas: none in front of the event that names them (G8). */
async function expectJudgedInOrder(): Promise<void> {
  const rows = await bench.rows<{ revision: number | null; version: number | null }>(
    `select (body->'data'->>'revision')::int as revision, substring(dataschema from '[0-9]+$')::int as version
     from tidegate.events where type in ('dev.tidegate.schemas', '${type}') order by sequence`,
  )
  const named = rows.map(({ revision }) => revision)
  expect(named.filter((one) => one !== null)).toEqual([1, 2])
  const before = rows.slice(0, named.indexOf(2))
  expect(before.flatMap(({ version }) => version ?? [])).not.toContain(2)
}

async function expectNoLetter(): Promise<void> {
  expect(await bench.rows('select consumer_group, code, message from tidegate.dead_letters')).toEqual([])
}

describe('a fleet on two versions at once, of which the newer takes nothing of the older', () => {
  test('lives on when the edge has the newer one first, with the uplink down meanwhile: no dead letter, each device in order (G2, G5, G6)', async () => {
    await startCloud(versionOne, 1)
    await startEdge(versionOne)
    await send('old', '1', { temp: 20 })
    await expectStored(as(1, '1', 20))
    link.set({ kind: 'down' })
    await handToEdge(versionTwo)
    await send('new', '2', { temperature: 21 })
    await send('old', '3', { temp: 22 })
    await send('new', '4', { temperature: 23 })
    link.set({ kind: 'up' })
    // The cloud has never heard of version 2: the record has what the gateway checked, the group waits with that device alone.
    await expectStored(as(1, '1', 20), as(2, '2', 21), as(1, '3', 22), as(2, '4', 23))
    await until(async () => expect(await handled()).toEqual([as(1, '1', 20), as(1, '3', 22)]))
    const metrics = await (await fetch(`${cloud?.opsUrl}/metrics`)).text()
    expect(metrics).toMatch(new RegExp(`tidegate_cloud_schema_unknown_total\\{schema="${type}/2"\\} [1-9]`))
    await expectNoLetter()

    await startCloud(versionTwo, 2)
    await send('old', '5', { temp: 24 })
    const rest = [as(2, '2', 21), as(1, '3', 22), as(2, '4', 23), as(2, '5', 24)]
    await until(async () => expect(await handled()).toEqual([as(1, '1', 20), ...rest]))
    await expectNoLetter()
    await expectJudgedInOrder()
  }, 120_000)

  test('lives on when the cloud has the newer one first, with the uplink down meanwhile: no dead letter (G2, G5, G6)', async () => {
    await startCloud(versionTwo, 2)
    await startEdge(versionOne)
    await send('old', '1', { temp: 20 })
    await until(async () => expect(await handled()).toEqual([as(2, '1', 20)]))
    link.set({ kind: 'down' })
    await send('old', '2', { temp: 21 })
    await handToEdge(versionTwo)
    await send('new', '3', { temperature: 22 })
    await send('old', '4', { temp: 23 })
    link.set({ kind: 'up' })
    const all = [as(2, '1', 20), as(2, '2', 21), as(2, '3', 22), as(2, '4', 23)]
    await until(async () => expect(await handled()).toEqual(all))
    // What was said stays as it was said.
    await expectStored(as(1, '1', 20), as(1, '2', 21), as(2, '3', 22), as(1, '4', 23))
    await expectNoLetter()
    await expectJudgedInOrder()
  }, 120_000)
})
