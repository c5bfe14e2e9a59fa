import { Client } from 'pg'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { runCloud } from '../../../cloud/main.ts'
import { startReplaying } from '../../../cloud/amqp/unroutable-rabbit.ts'
import { startLink } from '../../../dev/stack/link.ts'
import { systemClock } from '../../../src/clock.ts'
import { type Logger, silentLog } from '../../../src/log.ts'
import { type CloudBench, openCloudBench, startup } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

let bench: CloudBench
const cleanups: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  bench = await openCloudBench()
})
afterEach(async () => {
  await bench.close()
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout: 20_000 })

/** A log, and what it was told. */
function listen(): { log: Logger; lines: unknown[] } {
  const lines: unknown[] = []
  return { log: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }), lines }
}

describe('the start of the cloud', () => {
  test('a queue that takes none of what no queue had wanted does not end the start, and it is tried again', async () => {
    await bench.declareExchange()
    await bench.publish([new Ledger().next('device-1')])
    const broker = await connectAmqp({ url: bench.url, connectionName: 'test', log: silentLog })
    const full = { 'x-max-length': 0, 'x-overflow': 'reject-publish' } as const
    await broker.client.queueDeclare({ queue: 'full', arguments: full })
    await broker.client.queueBind({ queue: 'full', exchange: 'tidegate.events', routingKey: '#' })
    const { log, lines } = listen()
    const replaying = startReplaying({ connection: broker, clock: systemClock, log, retryDelayMs: 50 })
    await until(() => expect(lines.slice(0, 2)).toMatchObject([{ code: 'NACKED' }, { code: 'NACKED' }]))
    const cloud = await bench.start()
    await broker.client.queueDelete({ queue: 'full' })
    await until(async () => expect(await bench.rows('select id from tidegate.events')).toHaveLength(1))
    await replaying.close()
    await broker.close()
    await cloud.stop()
  })

  test('told to stop while RabbitMQ accepts and does not answer, a start ends at once', async () => {
    const url = new URL(bench.url)
    const link = await startLink({ target: { host: url.hostname, port: Number(url.port) } })
    cleanups.push(() => link.close())
    link.set({ kind: 'stalled' })
    url.host = `${link.host}:${link.port}`
    const told = new AbortController()
    const ended = runCloud(bench.config({ broker: { url: url.href } }), { ...startup, signal: told.signal })
    await until(() => expect(link.connections).toBe(1))
    told.abort()
    await ended
  }, 8_000)

  test('told to stop while another instance holds the lock on the schema, a start ends at once', async () => {
    const holder = new Client({ connectionString: bench.databaseUrl, application_name: 'frozen instance' })
    await holder.connect()
    cleanups.push(() => holder.end())
    await holder.query('select pg_advisory_lock(7441002871)')
    const told = new AbortController()
    const { log, lines } = listen()
    const asOwner = { database: { url: bench.databaseUrl } }
    const ended = runCloud(bench.config(asOwner), { ...startup, log, signal: told.signal })
    await until(() => expect(lines).toContainEqual(expect.objectContaining({ code: 'DATABASE_LOCKED' })))
    told.abort()
    await ended
  }, 8_000)

  test('told to stop while a consumer’s module never finishes loading, a start ends at once', async () => {
    const consumers = [
      { module: bench.module('globalThis.tidegateLoading = true; await new Promise(() => {})') },
    ]
    const told = new AbortController()
    const ended = runCloud(bench.config({ consumers }), { ...startup, signal: told.signal })
    await until(() => expect(globalThis).toHaveProperty('tidegateLoading'))
    told.abort()
    await ended
  }, 8_000)

  test('a lock on the schema that is not given back is one clear error, which names its holder', async () => {
    const holder = new Client({ connectionString: bench.databaseUrl, application_name: 'frozen instance' })
    await holder.connect()
    cleanups.push(() => holder.end())
    await holder.query('select pg_advisory_lock(7441002871)')
    const asOwner = { database: { url: bench.databaseUrl } }
    await expect(bench.start({ ...asOwner, startup: { timeout: '300ms' } })).rejects.toMatchObject({
      code: 'DATABASE_LOCKED',
      message: expect.stringMatching(/"frozen instance" \(PostgreSQL process \d+\)/) as string,
    })
  })
})
