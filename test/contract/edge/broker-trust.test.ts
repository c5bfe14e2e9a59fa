import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { MqttClient } from 'mqtt'
import { afterEach, expect, test } from 'vitest'
import { openAuthority } from '../../../certs/authority.ts'
import { issueCertificate } from '../../../certs/issue.ts'
import { revokeCertificates, type RevocationOptions } from '../../../certs/revoke.ts'
import { systemClock } from '../../../src/clock.ts'
import { createIntermediateCa } from '../../support/edge/intermediate-ca.ts'
import {
  createTestPki,
  startTestBroker,
  type TestBroker,
  type TestBrokerOptions,
  type TestPki,
} from '../../support/edge/test-broker.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const dayMs = 86_400_000
const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

interface Place extends TestBroker {
  pki: TestPki
  clock: FakeClock
  files: { ca: string; cert: string; key: string; crl: string; denied: string }
  revoke: (ids: string[], options?: RevocationOptions) => Promise<unknown>
  /** Time passes until the files were read again so often. */
  reloaded: (times: number) => Promise<void>
}

interface PlaceOptions extends TestBrokerOptions {
  /** Before the start. */
  prepare?: (place: Pick<Place, 'pki' | 'revoke' | 'files'>) => Promise<unknown>
  realTime?: boolean
}

/** A CA of its own with an empty list, and a broker that goes by its files. */
async function place({ prepare, realTime = false, ...options }: PlaceOptions = {}): Promise<Place> {
  const pki = await createTestPki()
  closers.push(() => pki.close())
  const authority = await openAuthority(dirname(pki.caFile))
  const revoke: Place['revoke'] = (ids, options) =>
    revokeCertificates(
      authority,
      ids.map((id) => join(pki.folder, 'issued', `${id}.crt`)),
      options,
    )
  await revoke([])
  const files = {
    ca: pki.caFile,
    cert: pki.edge.certFile,
    key: pki.edge.keyFile,
    crl: join(authority.dir, 'ca.crl'),
    denied: join(pki.folder, 'denied.txt'),
  }
  await writeFile(files.denied, '')
  await prepare?.({ pki, revoke, files })
  const clock = new FakeClock(Date.now())
  const broker = await startTestBroker(pki, {
    files,
    ...options,
    options: { clock: realTime ? systemClock : clock, ...options.options },
  })
  closers.push(() => broker.close())
  const reloaded = (times: number): Promise<void> => clock.until(() => broker.seen.reloads.length >= times)
  return { ...broker, pki, clock, files, revoke, reloaded }
}

const refusal = (broker: TestBroker, tls: object): Promise<void> =>
  expect(broker.connect(tls))
    .rejects.toThrow(refusedByTls)
    .then(() => broker.when(({ refused }) => refused.length > 0))

/** Whether the socket closes before or after the client has seen the end of the handshake. */
const refusedByTls = /closed|ECONNRESET|disconnected/

const closed = (client: MqttClient): Promise<void> =>
  new Promise((resolve) => {
    if (client.connected) client.once('close', () => resolve())
    else resolve()
  })

const publish = (client: MqttClient, device: string): Promise<unknown> =>
  client.publishAsync(`devices/${device}/events/com.acme.climate`, '{"temperature":1}', { qos: 1 })

test('a certificate on the list is refused, by its reason and its name, and another is let in', async () => {
  let bad = {}
  const here = await place({
    async prepare({ pki, revoke }) {
      bad = await pki.device('bad')
      await revoke(['bad'])
    },
  })
  await refusal(here, bad)
  expect(here.seen.refused).toEqual(['revoked-certificate'])
  expect(here.seen.logs).toContainEqual(
    expect.objectContaining({ msg: 'connection refused', reason: 'revoked-certificate', deviceId: 'bad' }),
  )
  await publish(await here.connect(await here.pki.device('good')), 'good')
})

test('a device that is revoked while it is connected is cut off within 5 s, and another goes on publishing', async () => {
  const here = await place({ realTime: true })
  const bad = await here.connect(await here.pki.device('bad'))
  const good = await here.connect(await here.pki.device('good'))
  let closes = 0
  good.on('close', () => (closes += 1))
  await publish(bad, 'bad')
  const beganAtMs = performance.now()
  await here.revoke(['bad'])
  const cut = closed(bad)
  let published = 0
  while (bad.connected) {
    await publish(good, 'good')
    published += 1
  }
  await cut
  expect(performance.now() - beganAtMs).toBeLessThan(5000)
  await publish(good, 'good')
  expect({ closes, some: published > 2, ended: here.seen.ended }).toEqual({
    closes: 0,
    some: true,
    ended: ['revoked-certificate'],
  })
  expect(here.seen.logs).toContainEqual(
    expect.objectContaining({ msg: 'connection closed', reason: 'revoked-certificate', device: 'bad' }),
  )
})

