import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineConsumer, type HandledEvent, Unavailable } from '../../../../cloud/consumer.ts'
import { type TestConsumer, testConsumer } from '../../../../cloud/testing/testing.ts'
import { gate } from '../../../support/cloud/test-pipeline.ts'
import { createDatabase } from '../../../support/servers.ts'

const type = 'com.acme.climate'
const table =
  'create table alerts (number serial primary key, device text not null, at timestamptz, temperature numeric)'
const hot = { temperature: 71 }

const alerts = defineConsumer({
  group: 'alerts',
  events: { [type]: 2 },
  retry: ['5s', '1m'],
  async handle(event, { tx }) {
    const { temperature } = event.data as { temperature: number }
    if (temperature < 60) return
    await tx.query`insert into alerts (device, at, temperature) values (${event.device}, now(), ${temperature})`
  },
})

const number = (name: string): string =>
  JSON.stringify({ type: 'object', properties: { [name]: { type: 'number' } }, required: [name] })

const devices = (t: TestConsumer): Promise<unknown[]> => t.rows`select device from alerts order by number`

/** Where SQL is asked: in this process, or of a server. */
const places = [
  ['PGlite', () => Promise.resolve(undefined)],
  ['a server', () => createDatabase()],
] as const

describe.each(places)('a consumer in a test, with its tables in %s', { timeout: 300_000 }, (_, place) => {
  let t: TestConsumer
  beforeAll(async () => {
    const url = await place()
    t = await testConsumer(alerts, { sql: table, ...(url !== undefined && { database: url }) })
  })
  afterAll(() => t.close())

  test('has handled and committed what was given when given resolves', async () => {
    await t.given(type, [
      { device: 'boiler-7', data: hot },
      { device: 'boiler-8', data: { temperature: 12 } },
    ])
    expect(await t.rows`select device, at, temperature from alerts where device = ${'boiler-7'}`).toEqual([
      { device: 'boiler-7', at: new Date('2026-01-01T00:00:00Z'), temperature: '71' },
    ])
    expect(t).toMatchObject({ waiting: 0, deadLetters: [] })
  })

  test('has what fails tried again when time passes, and its dead letter at the end', async () => {
    await t.failing(new Error('the siren is out')).given(type, { id: 'lost', device: 'boiler-9', data: hot })
    await t.given(type, { device: 'boiler-9', data: { temperature: 72 } })
    expect(t.waiting).toBe(1)
    await t.advance('6s')
    expect(t).toMatchObject({ waiting: 1, deadLetters: [] })
    await t.advance('2m')
    expect(t.waiting).toBe(0)
    expect(t.deadLetters).toEqual([
      { id: 'lost', type, device: 'boiler-9', code: 'UNEXPECTED', message: 'the siren is out', attempts: 3 },
    ])
    expect(await t.rows`select temperature from alerts where device = 'boiler-9'`).toEqual([
      { temperature: '72' },
    ])
  })

  test('has its effect once where an attempt has failed', async () => {
    await t.failing(new Error('once'), 1).given(type, { device: 'boiler-10', data: hot })
    await t.advance('10s')
    expect(await t.rows`select count(*)::int as times from alerts where device = 'boiler-10'`).toEqual([
      { times: 1 },
    ])
  })

  test('is not handed what the edge would not let in, and it is said what is wrong', async () => {
    await expect(t.given(type, { data: { temprature: 71 } })).rejects.toMatchObject({
      code: 'SCHEMA_VIOLATION',
      message: expect.stringMatching(/breaks com\.acme\.climate\/2:.*temperature/) as string,
    })
    await expect(t.given('com.acme.power', { data: {} })).rejects.toMatchObject({ code: 'EVENT_UNWANTED' })
    await expect(t.advance('soon')).rejects.toMatchObject({ code: 'OPTIONS_INVALID' })
  })
})

describe('a consumer in a test', { timeout: 300_000 }, () => {
  test('is cut off at its timeout, which is over as soon as time is', async () => {
    const never = gate()
    const t = await testConsumer(
      { group: 'slow', types: ['#'], timeout: '10s', retry: [], handle: () => never.promise },
      { sql: table },
    )
    const given = t.given(type, { data: hot })
    await t.advance('11s')
    never.release()
    await given
    await t.advance('1s')
    expect(t.deadLetters).toMatchObject([{ code: 'HANDLER_TIMEOUT' }])
    await t.close()
  })

  test('waits for what is unavailable without an attempt that counts', async () => {
    let isThere = false
    const t = await testConsumer(
      {
        group: 'calls',
        types: ['#'],
        retry: [],
        async handle(event, { tx }) {
          if (!isThere) throw new Unavailable('the CRM is down')
          await tx.query`insert into alerts (device) values (${event.device})`
        },
      },
      { sql: table },
    )
    await t.given(type, { data: hot })
    await t.advance('10m')
    expect(t).toMatchObject({ waiting: 1, deadLetters: [] })
    isThere = true
    await t.advance('1m')
    expect(await devices(t)).toEqual([{ device: 'device-1' }])
    await t.close()
    await t.close()
  })

  test('is handed the version that it asks for, and what cannot be brought there is a dead letter', async () => {
    const schemas = mkdtempSync(join(tmpdir(), 'tidegate-schemas-'))
    mkdirSync(join(schemas, type, 'upcast'), { recursive: true })
    writeFileSync(join(schemas, type, '1.json'), number('celsius'))
    writeFileSync(join(schemas, type, '2.json'), number('temperature'))
    const handed: unknown[] = []
    const open = (): Promise<TestConsumer> =>
      testConsumer(
        {
          group: 'alerts',
          events: { [type]: 2 },
          handle: ({ dataschema, data }: HandledEvent) => void handed.push([dataschema, data]),
        } as never,
        { schemas },
      )
    const without = await open()
    await without.given(type, { version: 1, data: { celsius: 71 } })
    expect(without.deadLetters).toMatchObject([{ code: 'UPCAST_MISSING' }])
    await without.close()
    writeFileSync(
      join(schemas, type, 'upcast', '1-2.yaml'),
      '- rename: { path: /celsius, to: temperature }\n',
    )
    const t = await open()
    await t.given(type, { version: 1, data: { celsius: 71 } })
    expect(t).toMatchObject({ deadLetters: [], waiting: 0 })
    expect(handed).toEqual([[`${type}/2`, { temperature: 71 }]])
    const options = { outside: () => handed, reset: () => void handed.splice(0) }
    expect(await t.laws({ ...options, runs: 1, only: ['limits'] })).toMatchObject({ effective: 1 })
    await t.close()
    rmSync(schemas, { recursive: true })
  })

  test('whose tables cannot be made is none, and it is said why', async () => {
    await expect(testConsumer(alerts, { sql: 'create tabel alerts ()' })).rejects.toMatchObject({
      code: 'TEST_TABLES',
      message: expect.stringContaining('tabel') as string,
    })
  })
})
