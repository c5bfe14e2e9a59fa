import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cloudConfigSchema, loadCloudConfig } from '../../cloud/config.ts'
import { createDatabase as poolOf } from '../../cloud/database/database-postgres.ts'
import { runCloud } from '../../cloud/main.ts'
import { migrateCloud } from '../../cloud/migrate.ts'
import { run } from '../../dev/servers/command.ts'
import { edgeConfigSchema, loadEdgeConfig } from '../../edge/config.ts'
import { runEdge } from '../../edge/main.ts'
import { freshUrl, withPassword } from '../../src/settings/password-file.ts'
import { startup } from '../support/cloud/cloud.ts'
import { createTestPki, type TestPki } from '../support/edge/test-broker.ts'
import { testUplink } from '../support/edge/test-uplink.ts'
import { createDatabase, createVhost, rabbitmqctl } from '../support/servers.ts'

const tidegate = join(import.meta.dirname, '../../dist/cli/tidegate.js')
let dir: string
let pki: TestPki
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-secrets-'))
  pki = await createTestPki()
})
afterAll(async () => {
  await pki.close()
  rmSync(dir, { recursive: true, force: true })
})

function secret(name: string, text: string): string {
  const file = join(dir, name)
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

const side = (name: string, config: object): string => secret(name, JSON.stringify(config))

describe('what would be read on the way', () => {
  const inClear = { code: 'CONNECTION_IN_CLEAR' }
  test('keeps the edge, the cloud, a migration and an audit from starting', async () => {
    const mqtt = { tls: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile } }
    const gateway = edgeConfigSchema.parse({
      gateway: 'gateway-1',
      dataDir: join(dir, 'data'),
      mqtt,
      uplink: { url: 'amqp://gateway-1:secret@cloud.example' },
    })
    await expect(runEdge(gateway, startup)).rejects.toMatchObject(inClear)
    const broker = cloudConfigSchema.parse({ broker: { url: 'amqp://cloud:secret@cloud.example' } })
    await expect(runCloud(broker, startup)).rejects.toMatchObject(inClear)
    const management = cloudConfigSchema.parse({
      broker: { management: 'http://watcher:secret@cloud.example' },
    })
    await expect(runCloud(management, startup)).rejects.toMatchObject(inClear)
    const database = cloudConfigSchema.parse({ database: { url: 'postgres://u:secret@db.example/db' } })
    await expect(runCloud(database, startup)).rejects.toMatchObject(inClear)
    await expect(migrateCloud(database, startup)).rejects.toMatchObject(inClear)
    const args = [tidegate, 'audit', '--database', 'postgres://u@db.example/db?sslmode=no-verify']
    const { code, stderr } = await run({ file: process.execPath, args })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/proves nobody[^]*IN_CLEAR/) as string,
    })
  })

  test('is told in the log where it was asked for', async () => {
    const lines: unknown[] = []
    const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line)) })
    const config = cloudConfigSchema.parse({
      broker: { url: 'amqp://cloud:secret@[::ffff:127.0.0.1]:1', insecure: true },
      database: { url: 'postgres://u:secret@[::ffff:127.0.0.1]:1/db', insecure: true },
      startup: { timeout: '1s' },
    })
    await expect(runCloud(config, { ...startup, log })).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
    })
    const told = lines.filter((line) => (line as { code?: string }).code === 'CONNECTION_IN_CLEAR')
    expect(told).toHaveLength(2)
    expect(JSON.stringify(lines)).not.toContain('secret')
  })
})

