import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type PostgresServer, startPostgres } from '../../../dev/servers/postgres/postgres.ts'
import { headers } from '../../../src/contract/wire.ts'
import { type CloudProgram, startCloudProgram } from '../../support/cloud/cloud-program.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'

let bench: CloudBench
// The servers start with the first who asks: no test's time.
beforeAll(async () => (await openCloudBench()).close())
const cleanups: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  await bench.close()
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

const until = (check: () => void | Promise<void>, timeout = 20_000): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout })

/** Each attempt by event ID, ms of a steady clock; modules under test write it. */
const attempts = new Map<string, number[]>()
Object.assign(globalThis, { tidegateTestAttempts: attempts })

/** A consumer that does as the event's data says, and whose effect is a row. */
const effects = `
export default {
  group: 'effects',
  types: ['com.acme.climate'],
  timeout: '500ms',
  async handle(event, { tx, attempt, signal }) {
    const known = (globalThis.tidegateTestAttempts ??= new Map())
    known.set(event.id, [...(known.get(event.id) ?? []), performance.now()])
    await tx.query('insert into effects (device, sequence) values ($1, $2)', [event.partitionkey, event.sequence])
    const { failUntil = 0, hangUntil = 0, sleepUntil = 0 } = event.data
    if (attempt <= failUntil) throw Object.assign(new Error('the sensor is odd'), { code: 'SENSOR_ODD' })
    if (attempt <= hangUntil) await new Promise(() => {})
    if (attempt <= sleepUntil) await tx.query('select pg_sleep(60)')
  },
}`

async function openEffects(): Promise<{ consumers: object[] }> {
  bench = await openCloudBench()
  attempts.clear()
  await bench.rows(
    'create table effects (n bigint generated always as identity, device text, sequence bigint)',
  )
  return { consumers: [{ module: bench.module(effects) }] }
}

const stored = async (): Promise<number> =>
  Number((await bench.rows<{ count: string }>('select count(*) from tidegate.events'))[0]?.count)

const effectRows = (): Promise<{ device: string; sequence: string }[]> =>
  bench.rows('select device, sequence from effects order by n')

