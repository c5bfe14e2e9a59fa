import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Connection } from 'rabbitmq-client'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { publishLists } from '../../certs/lists/lists-rabbit.ts'
import { createAuthority } from '../../certs/authority.ts'
import { issueCertificate } from '../../certs/issue.ts'
import { type AmqpConnection, connectAmqp } from '../../cloud/amqp/connection-rabbit.ts'
import { edgeConfigSchema } from '../../edge/config.ts'
import type { ExchangeSession } from '../../edge/uplink/exchange.ts'
import { gatewayRights } from '../../dev/servers/rabbit/files.ts'
import { type RabbitServer, startRabbit } from '../../dev/servers/rabbit/rabbit.ts'
import { identifyByCertificate } from '../../src/amqp/by-certificate-rabbit.ts'
import { messageOf } from '../../src/errors.ts'
import { listsQueue, routingKey, wire } from '../../src/contract/wire.ts'
import { silentLog } from '../../src/log.ts'
import { type ClientTls, loadClientTls } from '../../src/settings/client-tls.ts'
import { Ledger } from '../support/cloud/cloud-events.ts'
import { testUplink } from '../support/edge/test-uplink.ts'

const partitions = 4
const all = { configure: '.*', write: '.*', read: '.*' }
let dir: string
let rabbit: RabbitServer
let cloud: AmqpConnection
let certificateOf: (name: string, ca?: 'infrastructure' | 'devices') => Promise<ClientTls>

const gateway = (name: string) => ({ name, password: 'unused', ...gatewayRights(name, partitions) })

/** As docs/OPERATIONS.md has it: no passwords, and a CA for brokers, gateways and clouds that signs no device. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-rights-'))
  const authorities = {
    infrastructure: await createAuthority(join(dir, 'infrastructure')),
    devices: await createAuthority(join(dir, 'devices')),
  }
  const { certFile: caFile } = authorities.infrastructure
  certificateOf = async (commonName, ca = 'infrastructure') => {
    const outDir = join(dir, ca)
    const { certFile, keyFile } = await issueCertificate(authorities[ca], {
      commonName,
      kind: 'client',
      outDir,
    })
    const { pair } = loadClientTls(
      { ca: authorities[ca].certFile, cert: certFile, key: keyFile },
      { where: 'here' },
    )
    return { ca: readFileSync(caFile), ...(pair && { pair }) }
  }
  const broker = await issueCertificate(authorities.infrastructure, {
    commonName: 'broker',
    kind: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    outDir: dir,
  })
  rabbit = await startRabbit({
    dir: join(dir, 'rabbit'),
    users: [
      { name: 'cloud', password: 'unused', permissions: all },
      gateway('gateway-1'),
      gateway('gateway-2'),
      gateway('gateway-3'),
      { name: 'lists', password: 'unused', permissions: documentedRights('lists') },
    ],
    tls: { caFile, certFile: broker.certFile, keyFile: broker.keyFile },
    plugins: ['rabbitmq_auth_mechanism_ssl'],
    extraConfig: 'auth_mechanisms.1 = EXTERNAL\nssl_cert_login_from = common_name\n',
    say: () => {},
  })
  cloud = await connectAmqp({ ...(await asCloud()), connectionName: 'test', log: silentLog })
  await cloud.client.exchangeDeclare({ exchange: wire.exchange, type: 'topic', durable: true })
  await cloud.client.queueDeclare({ queue: 'all', durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await cloud.client.queueBind({ queue: 'all', exchange: wire.exchange, routingKey: '#' })
}, 120_000)
afterAll(async () => {
  await cloud?.close()
  await rabbit?.close()
  rmSync(dir, { recursive: true, force: true })
})

/** As docs/OPERATIONS.md gives them. */
function documentedRights(user: string): { configure: string; write: string; read: string } {
  const text = readFileSync(new URL('../../docs/OPERATIONS.md', import.meta.url), 'utf8')
  const [, own = ''] = /^own='(tidegate\\\.lists.*)'$/m.exec(text) ?? []
  const line = new RegExp(`^rabbitmqctl set_permissions ${user} (['"].*)$`, 'm').exec(text)?.[1] ?? ''
  const [configure = '', write = '', read = ''] = line
    .split(' ')
    .map((one) => one.slice(1, -1).replace('$own\\$', `(${own})$`))
  return { configure, write, read }
}

