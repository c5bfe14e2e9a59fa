import { once } from 'node:events'
import { readFileSync, renameSync, rmSync, writeFileSync, mkdtempSync, copyFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { Connection } from 'rabbitmq-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../certs/authority.ts'
import { issueCertificate } from '../../certs/issue.ts'
import { connectAmqp } from '../../cloud/amqp/connection-rabbit.ts'
import { cloudConfigSchema } from '../../cloud/config.ts'
import { loadCloudTls } from '../../cloud/tls.ts'
import { systemClock } from '../../src/clock.ts'
import { ClientTlsFiles } from '../../src/settings/client-tls.ts'
import { testUplink } from '../support/edge/test-uplink.ts'
import { silentLog } from '../../src/log.ts'

/** A broker as far as the handshake: it writes down whose certificate it was shown, and hangs up. */
let dir: string
let authority: Authority
let server: Server
let url: string
const shown: string[] = []

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-renewal-'))
  authority = await createAuthority(join(dir, 'pki'))
  const { certFile, keyFile } = await issueCertificate(authority, {
    commonName: 'broker',
    kind: 'server',
    dnsNames: ['localhost'],
    outDir: dir,
  })
  server = createServer({
    ca: readFileSync(authority.certFile),
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    requestCert: true,
    rejectUnauthorized: true,
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    shown.push(socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? 'none')
    socket.on('error', () => {})
    socket.destroy()
    server.emit('shown')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `amqps://localhost:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  rmSync(dir, { recursive: true, force: true })
})

const paths = () => ({ ca: join(dir, 'now.ca'), cert: join(dir, 'now.crt'), key: join(dir, 'now.key') })

/** As a person or a timer does it: each file whole, one after the other. */
function put(from: string, to: string): void {
  copyFileSync(from, `${to}.new`)
  renameSync(`${to}.new`, to)
}

async function renewed(): Promise<{ serial: string; certFile: string; keyFile: string }> {
  const pair = await issueCertificate(authority, {
    commonName: 'gateway-1',
    kind: 'client',
    role: 'gateway',
    outDir: join(dir, 'gateways'),
    force: true,
  })
  const { X509Certificate } = await import('node:crypto')
  return { ...pair, serial: new X509Certificate(readFileSync(pair.certFile)).serialNumber.toLowerCase() }
}

async function install(): Promise<string> {
  const { certFile, keyFile, serial } = await renewed()
  put(keyFile, paths().key)
  put(certFile, paths().cert)
  return serial
}

let first: string
beforeEach(async () => {
  put(authority.certFile, paths().ca)
  first = await install()
  shown.length = 0
})

const until = async (serial: string): Promise<void> => {
  while (!shown.includes(serial)) await once(server, 'shown')
}

describe('a certificate that is renewed while the program runs', () => {
  const stop = new AbortController()
  const opened: { close(): Promise<void> }[] = []
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
  })

  test('is shown by the next session of the uplink', async () => {
    const files = new ClientTlsFiles({ paths: paths(), where: 'it', clock: systemClock, log: silentLog })
    const uplink = testUplink({ url, tls: files, reconnect: { delayMsMin: 5, delayMsMax: 20 } })
    opened.push(uplink)
    uplink.connect(stop.signal).catch(() => {})
    await until(first)
    const second = await install()
    await until(second)
    stop.abort()
    expect(new Set(shown)).toEqual(new Set([first, second]))
  })

  test('is shown by the cloud when its client connects again by itself', async () => {
    const config = cloudConfigSchema.parse({ broker: { url, tls: paths() } })
    const tls = loadCloudTls(config, systemClock, silentLog)
    await expect(
      connectAmqp({ url, connectionName: 'test', log: silentLog, tls: tls.broker }),
    ).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
    expect(shown).toEqual([first])
    const client = new Connection({ url, tls: tls.broker as object, retryLow: 5, retryHigh: 20 })
    client.on('error', () => {})
    opened.push({ close: async () => client.unsafeDestroy() })
    await once(server, 'shown')
    const second = await install()
    await until(second)
    expect(new Set(shown)).toEqual(new Set([first, second]))
    expect(tls.daysLeft()['broker']).toBeGreaterThan(800)
  })
})

describe('files that cannot be used', () => {
  const lines: object[] = []
  const log = Object.assign(Object.create(silentLog) as typeof silentLog, {
    info: (line: object) => lines.push(line),
    warn: (line: object) => lines.push(line),
  })
  beforeEach(() => (lines.length = 0))
  const open = () => new ClientTlsFiles({ paths: paths(), where: 'it', clock: systemClock, log })

  test('leave those of before in force, are told of once, and are tried again until they can be', async () => {
    const files = open()
    const before = files.current()
    const { certFile, keyFile } = await renewed()
    put(certFile, paths().cert)
    expect(files.current()).toBe(before)
    expect(files.current()).toBe(before)
    expect(files.faulty).toBe(true)
    expect(lines).toEqual([{ where: 'it', code: 'TLS_KEY_MISMATCH' }])
    put(keyFile, paths().key)
    expect(files.current()).not.toBe(before)
    expect(files.faulty).toBe(false)
    expect(lines).toHaveLength(2)
    writeFileSync(paths().ca, '')
    expect(files.faulty).toBe(true)
    rmSync(paths().ca)
    expect(files.faulty).toBe(true)
    put(authority.certFile, paths().ca)
    expect(files.faulty).toBe(false)
  })

  test('at the start are an error: there is nothing to go on with', () => {
    rmSync(paths().key)
    expect(open).toThrow(/there is no file/)
  })
})
