import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { createProgram, type Program } from '../../dev/stack/processes.ts'
import { freePort } from '../../dev/servers/ports.ts'
import { partitionName, partitionOf } from '../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from '../support/cloud/cloud.ts'
import { Ledger } from '../support/cloud/cloud-events.ts'

/** As docs/CONSUMERS.md has it: one file, nothing imported. It does what the event's data says. */
const consumer = `
export default {
  group: 'alerts',
  types: ['com.acme.climate'],
  retry: ['400ms', '800ms'],
  timeout: '300ms',
  async handle(event, { tx, log, attempt }) {
    log.info({ id: event.id, attempt }, 'trying')
    await tx.query('insert into alerts (id, attempt) values ($1, $2)', [event.id, attempt])
    if (attempt <= (event.data.failUntil ?? 0)) throw Object.assign(new Error('the siren is off'), { code: 'SIREN_OFF' })
    if (attempt <= (event.data.hangUntil ?? 0)) await new Promise(() => {})
  },
}`

const cli = join(import.meta.dirname, '../../dist/cli/tidegate.js')
const ledger = new Ledger()
let bench: CloudBench
let cloud: Program
let logFile: string
let ops: string

beforeAll(async () => {
  bench = await openCloudBench()
  await bench.rows('create table alerts (id text, attempt int)')
  const module = bench.module(consumer)
  const file = (name: string): string => join(dirname(module), name)
  const opsPort = await freePort()
  ops = `http://127.0.0.1:${opsPort}`
  logFile = file('cloud.log')
  writeFileSync(
    file('cloud.yaml'),
    stringify({
      instance: 'cloud-a',
      broker: { url: bench.url },
      gateways: { unvouched: 'accept' },
      database: { url: bench.config().database.url },
      partitions: bench.partitions,
      // Relative to the configuration file.
      consumers: ['history', { module: basename(module) }],
      ops: { port: opsPort },
    }),
  )
  cloud = createProgram({
    name: 'cloud',
    args: [cli, 'cloud', '--config', file('cloud.yaml')],
    logFile,
    readyUrl: `${ops}/readyz`,
  })
  await cloud.start()
})
afterAll(async () => {
  await cloud?.stop()
  await bench?.close()
})

const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout: 20_000 })

/** When each attempt began, ms, as the consumer's own log lines say. */
function attemptsAt(id: string): number[] {
  return readFileSync(logFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { msg: string; id?: string; time: string })
    .filter((line) => line.msg === 'trying' && line.id === id)
    .map(({ time }) => Date.parse(time))
}

const effects = (id: string): Promise<object[]> =>
  bench.rows('select attempt from alerts where id = $1', [id])

describe('a consumer in one file, in a cloud process of its own', () => {
  test('that fails twice and then succeeds makes three attempts at the ladder’s delays, and one effect (G4)', async () => {
    const event = ledger.next('device-1', { data: { failUntil: 2 } })
    await bench.publish([event])
    await until(async () => expect(await effects(event.event.id)).toEqual([{ attempt: 3 }]))
    await until(async () => expect(attemptsAt(event.event.id)).toHaveLength(3))
    const [first = 0, second = 0, third = 0, ...more] = attemptsAt(event.event.id)
    expect(more).toEqual([])
    expect(second - first).toBeGreaterThanOrEqual(395)
    expect(third - second).toBeGreaterThanOrEqual(795)
    expect(third - first).toBeLessThan(5000)
  })

  test('that always fails leaves a dead letter that tells the whole story (G5)', async () => {
    const event = ledger.next('device-2', { data: { failUntil: 99 } })
    await bench.publish([event])
    await until(async () => expect(await bench.depth('alerts.dead.v2')).toBe(1))
    const letter = await bench.get('alerts.dead.v2')
    // The letter may be there before the last line of the log is.
    await until(async () => expect(attemptsAt(event.event.id)).toHaveLength(3))
    const attempts = attemptsAt(event.event.id)
    expect(String(letter?.body)).toBe(event.text)
    const headers = letter?.headers as Record<string, unknown>
    expect(headers).toMatchObject({
      'tidegate-group': 'alerts',
      'tidegate-instance': 'cloud-a',
      'tidegate-attempt': 3,
      'tidegate-error-code': 'SIREN_OFF',
      'tidegate-error-message': 'the siren is off',
      'tidegate-original-exchange': 'tidegate.events',
      'tidegate-original-routing-key': `${partitionName(partitionOf('device-2', bench.partitions))}.com.acme.climate`,
    })
    const firstAt = Date.parse(String(headers['tidegate-first-failed-at']))
    const lastAt = Date.parse(String(headers['tidegate-last-failed-at']))
    expect(firstAt - (attempts[0] ?? 0)).toBeLessThan(1000)
    expect(lastAt - (attempts[2] ?? 0)).toBeLessThan(1000)
    // Either wait alone would be 700 ms at the most; what says the time is two clocks.
    expect(lastAt - firstAt).toBeGreaterThanOrEqual(1100)
    expect(JSON.parse(String(headers['tidegate-failures']))).toMatchObject(
      [1, 2, 3].map((attempt) => ({ attempt, code: 'SIREN_OFF', message: 'the siren is off' })),
    )
    expect(await effects(event.event.id)).toEqual([])
  })

  test('that hangs is timed out and retried, and the same process goes on (G5)', async () => {
    const hung = ledger.next('device-3', { data: { hangUntil: 1 } })
    const next = ledger.next('device-3')
    const { pid } = cloud
    await bench.publish([hung, next])
    await until(async () => expect(await effects(hung.event.id)).toEqual([{ attempt: 2 }]))
    await until(async () => expect(await effects(next.event.id)).toEqual([{ attempt: 1 }]))
    const [first = 0, second = 0] = attemptsAt(hung.event.id)
    expect(second - first).toBeGreaterThanOrEqual(695)
    expect([cloud.pid, cloud.starts]).toEqual([pid, 1])
    expect((await fetch(`${ops}/readyz`)).status).toBe(200)
    const metrics = await (await fetch(`${ops}/metrics`)).text()
    expect(metrics).toContain(
      'tidegate_cloud_failures_total{group="alerts",consequence="park",code="HANDLER_TIMEOUT"} 1',
    )
  })
})