test('who is denied by ID or by serial number is cut off, and its kept session waits until it is let in again', async () => {
  const here = await place()
  const kept = { clean: false, clientId: 'kept' }
  const tls = await here.pki.device('a1')
  const [one, two, other] = [
    await here.connect(tls, kept),
    await here.connect(await here.pki.device('a2')),
    await here.connect(await here.pki.device('a3')),
  ]
  await one.subscribeAsync('devices/a1/commands', { qos: 1 })
  const { serialNumber } = new X509Certificate((await here.pki.device('a2')).cert)
  await writeFile(here.files.denied, `device a1 # stolen\nserial ${serialNumber.toLowerCase()}\n`)
  await here.reloaded(1)
  await Promise.all([closed(one), closed(two)])
  expect(here.seen.ended).toEqual(['denied', 'denied'])
  await refusal(here, tls)
  expect(here.seen.refused).toEqual(['denied'])
  await publish(other, 'a3')

  await writeFile(here.files.denied, '')
  await here.reloaded(2)
  const again = await here.connect(tls, kept)
  await again.publishAsync('devices/a1/commands', 'go', { qos: 1 })
  expect(await here.messages(again, 1)).toEqual(['devices/a1/commands go'])
})

test('a device whose certificate ends while it is connected is cut off then, and not before', async () => {
  const here = await place()
  const issued = await issueCertificate(await openAuthority(dirname(here.pki.caFile)), {
    commonName: 'brief',
    kind: 'client',
    days: 60,
    outDir: join(here.pki.folder, 'issued'),
  })
  const tls = {
    ca: readFileSync(here.pki.caFile),
    cert: readFileSync(issued.certFile),
    key: readFileSync(issued.keyFile),
  }
  const brief = await here.connect(tls)
  const other = await here.connect(await here.pki.device('other'))
  here.clock.jump(59 * dayMs)
  await here.clock.advance(5000)
  await publish(brief, 'brief')
  here.clock.jump(dayMs)
  await here.clock.until(() => here.seen.ended.length > 0)
  await closed(brief)
  expect(here.seen.ended).toEqual(['expired-certificate'])
  await publish(other, 'other')
})

let handshakes = 0

function connectAs(clientId: string): Buffer {
  const name = Buffer.from(
    `\u0000\u0004MQTT\u0004\u0002\u0000\u003c\u0000${String.fromCharCode(clientId.length)}${clientId}`,
  )
  return Buffer.concat([Buffer.of(0x10, name.length), name])
}

async function handshake(
  port: number,
  tls: object,
  session?: Buffer,
): Promise<{ socket: TLSSocket; session: Buffer }> {
  const socket = connectTls({ port, host: '127.0.0.1', ...tls, ...(session && { session }) })
  socket.on('error', () => {})
  let ticket = Buffer.alloc(0)
  socket.on('session', (given) => (ticket = given))
  await once(socket, 'secureConnect')
  // CONNECT, so that a CONNACK comes, and before it whatever TLS 1.3 sends behind the handshake.
  socket.write(connectAs(`client-${(handshakes += 1)}`))
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  return { socket, session: ticket }
}

test.for(['TLSv1.2', 'TLSv1.3'] as const)('no %s session gets in past a revocation', async (version) => {
  const here = await place()
  const tls = { ...(await here.pki.device('a1')), minVersion: version, maxVersion: version }
  const first = await handshake(here.port, tls)
  const second = await handshake(here.port, tls, first.session)
  expect([second.socket.destroyed, second.socket.isSessionReused()]).toEqual([false, false])
  await here.revoke(['a1'])
  await here.reloaded(1)
  await here.when(({ ended }) => ended.length === 2)
  // TLS 1.2 has the client wait for the end of the handshake.
  await handshake(here.port, tls, second.session).catch(() => {})
  await here.when(({ refused }) => refused.includes('revoked-certificate'))
  expect(here.seen.connections).toBe(0)
})

