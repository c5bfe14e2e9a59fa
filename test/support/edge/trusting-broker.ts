import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { MqttClient } from 'mqtt'
import { afterEach } from 'vitest'
import { openAuthority } from '../../../certs/authority.ts'
import { issueCertificate, type IssuedCertificate } from '../../../certs/issue.ts'
import { revokeCertificates, type RevocationOptions } from '../../../certs/revoke.ts'
import { systemClock } from '../../../src/clock.ts'
import { FakeClock } from '../fakes/clock.ts'
import {
  createTestPki,
  startTestBroker,
  type TestBroker,
  type TestBrokerOptions,
  type TestPki,
} from './test-broker.ts'

/** A CA of its own with an empty list, and a broker that goes by its files. */
export interface Place extends TestBroker {
  pki: TestPki
  clock: FakeClock
  files: { ca: string; cert: string; key: string; crl: string; denied: string }
  revoke: (ids: string[], options?: RevocationOptions) => Promise<unknown>
  /** Time passes until the files were read again so often. */
  reloaded: (times: number) => Promise<void>
}

export interface PlaceOptions extends TestBrokerOptions {
  /** Before the start. */
  prepare?: (place: Pick<Place, 'pki' | 'revoke' | 'files'>) => Promise<unknown>
  realTime?: boolean
  /** Whether it keeps lists that come down with an uplink, as `lists.json` in the folder of its PKI, instead of reading the CA's own. */
  published?: boolean
}

/** For one file of tests: places that go away with the test that opened them. */
export function usePlaces(): (options?: PlaceOptions) => Promise<Place> {
  const closers: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  })
  return (options = {}) => openPlace(options, (close) => closers.push(close))
}

async function openPlace(
  { prepare, realTime = false, published = false, ...options }: PlaceOptions,
  atEnd: (close: () => Promise<void>) => void,
): Promise<Place> {
  const pki = await createTestPki()
  atEnd(() => pki.close())
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
  await writeFile(files.denied, denying())
  await prepare?.({ pki, revoke, files })
  const clock = new FakeClock(Date.now())
  const broker = await startTestBroker(pki, {
    files: published ? { ...files, crl: undefined, published: join(pki.folder, 'lists.json') } : files,
    ...options,
    options: { clock: realTime ? systemClock : clock, ...options.options },
  })
  atEnd(() => broker.close())
  const reloaded = (times: number): Promise<void> => clock.until(() => broker.seen.reloads.length >= times)
  return { ...broker, pki, clock, files, revoke, reloaded }
}

/** What the file of who is denied holds. */
export const denying = (...entries: string[]): string => [...entries, 'end\n'].join('\n')

/** Resolves when a client was refused; rejects when it was let in. */
export function refusal(broker: TestBroker, tls: object): Promise<void> {
  const before = broker.seen.refused.length
  return broker.connect(tls).then(
    () => {
      throw new Error('it was let in')
    },
    () => broker.when(({ refused }) => refused.length > before),
  )
}

export function closed(client: MqttClient): Promise<void> {
  return new Promise((resolve) => {
    if (client.connected) client.once('close', () => resolve())
    else resolve()
  })
}

export function publish(client: MqttClient, device: string): Promise<unknown> {
  return client.publishAsync(`devices/${device}/events/com.acme.climate`, '{"temperature":1}', { qos: 1 })
}

let handshakes = 0

function connectAs(clientId: string): Buffer {
  const name = Buffer.from(
    `\u0000\u0004MQTT\u0004\u0002\u0000\u003c\u0000${String.fromCharCode(clientId.length)}${clientId}`,
  )
  return Buffer.concat([Buffer.of(0x10, name.length), name])
}

/** A TLS connection up to the first answer to its CONNECT, and what a client could come back with. */
export async function handshake(
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

/** The certificate that the broker shows. */
export async function served(port: number, tls: object): Promise<string> {
  const { socket } = await handshake(port, tls)
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}

/** The listener's certificate is issued anew, in the place of the old one. */
export async function issueListenerAnew(
  { pki }: Pick<Place, 'pki'>,
  now = new Date(),
): Promise<IssuedCertificate> {
  return issueCertificate(await openAuthority(dirname(pki.caFile)), {
    commonName: 'edge',
    kind: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    outDir: join(pki.folder, 'issued'),
    force: true,
    now,
  })
}
