import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { applySchemas } from '../../../cloud/schemas/apply/apply.ts'
import { systemClock } from '../../../src/clock.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { useFolder } from '../../support/kept-folder.ts'

const until = <T>(check: () => Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 30_000, interval: 100 })
const at = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href)

const effects = `
import { defineConsumer } from ${at('../../../cloud/pipeline/consumer.ts')}
export default defineConsumer({
  group: 'effects',
  events: { 'com.acme.climate': 2 },
  async handle(event, { tx }) {
    await tx.query('insert into public.effects (device, data) values ($1, $2)', [event.partitionkey, JSON.stringify(event.data)])
  },
})
`
const derived = `
import { defineProjection } from ${at('../../../cloud/projections/definition.ts')}
export default defineProjection({
  name: 'climates',
  version: 1,
  events: { 'com.acme.climate': 2 },
  tables: 'create table climates (device text primary key, data json)',
  async apply(events, { tx }) {
    for (const { partitionkey, data } of events)
      await tx.query('insert into climates values ($1, $2)', [partitionkey, JSON.stringify(data)])
  },
})
`

const schemaOf = (...names: string[]): object => ({
  type: 'object',
  properties: Object.fromEntries(names.map((name) => [name, { type: 'number' }])),
  required: [names[0]],
})

const root = useFolder('tidegate-reload-')
let bench: CloudBench
let database: Database
beforeEach(async () => {
  bench = await openCloudBench()
  await bench.rows(
    'create table public.effects (n bigint generated always as identity, device text, data json); grant select, insert on public.effects to public',
  )
  database = poolOf({ url: bench.config().database.url, poolMax: 2, applicationName: 'test' })
})
afterEach(async () => {
  await bench.close()
  await database.close()
})

async function apply(files: Readonly<Record<string, unknown>>): Promise<void> {
  const texts = Object.entries(files).map(
    ([path, content]) =>
      [path, Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))] as const,
  )
  const by = { actor: 'local:ada', roles: ['registrar'] }
  const request = { files: new Map(texts) }
  const { outcome, judged } = await applySchemas(
    { key: randomUUID(), by, reason: 'test', request },
    {
      storage: postgresStorage(database),
      clock: systemClock,
      random: Math.random,
      signal: new AbortController().signal,
      formats: 'checked',
    },
  )
  expect(outcome, JSON.stringify(judged?.checked)).toBe('applied')
}

const start = (folder?: string) =>
  bench.start({
    consumers: ['history', { module: bench.module(effects) }],
    projections: [{ module: bench.module(derived) }],
    schemas: { registry: 'database', folder },
  })

const effectsNow = () =>
  bench.rows<{ device: string; data: object }>('select device, data from public.effects order by n')
const derivedNow = () =>
  bench.rows<{ device: string; data: object }>('select device, data from projection.climates order by device')
const waiting = async (...devices: string[]): Promise<void> => {
  await until(async () =>
    expect(
      await bench.rows(
        `select device from tidegate.parked_devices where code = 'SCHEMA_UNKNOWN' order by device`,
      ),
    ).toEqual(devices.map((device) => ({ device }))),
  )
}

test('a version that is applied is used by a cloud that runs: what waited for it goes on by itself, and nothing became a letter (G5, G6)', async () => {
  await apply({ 'com.acme.climate/1.json': schemaOf('temperature') })
  await apply({ 'com.acme.climate/2.json': schemaOf('temperature', 'pressure') })
  const cloud = await start()
  const ledger = new Ledger()
  const newer = { dataschema: 'com.acme.climate/3', data: { temperature: 1, humidity: 7 } }
  await bench.publish([
    ledger.next('device-1', newer),
    ledger.next('device-2', { dataschema: 'com.acme.climate/1', data: { temperature: 2 } }),
  ])
  await until(async () =>
    expect(await effectsNow()).toEqual([{ device: 'device-2', data: { temperature: 2 } }]),
  )
  await waiting('device-1')
  await until(async () =>
    expect(await bench.rows(`select state from tidegate.projection_versions`)).toEqual([{ state: 'halted' }]),
  )
  expect(await (await fetch(`${cloud.opsUrl}/metrics`)).text()).toContain('tidegate_cloud_schemas_revision 2')

  await apply({ 'com.acme.climate/3.json': schemaOf('temperature', 'pressure', 'humidity') })
  await until(async () =>
    expect(await effectsNow()).toMatchObject([
      { device: 'device-2' },
      { device: 'device-1', data: { temperature: 1 } },
    ]),
  )
  await until(async () =>
    expect((await derivedNow()).map(({ device }) => device)).toEqual(['device-1', 'device-2']),
  )
  expect(await (await fetch(`${cloud.opsUrl}/metrics`)).text()).toContain('tidegate_cloud_schemas_revision 3')
  const ready = (await (await fetch(`${cloud.opsUrl}/readyz`)).json()) as {
    checks: Record<string, { detail: string }>
  }
  expect(ready.checks['schemas']?.detail).toMatch(/^revision 3, 1 types, [0-9a-f]{12}$/)
  expect(await bench.letters('effects')).toEqual([])
  await cloud.stop()
})

test('code of an upcaster is taken from the folder, as it was published, and from nowhere else: what needs it waits, and nothing else', async () => {
  const code = 'export default ({ t }) => ({ temperature: t })'
  await apply({ 'com.acme.climate/1.json': schemaOf('t') })
  await apply({
    'com.acme.climate/2.json': schemaOf('temperature'),
    'com.acme.climate/upcast/1-2.js': code,
    'com.acme.climate/upcast/1-2.cases.json': [{ from: { t: 1 }, to: { temperature: 1 } }],
  })
  const file = join(root, 'com.acme.climate/upcast/1-2.js')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, 'export default () => ({ temperature: 666 })')
  const cloud = await start(root)
  const ledger = new Ledger()
  await bench.publish([
    ledger.next('device-1', { dataschema: 'com.acme.climate/1', data: { t: 1 } }),
    ledger.next('device-2', { dataschema: 'com.acme.climate/2', data: { temperature: 2 } }),
  ])
  await until(async () =>
    expect(await effectsNow()).toEqual([{ device: 'device-2', data: { temperature: 2 } }]),
  )
  await waiting('device-1')
  expect(await (await fetch(`${cloud.opsUrl}/metrics`)).text()).toContain(
    'tidegate_cloud_schemas_absent_code 1',
  )
  writeFileSync(file, code)
  await until(async () =>
    expect(await effectsNow()).toMatchObject([
      { device: 'device-2' },
      { device: 'device-1', data: { temperature: 1 } },
    ]),
  )
  expect(await bench.letters('effects')).toEqual([])
  await cloud.stop()
})