test.for(['accept', 'refuse'] as const)(
  'under a list out of date (%s) a revoked certificate is refused as revoked, and one of the wrong kind as such',
  async (stale) => {
    let bad = {}
    const here = await place({
      stale,
      async prepare({ pki, revoke }) {
        bad = await pki.device('bad')
        await revoke(['bad'], { now: new Date(Date.now() - 10 * dayMs), days: 5 })
      },
    })
    const { ca } = await here.pki.device('good')
    const server = { ca, cert: readFileSync(here.files.cert), key: readFileSync(here.files.key) }
    await refusal(here, bad)
    await expect(here.connect(server)).rejects.toThrow(refusedByTls)
    await here.when(({ refused }) => refused.length === 2)
    expect(here.seen.refused).toEqual(['revoked-certificate', 'wrong-purpose'])
    const good = await here.pki.device('good')
    const outcome = await here.connect(good).then(
      () => 'in',
      () => here.when(({ refused }) => refused.length === 3),
    )
    expect([outcome, here.seen.refused[2]]).toEqual(
      stale === 'accept' ? ['in', undefined] : [undefined, 'stale-crl'],
    )
    expect(here.seen.logs).toContainEqual(expect.objectContaining({ level: 40, code: 'CRL_STALE' }))
  },
)

test('a list that goes out of date while it is in force ends nobody, is told of once an hour, and its successor is taken', async () => {
  const here = await place({ stale: 'refuse' })
  const there = await here.connect(await here.pki.device('there'))
  const warned = (): number => here.seen.logs.filter(({ code }) => code === 'CRL_STALE').length
  expect(warned()).toBe(0)
  here.clock.jump(31 * dayMs)
  await here.clock.until(() => warned() > 0)
  for (let minute = 0; minute < 60; minute++) await here.clock.advance(60_000)
  await here.clock.until(() => warned() > 1)
  await refusal(here, await here.pki.device('late'))
  await publish(there, 'there')
  await here.revoke([], { now: new Date(here.clock.now()) })
  await here.reloaded(1)
  await publish(await here.connect(await here.pki.device('late')), 'late')
})

const served = async (port: number, tls: object): Promise<string> => {
  const { socket } = await handshake(port, tls)
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}

test('a new certificate of the listener is shown to whoever comes, and nobody who is there notices', async () => {
  const here = await place()
  const clients = [
    await here.connect(await here.pki.device('a1')),
    await here.connect(await here.pki.device('a2')),
  ]
  let closes = 0
  for (const client of clients) client.on('close', () => (closes += 1))
  const before = await served(here.port, await here.pki.device('a3'))
  await issueCertificate(await openAuthority(dirname(here.pki.caFile)), {
    commonName: 'edge',
    kind: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    outDir: join(here.pki.folder, 'issued'),
    force: true,
  })
  await here.reloaded(1)
  const after = await served(here.port, await here.pki.device('a3'))
  expect(after).not.toBe(before)
  for (const [index, client] of clients.entries()) await publish(client, `a${index + 1}`)
  expect({ closes, ended: here.seen.ended, reloads: here.seen.reloads }).toEqual({
    closes: 0,
    ended: [],
    reloads: ['loaded'],
  })
})

test('of a faulty file what was in force stays, with an error, and what is sound beside it is taken all the same', async () => {
  const here = await place({
    prepare: ({ files }) => writeFile(files.denied, 'device a1\n'),
  })
  const tls = await here.pki.device('a2')
  const before = await served(here.port, tls)
  const a2 = await here.connect(tls)
  const codes = (): unknown[] => here.seen.logs.filter(({ level }) => level === 50).map(({ code }) => code)
  await writeFile(here.files.denied, 'device a1\ndevise a2\n')
  await here.reloaded(1)
  expect(codes()).toEqual(['DENIED_INVALID'])
  expect(here.seen.logs.find(({ level }) => level === 50)?.['detail']).toContain(
    `${here.files.denied} has lines that cannot be read: line 2`,
  )
  await refusal(here, await here.pki.device('a1'))
  expect(here.seen.refused).toEqual(['denied'])

  await writeFile(here.files.cert, 'no certificate')
  await writeFile(here.files.crl, 'no list')
  await writeFile(here.files.denied, 'device a3\n')
  await here.reloaded(2)
  expect(codes()).toEqual(['DENIED_INVALID', 'TLS_FILE_CORRUPT', 'CRL_CORRUPT'])
  expect(here.seen.reloads).toEqual(['failed', 'failed'])
  expect(await served(here.port, tls)).toBe(before)
  await here.connect(await here.pki.device('a1'))
  await refusal(here, await here.pki.device('a3'))
  await publish(a2, 'a2')
})