describe('the cloud on RabbitMQ and PostgreSQL', () => {
  test('a consumer that fails twice and then succeeds makes three attempts at the ladder’s delays, and one effect', async () => {
    const config = await openEffects()
    await bench.start(config)
    const event = new Ledger().next('device-1', { data: { failUntil: 2 } })
    await bench.publish([event])
    await until(async () => expect(await effectRows()).toHaveLength(1))
    const times = attempts.get(event.event.id) ?? []
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0))
    expect(times).toHaveLength(3)
    expect(waits[0]).toBeGreaterThan(290)
    expect(waits[1]).toBeGreaterThan(590)
    expect(Math.max(...waits)).toBeLessThan(2000)
    expect(await bench.letters('effects')).toEqual([])
  })

  test('a consumer that always fails leaves a dead letter with the whole story', async () => {
    const config = await openEffects()
    await bench.start({ ...config, instance: 'instance-a' })
    const event = new Ledger().next('device-1', { data: { failUntil: 99 } })
    await bench.publish([event])
    await until(async () => expect(await bench.depth('effects.dead.v2')).toBe(1))
    const letter = await bench.get('effects.dead.v2')
    expect(String(letter?.body)).toBe(event.text)
    expect(letter).toMatchObject({
      messageId: event.event.id,
      appId: 'gateway-1',
      contentType: 'application/cloudevents+json',
      durable: true,
    })
    expect(letter?.headers).toMatchObject({
      [headers.group]: 'effects',
      [headers.attempt]: 3,
      [headers.errorCode]: 'SENSOR_ODD',
      [headers.errorMessage]: 'the sensor is odd',
      [headers.originalExchange]: 'tidegate.events',
      [headers.originalRoutingKey]: expect.stringMatching(/^\d\d\.com\.acme\.climate$/) as string,
      [headers.instance]: 'instance-a',
    })
    const first = Date.parse(String(letter?.headers?.[headers.firstFailedAt]))
    const last = Date.parse(String(letter?.headers?.[headers.lastFailedAt]))
    expect(last - first).toBeGreaterThanOrEqual(890)
    expect(JSON.parse(String(letter?.headers?.[headers.failures]))).toHaveLength(3)
    expect(await effectRows()).toHaveLength(0)
  })

  test.each([
    ['that ignores its signal', { hangUntil: 1 }],
    ['in a query', { sleepUntil: 1 }],
  ])('a handler that hangs %s is timed out and retried, and its consumer lives on', async (_, data) => {
    const config = await openEffects()
    await bench.start(config)
    const ledger = new Ledger()
    await bench.publish([ledger.next('device-1', { data }), ledger.next('device-1'), ledger.next('device-2')])
    await until(async () => expect(await effectRows()).toHaveLength(3))
    expect(attempts.get('id-1')).toHaveLength(2)
    expect(await bench.letters('effects')).toEqual([])
  })

  test('history and rollups hold each event once, however often it is published (G4)', async () => {
    bench = await openCloudBench()
    const cloud = await bench.start()
    const ledger = new Ledger()
    const events = Array.from({ length: 50 }, (_, index) => ledger.next(`device-${index % 5}`))
    await bench.publish([...events, ...events])
    await until(async () => expect(await stored()).toBe(50))
    const rollups = (): Promise<object[]> =>
      bench.rows(`select sum(count)::int as count from tidegate.rollups where width = 'minute'`)
    await until(async () => expect(await rollups()).toEqual([{ count: 50 }]))
    const metrics = await (await fetch(`${cloud.opsUrl}/metrics`)).text()
    expect(metrics).toContain('tidegate_cloud_projection_events{projection="rollups",version="1"} 50')
    expect(metrics).not.toContain('device-')
    expect((await fetch(`${cloud.opsUrl}/readyz`)).status).toBe(200)
  })

  test('a data fault is a row with its reason in history, and a dead letter of every other group; a version that is not known here is none (G5)', async () => {
    bench = await openCloudBench()
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-schemas-'))
    cleanups.push(() => rmSync(folder, { recursive: true }))
    mkdirSync(join(folder, 'com.acme.climate'))
    writeFileSync(
      join(folder, 'com.acme.climate', '1.json'),
      '{"type":"object","properties":{"temperature":{"type":"number"}},"required":["temperature"]}',
    )
    const module = bench.module(`export default { group: 'other', types: ['#'], handle() {} }`)
    await bench.start({ schemas: { folder }, consumers: ['history', { module }] })
    const ledger = new Ledger()
    const dataschema = 'com.acme.climate/1'
    await bench.publish([
      ledger.next('device-1', { dataschema }),
      ledger.next('device-1', { dataschema, data: { temperature: 'warm' } }),
      ledger.next('device-1', { dataschema: 'com.acme.climate/2' }),
      ledger.next('device-1'),
    ])
    await until(async () => expect(await bench.depth('other.dead.v2')).toBe(1))
    await until(async () => expect(await bench.rows('select 1 from tidegate.events')).toHaveLength(4))
    const dispositions = await bench.rows<{ reason: string }>(
      'select sequence::int, disposition, reason from tidegate.events order by sequence',
    )
    expect(dispositions).toMatchObject([
      { sequence: 1, disposition: 'accepted' },
      { sequence: 2, disposition: 'dead', reason: expect.stringContaining('SCHEMA_VIOLATION') as string },
      { sequence: 3, disposition: 'accepted', reason: null },
      { sequence: 4, disposition: 'accepted' },
    ])
    expect(await bench.letters('history')).toEqual([])
  })

  test('full dead letters hold up nothing that history stores, with a fault or without, whoever has filled them (G5, G7)', async () => {
    bench = await openCloudBench()
    const cloud = await bench.start({ deadLetters: { max: 1 } })
    const ledger = new Ledger()
    const rejected = (device: string): Encoded =>
      ledger.next(device, { type: 'dev.tidegate.rejected', data: { reason: 'MALFORMED_JSON', detail: 'no' } })
    const one = ledger.next('flooding')
    await bench.publish([{ ...one, text: 'no event' }])
    const metrics = async (): Promise<string> => (await fetch(`${cloud.opsUrl}/metrics`)).text()
    await until(async () => expect(await metrics()).toContain('dead_letters_open{group="history"} 1'), 20_000)
    const healthy = ['device-1', 'device-2', 'device-3']
    const events = [
      ...Array.from({ length: 80 }, () => rejected('flooding')),
      ...healthy.map((device) => ledger.next(device)),
      ...healthy.map((device) => rejected(device)),
      ...healthy.map((device) => ledger.next(device)),
    ]
    await bench.publish(events)
    await until(async () =>
      expect(
        await bench.rows(
          'select disposition, count(*)::int as events from tidegate.events group by disposition order by disposition',
        ),
      ).toEqual([
        { disposition: 'accepted', events: 6 },
        { disposition: 'rejected', events: 83 },
      ]),
    )
    expect(await bench.letters('history')).toHaveLength(1)
    expect((await fetch(`${cloud.opsUrl}/readyz`)).status).toBe(200)
    const about = '{group="history",consequence="recorded",code="REJECTED_AT_EDGE"}'
    await until(async () => expect(await metrics()).toContain(`tidegate_cloud_failures_total${about} 83`))
  })

  test('a group that has as many open letters as it may waits, says so, and goes on when one is closed (G5, G7)', async () => {
    bench = await openCloudBench()
    const cloud = await bench.start({ consumers: ['history'], deadLetters: { max: 1 } })
    const ledger = new Ledger()
    const broken = () => bench.publish([{ ...ledger.next('device-1'), text: `no event ${Math.random()}` }])
    await broken()
    const metrics = async (): Promise<string> => (await fetch(`${cloud.opsUrl}/metrics`)).text()
    await until(async () => expect(await metrics()).toContain('dead_letters_open{group="history"} 1'), 20_000)
    await broken()
    const ready = async (): Promise<string> => (await fetch(`${cloud.opsUrl}/readyz`)).text()
    await until(async () => expect(await ready()).toContain('held by DEAD_LETTERS_FULL'), 20_000)
    expect(await bench.letters('history')).toHaveLength(1)
    await bench.rows(`update tidegate.dead_letters set state = 'discarded', closed_at = clock_timestamp()`)
    await until(async () => expect(await bench.letters('history')).toHaveLength(2), 20_000)
    await until(async () => expect(await ready()).not.toContain('DEAD_LETTERS_FULL'), 20_000)
  }, 60_000)

  test('two clouds share the partitions, keep each device in order, and one takes over when the other is killed (G6)', async () => {
    const config = await openEffects()
    const first = startCloudProgram({ ...bench.config(config), instance: 'a' })
    cleanups.push(() => first.kill())
    await first.started
    const second = startCloudProgram({ ...bench.config(config), instance: 'b' })
    cleanups.push(() => second.kill())
    await second.started
    const ledger = new Ledger()
    const round = (): Encoded[] =>
      Array.from({ length: 200 }, (_, index) => ledger.next(`device-${index % 20}`))
    await until(async () => {
      await bench.publish(round())
      expect([await held(first), await held(second)]).toEqual([2, 2])
    })
    await bench.publish(round())
    first.child.kill('SIGKILL')
    await until(async () => {
      await bench.publish(round())
      expect(await held(second)).toBe(4)
    })
    await until(async () => expect(await effectRows()).toHaveLength(ledger.sequence))
    const rows = await effectRows()
    expect(new Set(rows.map((row) => row.sequence)).size).toBe(ledger.sequence)
    const lastOf = new Map<string, number>()
    for (const { device, sequence } of rows) {
      expect(Number(sequence)).toBeGreaterThan(lastOf.get(device) ?? 0)
      lastOf.set(device, Number(sequence))
    }
  }, 60_000)

  test('while PostgreSQL is down events are held, and none is lost, repeated or charged with an attempt (G5)', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'tidegate-pg-'))
    chmodSync(dir, 0o711)
    const postgres: PostgresServer = await startPostgres({ dir: join(dir, 'pg'), say: () => undefined })
    cleanups.push(
      () => postgres.close(),
      () => rmSync(dir, { recursive: true }),
    )
    bench = await openCloudBench({ databaseUrl: postgres.url })
    const cloud = await bench.start()
    const ledger = new Ledger()
    const some = (): Encoded[] =>
      Array.from({ length: 300 }, (_, index) => ledger.next(`device-${index % 20}`))
    await bench.publish(some())
    const publishing = bench.publish(some())
    await postgres.kill()
    await publishing
    await until(async () => expect((await fetch(`${cloud.opsUrl}/readyz`)).status).toBe(503))
    await bench.publish(some())
    await postgres.start()
    await until(async () => expect(await stored()).toBe(900), 30_000)
    await until(async () => expect((await fetch(`${cloud.opsUrl}/readyz`)).status).toBe(200))
    expect(await bench.letters('history')).toEqual([])
    expect(await bench.depth('history.retry.300ms')).toBe(0)
    const metrics = await (await fetch(`${cloud.opsUrl}/metrics`)).text()
    expect(metrics).not.toMatch(/tidegate_cloud_failures_total\{/)
    const rollups = (): Promise<object[]> =>
      bench.rows(`select sum(count)::int as count from tidegate.rollups where width = 'minute'`)
    await until(async () => expect(await rollups()).toEqual([{ count: 900 }]))
  }, 90_000)

  test('events that were published before any queue was bound arrive all the same', async () => {
    bench = await openCloudBench()
    await bench.declareExchange()
    const ledger = new Ledger()
    await bench.publish(Array.from({ length: 20 }, (_, index) => ledger.next(`device-${index}`)))
    expect(await bench.depth('tidegate.unroutable')).toBe(20)
    await bench.start()
    await until(async () => expect(await stored()).toBe(20))
    await until(async () => expect(await bench.depth('tidegate.unroutable')).toBe(0))
  })

  test('what is not there at the start is one clear error', async () => {
    bench = await openCloudBench()
    const startup = { timeout: '300ms' }
    await expect(
      bench.start({ startup, database: { url: 'postgres://u:secret@127.0.0.1:1/none' } }),
    ).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringMatching(/127\.0\.0\.1:1\/none(?!.*secret)/) as string,
    })
    await expect(
      bench.start({ startup, broker: { url: 'amqp://u:secret@127.0.0.1:1' } }),
    ).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      message: expect.stringMatching(/127\.0\.0\.1:1(?!.*secret)/) as string,
    })
    await expect(
      bench.start({ consumers: [{ module: bench.module('export default 5') }] }),
    ).rejects.toMatchObject({
      code: 'CONSUMER_MODULE',
    })
    await expect(bench.start({ consumers: ['history', 'history'] })).rejects.toMatchObject({
      code: 'CONSUMER_INVALID',
    })
  })
})

/** Partitions that deliver to it. */
async function held(program: CloudProgram): Promise<number> {
  const metrics = await (await fetch(`${program.opsUrl()}/metrics`)).text()
  return Number(/tidegate_cloud_partitions_active\{group="effects"\} (\d+)/.exec(metrics)?.[1])
}
