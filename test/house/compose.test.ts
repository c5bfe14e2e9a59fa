import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadCloudConfig } from '../../cloud/config.ts'
import { run } from '../../dev/servers/command.ts'
import { loadEdgeConfig } from '../../edge/config.ts'
import { loadTlsFiles } from '../../src/tls-files.ts'
import {
  mirrorQueue,
  formerPartitionQueues,
  partitionQueue,
  rungName,
  wire,
} from '../../src/contract/wire.ts'

const root = join(import.meta.dirname, '../..')
const volumes = mkdtempSync(join(tmpdir(), 'tidegate-compose-'))
const read = (name: string): string => readFileSync(join(volumes, name), 'utf8')
const filesIn = (name: string): string[] => readdirSync(join(volumes, name))
const prepare = () =>
  run({ file: process.execPath, args: [join(root, 'deploy/compose/prepare.mjs'), volumes] })
beforeAll(async () => {
  const { code, stderr } = await prepare()
  if (code !== 0) throw new Error(stderr)
})
afterAll(() => rmSync(volumes, { recursive: true, force: true }))

interface Compose {
  services: Record<string, { volumes: string[]; depends_on?: Record<string, unknown> }>
  volumes: Record<string, unknown>
}

describe('what the containers are given before they start', () => {
  test('is a configuration and certificates that each side accepts', () => {
    const passwords = JSON.parse(read('pki/passwords.json')) as Record<string, string>
    const edge = loadEdgeConfig(join(volumes, 'edge/edge.yaml'), {})
    const cloud = loadCloudConfig(join(volumes, 'cloud/cloud.yaml'), {})
    expect([edge.uplink.auth, cloud.broker.auth]).toEqual(['certificate', 'certificate'])
    expect(readFileSync(cloud.database.passwordFile ?? '', 'utf8')).toBe(passwords['database'])
    const migrate = loadCloudConfig(join(volumes, 'migrate/migrate.yaml'), {})
    expect(readFileSync(migrate.database.passwordFile ?? '', 'utf8')).toBe(passwords['migrator'])
    for (const { database } of [cloud, migrate])
      expect(database.url).toContain('sslmode=verify-full&sslrootcert=/etc/tidegate/infrastructure.crt')
    expect(edge.uplink.partitions).toBe(cloud.partitions)
    const pairs = [
      ['server', edge.mqtt.tls],
      ['client', edge.uplink.tls],
      ['client', cloud.broker.tls],
      ['server', { ca: 'infrastructure.crt', cert: 'rabbitmq.crt', key: 'rabbitmq.key' }],
      [
        'server',
        {
          ca: 'infrastructure.crt',
          cert: join(volumes, 'postgres/postgres.crt'),
          key: join(volumes, 'postgres/postgres.key'),
        },
      ],
    ] as const
    for (const [kind, { ca, cert, key } = {}] of pairs) {
      const at = (file = ''): string => (file.startsWith('/') ? file : join(volumes, 'rabbitmq', file))
      const files = { caFile: at(ca), certFile: at(cert), keyFile: at(key), where: 'here', kind }
      expect(() => loadTlsFiles(files)).not.toThrow()
    }
  })

  test('lets the gateway write to the exchange and the cloud use its own queues, and no more', () => {
    const { permissions } = JSON.parse(read('rabbitmq/definitions.json')) as {
      permissions: ({ user: string } & Record<'configure' | 'write' | 'read', string>)[]
    }
    const may = (user: string, right: 'configure' | 'write' | 'read', name: string): boolean =>
      new RegExp(permissions.find((one) => one.user === user)?.[right] ?? '^$').test(name)
    expect(may('gateway-1', 'write', 'tidegate-events')).toBe(false)
    const names = [
      wire.exchange,
      wire.unroutable,
      partitionQueue('history', 7),
      ...formerPartitionQueues('history', 7),
      rungName('my-alerts', 1_800_000),
      rungName('my-alerts', 400),
      mirrorQueue('my-alerts'),
    ]
    for (const right of ['configure', 'write', 'read'] as const) {
      for (const name of names) {
        expect(may('cloud', right, name)).toBe(true)
        expect(may('gateway-1', right, name)).toBe(right === 'write' && name === wire.exchange)
      }
      expect(may('cloud', right, 'somebody.else')).toBe(false)
    }
    // The default exchange takes dead letters to their queue.
    expect(may('cloud', 'write', 'amq.default')).toBe(true)
  })

  test('keeps its certificates and passwords when it is made again', async () => {
    const kept = [
      'pki/passwords.json',
      'pki/ca.crt',
      'edge/edge.crt',
      'rabbitmq/rabbitmq.crt',
      'edge/edge.yaml',
    ]
    const before = kept.map(read)
    expect(await prepare()).toMatchObject({ code: 0 })
    expect(kept.map(read)).toEqual(before)
  })

  test('gives the CA’s key to nobody, and the edge’s and cloud’s files to their owner only', () => {
    for (const name of ['edge', 'cloud', 'migrate', 'rabbitmq', 'postgres'])
      expect(filesIn(name)).not.toContain('ca.key')
    for (const name of ['edge', 'cloud', 'migrate'])
      for (const file of filesIn(name)) expect(statSync(join(volumes, name, file)).mode & 0o077).toBe(0)
  })

  test('is mounted where it belongs: every volume is declared and used, and only prepare sees the CA', () => {
    const compose = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as Compose
    const used = Object.entries(compose.services).flatMap(([service, { volumes }]) =>
      volumes.map((mount) => [service, mount.split(':')[0] as string] as const),
    )
    const named = used.filter(([, source]) => !source.startsWith('.'))
    expect(new Set(named.map(([, source]) => source))).toEqual(new Set(Object.keys(compose.volumes)))
    expect(named.filter(([, source]) => source === 'pki').map(([service]) => service)).toEqual(['prepare'])
    const { prepare: _, ...others } = compose.services
    for (const { depends_on } of Object.values(others)) expect(depends_on).toHaveProperty('prepare')
  })
})