test('a new certificate that is not valid yet is told of, and shown once it is, without anybody writing it again', async () => {
  const here = await place()
  const tls = await here.pki.device('a1')
  const before = await served(here.port, tls)
  await issueCertificate(await openAuthority(dirname(here.pki.caFile)), {
    commonName: 'edge',
    kind: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    outDir: join(here.pki.folder, 'issued'),
    force: true,
    // Valid from a day before.
    now: new Date(here.clock.now() + dayMs + 3_600_000),
  })
  await here.reloaded(1)
  expect(here.seen.logs).toContainEqual(expect.objectContaining({ level: 50, code: 'TLS_NOT_YET_VALID' }))
  expect(await served(here.port, tls)).toBe(before)
  await here.clock.advance(3_600_000)
  await here.clock.until(() => here.seen.reloads.at(-1) === 'loaded')
  expect(here.seen.reloads.length).toBeLessThan(100)
})

test('devices of a CA that is trusted no longer are cut off, those of the other stay, and each list counts for its own', async () => {
  const second = await createTestPki()
  closers.push(() => second.close())
  const of2 = await second.device('of-2')
  const revoked2 = await second.device('revoked-2')
  const authority2 = await openAuthority(dirname(second.caFile))
  await revokeCertificates(authority2, [join(second.folder, 'issued', 'revoked-2.crt')])
  const here = await place({
    async prepare({ files }) {
      await writeFile(
        `${files.ca}.both`,
        readFileSync(files.ca, 'utf8') + readFileSync(second.caFile, 'utf8'),
      )
      const lists = [files.crl, join(authority2.dir, 'ca.crl')].map((file) => readFileSync(file, 'utf8'))
      await writeFile(files.crl, lists.join(''))
      files.ca += '.both'
    },
  })
  const ca = readFileSync(here.pki.caFile)
  const stays = await here.connect(await here.pki.device('of-1'))
  const goes = await here.connect({ ...of2, ca })
  await refusal(here, { ...revoked2, ca })
  expect(here.seen.refused).toEqual(['revoked-certificate'])
  await writeFile(here.files.ca, ca)
  await here.reloaded(1)
  await closed(goes)
  expect(here.seen.ended).toEqual(['unknown-ca'])
  // The list of the CA that has gone is one that nobody vouches for any more: the one that was read before stays.
  expect(here.seen.logs).toContainEqual(expect.objectContaining({ level: 50, code: 'CRL_FOREIGN' }))
  await refusal(here, { ...of2, ca })
  expect(here.seen.refused.at(-1)).toBe('unknown-ca')
  await publish(stays, 'of-1')
})

test('a device below an intermediate that it sends is let in, until the root takes the intermediate back', async () => {
  const other = await createIntermediateCa()
  const here = await place({
    async prepare({ files }) {
      await writeFile(`${files.ca}.both`, readFileSync(files.ca, 'utf8') + other.root)
      files.ca += '.both'
    },
  })
  expect(here.seen.logs).toContainEqual(
    expect.objectContaining({ level: 40, msg: expect.stringContaining('no list of "CN=Root"') as string }),
  )
  const tls = { ca: readFileSync(here.pki.caFile), ...(await other.device('below')) }
  const below = await here.connect(tls)
  const ours = readFileSync(here.files.crl, 'utf8')
  await writeFile(here.files.crl, ours + (await other.rootList({ intermediate: false })))
  await here.reloaded(1)
  await publish(below, 'below')
  await writeFile(here.files.crl, ours + (await other.rootList({ intermediate: true })))
  await here.reloaded(2)
  await closed(below)
  expect(here.seen.ended).toEqual(['revoked-certificate'])
  await refusal(here, tls)
  expect(here.seen.refused).toEqual(['revoked-certificate'])
})

test('files that are reached by links, all swung round at once, are read again', async () => {
  let folder = ''
  const here = await place({
    async prepare({ pki, files }) {
      folder = pki.folder
      await mkdir(join(folder, 'v1'))
      await mkdir(join(folder, 'v2'))
      await writeFile(join(folder, 'v1', 'denied'), '')
      await writeFile(join(folder, 'v2', 'denied'), 'device a1\n')
      await symlink('v1', join(folder, '..data'))
      await symlink(join('..data', 'denied'), join(folder, 'denied'))
      files.denied = join(folder, 'denied')
    },
  })
  const client = await here.connect(await here.pki.device('a1'))
  await symlink('v2', join(folder, '..data.new'))
  await rename(join(folder, '..data.new'), join(folder, '..data'))
  await here.reloaded(1)
  await closed(client)
  expect(here.seen.ended).toEqual(['denied'])
})