describe('a password in a file of its own', () => {
  test('takes the place of the one in the URL, without the end of its line', () => {
    const file = secret('odd', 'a b:@/%#ß\n')
    const url = new URL(withPassword('amqps://gateway-1:old@cloud.example:5671/v', file))
    expect(decodeURIComponent(url.password)).toBe('a b:@/%#ß')
    expect(url.host + url.pathname).toBe('cloud.example:5671/v')
  })

  test('that is not there or empty is one clear error; one that goes later is the one of before', () => {
    const missing = join(dir, 'none')
    const unreadable = expect.objectContaining({ code: 'PASSWORD_FILE_UNREADABLE' }) as Error
    expect(() => withPassword('amqps://u@h', missing)).toThrow(unreadable)
    expect(() => withPassword('amqps://u@h', secret('empty', '\n'))).toThrow(unreadable)
    const file = secret('gone', 'first')
    const now = freshUrl('postgres://u@h/db', file)
    rmSync(file)
    expect(now()).toBe('postgres://u:first@h/db')
  })

  test('is the only one, wherever the URL has another', () => {
    const url = new URL(
      withPassword('postgres://u:old@h/db?password=older&sslmode=require', secret('only', 'new')),
    )
    expect(url.href).toBe('postgres://u:new@h/db?sslmode=require')
    expect(withPassword('postgres://%2Frun%2Fdb/db?user=u', secret('socket', 'new'))).toBe(
      'postgres://:new@%2Frun%2Fdb/db?user=u',
    )
  })

  test('that has no place in the URL, or is no text, is one clear error', () => {
    const file = secret('placeless', 'new')
    expect(() => withPassword('postgres:///db?host=/run/db&user=u', file)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        hint: expect.stringContaining('postgres://user@%2F') as string,
      }) as Error,
    )
    writeFileSync(file, Buffer.from([0x61, 0xff]))
    expect(() => withPassword('postgres://u@h/db', file)).toThrow(
      expect.objectContaining({ code: 'PASSWORD_FILE_UNREADABLE' }) as Error,
    )
  })

  test('is found from the folder of the configuration, on both sides', () => {
    const mqtt = { tls: { ca: 'ca.crt', cert: 'edge.crt', key: 'edge.key' } }
    const edge = side('edge.yaml', {
      gateway: 'gateway-1',
      mqtt,
      uplink: { url: 'amqps://gateway-1@h', passwordFile: 'uplink.password' },
    })
    expect(loadEdgeConfig(edge, {}).uplink.passwordFile).toBe(join(dir, 'uplink.password'))
    const cloud = side('cloud.yaml', { broker: { passwordFile: 'b' }, database: { passwordFile: '/run/d' } })
    const { broker, database } = loadCloudConfig(cloud, {})
    expect([broker.passwordFile, database.passwordFile]).toEqual([join(dir, 'b'), '/run/d'])
  })

  test('is read for each connection to PostgreSQL, so that a new one needs no restart', async () => {
    const admin = new Client(await createDatabase())
    await admin.connect()
    const name = `rotated_${process.pid}`
    await admin.query(`create role ${name} login password 'first'`)
    const file = secret('database', 'first\n')
    const { host, pathname } = new URL(`postgres://${admin.host}:${admin.port}/${admin.database}`)
    const database = poolOf({
      url: `postgres://${name}@${host}${pathname}`,
      passwordFile: file,
      poolMax: 1,
      applicationName: 'test',
    })
    const reconnected = async (): Promise<void> => {
      const client = await database.connect()
      client.release(true)
    }
    await reconnected()
    await admin.query(`alter role ${name} password 'second'`)
    await expect(reconnected()).rejects.toMatchObject({ code: 'DATABASE_REFUSED' })
    writeFileSync(file, 'second\n')
    await reconnected()
    await database.probe()
    await (await database.session()).end()
    await database.close()
    await admin.query(`drop role ${name}`)
    await admin.end()
  })

  test('is read for each session of the uplink', async () => {
    const vhost = new URL(await createVhost())
    const name = `gateway-${process.pid}`
    await rabbitmqctl('add_user', name, 'first')
    await rabbitmqctl('set_permissions', '-p', vhost.pathname.slice(1), name, '.*', '.*', '.*')
    vhost.username = name
    vhost.password = ''
    const passwordFile = secret('uplink', 'first')
    const uplink = testUplink({ url: vhost.href, passwordFile, exchange: 'amq.topic' })
    const signal = AbortSignal.timeout(60_000)
    await (await uplink.connect(signal)).close()
    await rabbitmqctl('change_password', name, 'second')
    writeFileSync(passwordFile, 'second')
    const again = await uplink.connect(signal)
    expect(again.blocked).toBe(false)
    await again.close()
    await rabbitmqctl('delete_user', name)
    // It is the first here that asks for a RabbitMQ, and runs rabbitmqctl five times.
  }, 90_000)
})

test.each(['u:secret@127.0.0.1:1/db', 'u@127.0.0.1:1/db?password=secret'])(
  'an audit that is given a password on its command line says that others see it (%s)',
  async (address) => {
    const args = [tidegate, 'audit', '--database', `postgres://${address}`]
    const { stderr } = await run({ file: process.execPath, args })
    expect(stderr).toMatch(/ps shows .*TIDEGATE_CLOUD__DATABASE__URL/)
    expect(stderr).not.toContain('secret')
  },
)

test('an audit that is given a URL asks nothing else of a configuration but whether it may go in clear', async () => {
  const args = [tidegate, 'audit', '--database', 'postgres://u@localhost.invalid:1/db?sslmode=disable']
  const ofCloud = { TIDEGATE_CLOUD__PARTITIONS: 'many', TIDEGATE_CLOUD__DATABASE__URL: 'none' }
  const audited = async (more: Record<string, string>): Promise<string> =>
    (await run({ file: process.execPath, args, env: { ...process.env, ...ofCloud, ...more } })).stderr
  expect(await audited({})).toContain('CONNECTION_IN_CLEAR')
  expect(await audited({ TIDEGATE_CLOUD__DATABASE__INSECURE: 'true' })).toContain('DATABASE_UNREACHABLE')
})

test.each(['false', 'off', 'require', ''])(
  'a URL of PostgreSQL whose ssl=%s the driver does not know is refused, and not taken for TLS',
  (ssl) => {
    const url = `postgres://u@db.example/db?ssl=${ssl}`
    expect(() => poolOf({ url, poolMax: 1, applicationName: 'test' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error,
    )
  },
)
