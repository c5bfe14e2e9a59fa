import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { Connection, type SyncMessage } from 'rabbitmq-client'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { type CloudConfig, cloudConfigSchema } from '../../../cloud/config.ts'
import { runCloud } from '../../../cloud/main.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { migrateDatabase, type Standing } from '../../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import type { Migration } from '../../../cloud/database/migrations/migration.ts'
import { type StartupOptions, untilReachable } from '../../../cloud/startup.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { exchangeTopology } from '../../../cloud/amqp/topology.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { partitionOf, routingKey, wire } from '../../../src/contract/wire.ts'
import { type Encoded, postedTogether } from './cloud-events.ts'
import { createReadyDatabase, createRoles, createVhost, type Role, urlAs } from '../servers.ts'

/** For what is there already. */
export const startup: StartupOptions = {
  timeoutMs: 10_000,
  clock: systemClock,
  random: Math.random,
  log: silentLog,
  signal: new AbortController().signal,
}

/** As a cloud that starts does it: waits for others who are at it. */
export function migrated(database: Database, steps: readonly Migration[] = migrations): Promise<Standing> {
  return untilReachable(() => migrateDatabase(database, steps, startup), startup)
}

export interface RunningCloud {
  opsUrl: string
  /** Rejects with the cloud's own error. */
  stop(): Promise<void>
}

/** A vhost, a database, and whatever a test does with them. */
export interface CloudBench {
  url: string
  /** As a superuser; the cloud itself is the writer, to whom the schema is ready. */
  databaseUrl: string
  partitions: number
  config(more?: object): CloudConfig
  start(more?: object): Promise<RunningCloud>
  /** The exchange alone, as it is for a moment while a cloud starts for the first time. */
  declareExchange(): Promise<void>
  publish(events: readonly Encoded[]): Promise<void>
  /** As one message of this body, whatever it is. */
  publishBatch(
    events: readonly [Encoded, ...Encoded[]],
    more?: { compress?: boolean; body?: Buffer },
  ): Promise<void>
  rows<Row extends object>(sql: string, values?: unknown[]): Promise<Row[]>
  /** The dead letters of a group, the oldest first. */
  letters(group: string): Promise<LetterRow[]>
  get(queue: string): Promise<SyncMessage | undefined>
  depth(queue: string): Promise<number>
  /** Path of a consumer module with this source. */
  module(source: string): string
  close(): Promise<void>
}

export interface LetterRow {
  letter: string
  key: Buffer
  source: string | null
  id: string | null
  device: string | null
  gateway: string | null
  body: Buffer
  properties: Record<string, unknown>
  headers: Record<string, unknown>
  routing_key: string
  queue: string
  publisher: string | null
  fingerprint: string
  code: string
  message: string
  stack: string | null
  attempts: number
  failures: { attempt: number }[]
  instance: string
  version: string | null
  state: string
}

/** A connection is kept, which costs ten times what most questions do; nothing that one sets is there for the next. */
async function rowsOf<Row extends object>(pool: Pool, sql: string, values: unknown[] = []): Promise<Row[]> {
  const client = await pool.connect()
  let isClean = false
  try {
    const { rows } = await client.query<Row>(sql, values)
    await client.query('discard all')
    isClean = true
    return rows
  } finally {
    client.release(!isClean)
  }
}

async function madeReady(databaseUrl: string): Promise<string> {
  const urlOf = await createRoles(databaseUrl)
  const owner = poolOf({ url: urlOf('owner'), poolMax: 1, applicationName: 'test' })
  await migrated(owner)
  await owner.close()
  return databaseUrl
}

export async function openCloudBench(given: { databaseUrl?: string } = {}): Promise<CloudBench> {
  const url = await createVhost()
  const databaseUrl =
    given.databaseUrl === undefined ? await createReadyDatabase() : await madeReady(given.databaseUrl)
  const urlOf = (role: Role): string => urlAs(role, databaseUrl)
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-cloud-'))
  const partitions = 4
  const connection = new Connection({ url, frameMax: 131_072 })
  connection.on('error', () => {})
  const publisher = connection.createPublisher({ confirm: true, maxAttempts: 5 })
  const running = new Set<RunningCloud>()
  const pool = new Pool({ connectionString: databaseUrl, idleTimeoutMillis: 300 })
  pool.on('error', () => {})

  function config(more: object = {}): CloudConfig {
    return cloudConfigSchema.parse({
      broker: { url, insecure: true },
      // What publishes in tests is no gateway.
      gateways: { unvouched: 'accept' },
      database: { url: urlOf('writer'), insecure: true },
      partitions,
      instance: `test-${randomUUID().slice(0, 8)}`,
      retry: { ladder: ['300ms', '600ms'] },
      sharing: { beat: '200ms', goneAfter: '2s' },
      ops: { port: 0 },
      stop: { grace: '1s' },
      ...more,
    })
  }

  return {
    url,
    databaseUrl,
    partitions,
    config,
    async start(more) {
      const controller = new AbortController()
      let ended: Promise<void> = Promise.resolve()
      const opsPort = await new Promise<number>((resolve, reject) => {
        ended = runCloud(config(more), {
          clock: systemClock,
          random: Math.random,
          log: silentLog,
          signal: controller.signal,
          onStarted: (started) => resolve(started.opsPort),
        })
        ended.catch(reject)
      })
      const cloud: RunningCloud = {
        opsUrl: `http://127.0.0.1:${opsPort}`,
        async stop() {
          running.delete(cloud)
          controller.abort()
          await ended
        },
      }
      running.add(cloud)
      return cloud
    },
    async declareExchange() {
      const broker = await connectAmqp({ url, connectionName: 'test', log: silentLog })
      await declareTopology(broker, exchangeTopology())
      await broker.close()
    },
    async publish(events) {
      const [first, ...rest] = events.map(({ event, text }) => () => {
        const properties = {
          exchange: wire.exchange,
          routingKey: routingKey(partitionOf(event.partitionkey, partitions), event.type),
          durable: true,
          messageId: event.id,
          appId: event.gateway,
          contentType: wire.contentType,
        }
        return publisher.send(properties, Buffer.from(text))
      })
      // The first opens the channel; what is sent on an open channel stays in order without being awaited one by one.
      await first?.()
      await Promise.all(rest.map((send) => send()))
    },
    async publishBatch(events, { compress = false, body } = {}) {
      const { text, headers, properties } = postedTogether(events, partitions, compress)
      const [{ event }] = events
      const key = routingKey(partitionOf(event.partitionkey, partitions), event.type)
      await publisher.send(
        { exchange: wire.exchange, routingKey: key, headers: { ...headers }, ...properties, durable: true },
        body ?? text,
      )
    },
    rows: (sql, values) => rowsOf(pool, sql, values),
    letters: (group) =>
      rowsOf(pool, 'select * from tidegate.dead_letters where consumer_group = $1 order by letter', [group]),
    async get(queue) {
      const channel = await connection.acquire()
      const message = await channel.basicGet({ queue, noAck: true })
      await channel.close()
      return message
    },
    async depth(queue) {
      const channel = await connection.acquire()
      const { messageCount } = await channel.queueDeclare({ queue, passive: true })
      await channel.close()
      return messageCount
    },
    module(source) {
      const file = join(folder, `${randomUUID()}.mjs`)
      writeFileSync(file, source)
      return file
    },
    async close() {
      for (const cloud of running) await cloud.stop()
      await publisher.close()
      await connection.close()
      if (!pool.ending) await pool.end()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