const urlOf = (name: string): string => `amqps://${name}@localhost:${rabbit.tlsPort}`

async function asCloud(): Promise<{
  url: string
  auth: 'certificate'
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
}> {
  const { ca, pair } = await certificateOf('cloud')
  if (pair === undefined) throw new Error('no pair')
  return { url: urlOf('cloud'), auth: 'certificate', tls: { ca, cert: pair.cert, key: pair.key } }
}

/** A connection that shows this certificate, with whatever name in its URL; how it ends, if it does. */
async function connected(tls: ClientTls, name: string): Promise<Connection> {
  const connection = new Connection({
    url: urlOf(name),
    tls: { ca: tls.ca, cert: tls.pair?.cert, key: tls.pair?.key },
  })
  identifyByCertificate(connection)
  try {
    await new Promise<void>((resolve, reject) => {
      connection.once('connection', resolve)
      connection.once('error', reject)
    })
  } catch (error) {
    connection.on('error', () => {})
    connection.unsafeDestroy()
    throw error
  }
  connection.on('error', () => {})
  return connection
}

async function publishAs(connection: Connection, key: string, userId?: string): Promise<unknown> {
  const publisher = connection.createPublisher({ confirm: true, maxAttempts: 1 })
  try {
    await publisher.send({ exchange: wire.exchange, routingKey: key, ...(userId && { userId }) }, 'x')
    return undefined
  } catch (error) {
    return error
  }
}

