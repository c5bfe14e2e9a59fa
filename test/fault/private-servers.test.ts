import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Client } from 'pg'
import { Connection, type ConnectionOptions } from 'rabbitmq-client'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type DevelopmentPki, issueDevelopmentPki } from '../../certs/development.ts'
import { isFree } from '../../dev/servers/ports.ts'
import { type PostgresServer, startPostgres } from '../../dev/servers/postgres/postgres.ts'
import { type RabbitServer, startRabbit } from '../../dev/servers/rabbit/rabbit.ts'
import { processesIn } from '../../dev/servers/strays.ts'
import { programFile } from '../support/program.ts'

const say = (): void => undefined
const all = { configure: '.*', write: '.*', read: '.*' }
const users = [{ name: 'admin', password: 'p/w:d@', permissions: all }]

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-servers-'))
  chmodSync(dir, 0o711)
})
afterAll(() => rmSync(dir, { recursive: true }))

function startParent(rabbitDir: string, postgresDir: string): ChildProcess {
  const args = [programFile('private-servers'), rabbitDir, postgresDir, JSON.stringify(users)]
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
}

describe('servers whose parent is killed', () => {
  test('leave no process and no open port, and their folders serve the next run', async () => {
    const rabbitDir = join(dir, 'orphan-rabbit')
    const postgresDir = join(dir, 'orphan-postgres')
    const parent = startParent(rabbitDir, postgresDir)
    if (!parent.stdout) throw new Error('no pipe from the parent')
    await once(createInterface({ input: parent.stdout }), 'line')

    const ports = [rabbitDir, postgresDir].flatMap(portsOf)
    expect(ports).toHaveLength(4)
    expect(await Promise.all(ports.map(isFree))).toEqual([false, false, false, false])
    await expect(startPostgres({ dir: postgresDir, say })).rejects.toMatchObject({ code: 'ALREADY_RUNNING' })
    await expect(startRabbit({ dir: rabbitDir, users, say })).rejects.toMatchObject({
      code: 'ALREADY_RUNNING',
    })

    parent.kill('SIGKILL')
    await once(parent, 'exit')
    await vi.waitFor(() => expect(processesIn(dir)).toEqual([]), { timeout: 20_000 })
    await vi.waitFor(async () => expect(await Promise.all(ports.map(isFree))).not.toContain(false))

    const next = await Promise.all([
      startRabbit({ dir: rabbitDir, users, say }),
      startPostgres({ dir: postgresDir, say }),
    ])
    expect([rabbitDir, postgresDir].flatMap(portsOf)).toEqual(ports)
    await Promise.all(next.map((server) => server.close()))
    expect(processesIn(dir)).toEqual([])
  }, 60_000)
})

describe('a private server', () => {
  const crashed = vi.fn<(cause: string) => void>()
  let pki: DevelopmentPki
  let rabbit: RabbitServer
  let postgres: PostgresServer

  beforeAll(async () => {
    pki = await issueDevelopmentPki(join(dir, 'pki'), { devices: [], gateway: 'gw' })
    const { certFile, keyFile } = pki.broker
    const tls = { caFile: pki.caFile, certFile, keyFile }
    ;[rabbit, postgres] = await Promise.all([
      startRabbit({ dir: join(dir, 'rabbit'), users, vhosts: ['other'], tls, say, onCrash: crashed }),
      startPostgres({ dir: join(dir, 'postgres'), say }),
    ])
  })
  afterAll(() => Promise.all([rabbit.close(), postgres.close()]))

  test('RabbitMQ speaks AMQPS to a client with a certificate of our authority', async () => {
    const tls = {
      ca: readFileSync(pki.caFile),
      cert: readFileSync(pki.gateway.certFile),
      key: readFileSync(pki.gateway.keyFile),
    }
    const declared = await withRabbit({ url: rabbit.tlsUrlFor('admin'), tls }, (connection) =>
      connection.queueDeclare({ queue: 'tls', exclusive: true }),
    )
    expect(declared.queue).toBe('tls')
  })

  test('RabbitMQ refuses AMQPS to a client without a certificate', async () => {
    const connection = new Connection({
      url: rabbit.tlsUrlFor('admin'),
      tls: { ca: readFileSync(pki.caFile) },
      retryLow: 60_000,
      retryHigh: 60_000,
    })
    const refused = await new Promise<Error>((resolve) => connection.once('error', resolve))
    expect(refused).toMatchObject({ code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' })
    await connection.close()
  })

  test('RabbitMQ has no user but those asked for', async () => {
    expect(await rabbit.ctl(['list_users', '-q', '--no-table-headers'])).toBe('admin\t[]\n')
  })

  test('RabbitMQ keeps its port and its data over a stop in good order', async () => {
    const url = rabbit.urlFor('admin', 'other')
    await withRabbit({ url }, (connection) => connection.queueDeclare({ queue: 'kept', durable: true }))
    await rabbit.stop()
    expect(rabbit.pid).toBeUndefined()
    expect(await isFree(rabbit.port)).toBe(true)
    await rabbit.start()
    await withRabbit({ url }, (connection) => connection.queueDeclare({ queue: 'kept', passive: true }))
  })

  test('RabbitMQ reports a death nobody asked for, and starts again', async () => {
    crashed.mockClear()
    await rabbit.start()
    if (rabbit.pid === undefined) throw new Error('RabbitMQ does not run')
    process.kill(rabbit.pid, 'SIGKILL')
    await vi.waitFor(() => expect(crashed).toHaveBeenCalledOnce(), { timeout: 10_000 })
    await rabbit.start()
    await withRabbit({ url: rabbit.urlFor('admin') }, (connection) =>
      connection.queueDeclare({ queue: 'after', exclusive: true }),
    )
  })

  test('PostgreSQL keeps what it committed over kill -9', async () => {
    const url = await postgres.createDatabase('kept "here"')
    await withPostgres(url, (client) => client.query('CREATE TABLE t AS SELECT 7 AS n'))
    await postgres.kill()
    expect(await isFree(postgres.port)).toBe(true)
    await postgres.start()
    const { rows } = await withPostgres(url, (client) => client.query<{ n: number }>('SELECT n FROM t'))
    expect(rows).toEqual([{ n: 7 }])
  })

  test('PostgreSQL makes a database once and is not troubled by being asked again', async () => {
    const url = await postgres.createDatabase('twice')
    expect(await postgres.createDatabase('twice')).toBe(url)
  })

  test('PostgreSQL lets nobody in without the password', async () => {
    const url = new URL(postgres.url)
    url.password = 'wrong'
    await expect(withPostgres(url.href, (client) => client.query('SELECT 1'))).rejects.toMatchObject({
      code: '28P01',
    })
  })
})

function portsOf(folder: string): number[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.port'))
  return files.map((name) => Number(readFileSync(join(folder, name), 'utf8')))
}

async function withRabbit<T>(
  options: ConnectionOptions,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = new Connection({ ...options, retryLow: 50 })
  try {
    await connection.onConnect(10_000)
    return await use(connection)
  } finally {
    await connection.close()
  }
}

async function withPostgres<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