describe('a gateway that is known by its certificate', () => {
  test('publishes without a password, as the user that the certificate names, and the cloud reads', async () => {
    const tls = await certificateOf('gateway-1')
    const uplink = testUplink({
      url: urlOf('gateway-1'),
      auth: 'certificate',
      tls: { current: () => tls },
      gateway: 'gateway-1',
    })
    const session = await uplink.connect(AbortSignal.timeout(20_000))
    const told = new Promise((resolve) => session.onOutcomes(resolve))
    const { event, text } = new Ledger().next('device-1')
    session.publish([
      {
        position: 1,
        sequence: 1,
        id: event.id,
        deviceId: 'device-1',
        recordedAtMs: 0,
        type: event.type,
        text,
      },
    ] as never)
    expect(await told).toMatchObject([{ kind: 'routed' }])
    await session.close()
    const channel = await cloud.client.acquire()
    const message = await channel.basicGet({ queue: 'all', noAck: true })
    expect(message).toMatchObject({ userId: 'gateway-1' })
    await channel.close()
  })

  test('is not let in by a certificate of the CA of devices, whatever name is in it', async () => {
    await expect(connected(await certificateOf('gateway-1', 'devices'), 'gateway-1')).rejects.toThrow(
      /alert|closed|ECONNRESET|EPIPE/i,
    )
  })

  test('is not let in with a password, or as a name that is no user', async () => {
    const { ca, pair } = await certificateOf('gateway-1')
    const byPassword = new Connection({
      url: `amqps://gateway-1:unused@localhost:${rabbit.tlsPort}`,
      tls: { ca, cert: pair?.cert, key: pair?.key },
    })
    const refused = await new Promise((resolve) => byPassword.once('error', resolve))
    byPassword.unsafeDestroy()
    expect(String(refused)).toMatch(/ACCESS_REFUSED|closed unexpectedly/i)
    await expect(connected(await certificateOf('stranger'), 'gateway-1')).rejects.toThrow(
      /ACCESS_REFUSED|refused/i,
    )
  })

  test('speaks in no other’s name, under no key that leads to no partition, and to no other exchange', async () => {
    const tls = await certificateOf('gateway-2')
    const own = routingKey(3, 'com.acme.climate')
    const outcome = async (key: string, userId: string): Promise<string> => {
      const connection = await connected(tls, 'gateway-1')
      const error = await publishAs(connection, key, userId)
      connection.unsafeDestroy()
      return error === undefined ? 'taken' : messageOf(error)
    }
    expect(await outcome(own, 'gateway-2')).toBe('taken')
    expect(await outcome(own, 'gateway-1')).toMatch(/PRECONDITION_FAILED|user_id/i)
    for (const key of ['04.com.acme.climate', '99.x', 'com.acme.climate', '00'])
      expect(await outcome(key, 'gateway-2')).toMatch(/ACCESS_REFUSED|refused/i)
  })

  test('reads the lists that are published for it, with the rights that are documented, and no other gateway’s', async () => {
    const tls = await certificateOf('lists')
    const gateways = ['gateway-1', 'gateway-2']
    expect(await publishLists('lists', { url: urlOf('lists'), auth: 'certificate', tls, gateways })).toBe(
      true,
    )
    const taken: string[] = []
    const own = await certificateOf('gateway-1')
    const read = (queue: string): Promise<ExchangeSession> =>
      testUplink({
        url: urlOf('gateway-1'),
        auth: 'certificate',
        tls: { current: () => own },
        gateway: 'gateway-1',
        lists: { queue, take: async (json) => (taken.push(Buffer.from(json).toString()), 'known') },
        log: {
          ...silentLog,
          info: () => {},
          warn: (about: object) => void taken.push(JSON.stringify(about)),
        } as never,
      }).connect(AbortSignal.timeout(20_000))
    for (const gateway of gateways) {
      const before = taken.length
      const session = await read(listsQueue(gateway))
      await vi.waitUntil(() => taken.length > before, 20_000)
      await session.close()
    }
    expect(taken).toEqual(['lists', expect.stringContaining('ACCESS_REFUSED')])
    const direct = await connected(own, 'gateway-1')
    const error = await direct
      .queueDelete({ queue: listsQueue('gateway-1') })
      .catch((fault: unknown) => fault)
    expect(messageOf(error)).toMatch(/ACCESS_REFUSED|refused/i)
    const forged = direct.createPublisher({ confirm: true, maxAttempts: 1 })
    const refused = await forged.send({ exchange: wire.lists }, 'x').catch((fault: unknown) => fault)
    expect(messageOf(refused)).toMatch(/ACCESS_REFUSED|refused/i)
    direct.unsafeDestroy()
  })

  test('has so many connections at a time', async () => {
    const tls = await certificateOf('gateway-3')
    const { limits } = gatewayRights('gateway-1', partitions)
    const open: Connection[] = []
    for (let count = 0; count < (limits?.connections ?? 0); count++)
      open.push(await connected(tls, 'gateway-3'))
    await expect(connected(tls, 'gateway-3')).rejects.toThrow(/limit|NOT_ALLOWED/i)
    for (const connection of open) connection.unsafeDestroy()
  })

  test('has a user in its URL and a certificate: a configuration without is refused', () => {
    const tls = { ca: 'ca', cert: 'cert', key: 'key' }
    const parse = (uplink: object) =>
      edgeConfigSchema.safeParse({ gateway: 'g', mqtt: { tls }, uplink: { auth: 'certificate', ...uplink } })
    expect(parse({ url: 'amqps://g@h', tls }).success).toBe(true)
    for (const uplink of [
      { url: 'amqps://h', tls },
      { url: 'amqps://g@h' },
      { url: 'amqps://g@h', tls: { ca: 'ca' } },
    ])
      expect(parse(uplink).success).toBe(false)
  })
})
