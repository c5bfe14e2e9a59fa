import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createAuthority, openAuthority, type Authority } from '../../../certs/authority.ts'
import { issueDevelopmentPki, type DevelopmentPki } from '../../../certs/development.ts'
import { inspectCertificate } from '../../../certs/inspect.ts'
import { issueCertificate, type CertificateRequest } from '../../../certs/issue.ts'

const now = new Date('2026-03-01T12:00:00Z')
const dayMs = 86_400_000
const after = (days: number) => new Date(now.getTime() + days * dayMs)

interface Pair {
  certFile: string
  keyFile: string
}

const read = async ({ certFile, keyFile }: Pair) => ({
  cert: await readFile(certFile),
  key: await readFile(keyFile),
})

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidegate-certs-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const x509 = async (file: string) => new X509Certificate(await readFile(file))
const mode = async (file: string) => (await stat(file)).mode & 0o777

describe('a certificate authority', () => {
  test('is made once: opening the folder again finds the same one, its key for its owner only', async () => {
    const made = await createAuthority(dir, { now, name: 'Works CA' })
    const again = await createAuthority(dir, { now, name: 'Another name' })
    expect([made.created, again.created]).toEqual([true, false])
    expect(again.certificate.serialNumber).toBe(made.certificate.serialNumber)
    expect(await mode(made.keyFile)).toBe(0o600)
    const certificate = await x509(made.certFile)
    expect(certificate).toMatchObject({ subject: 'CN=Works CA', issuer: 'CN=Works CA', ca: true })
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(inspectCertificate(made.certFile, now)).toMatchObject({ daysLeft: 3650, kind: 'authority' })
  })

  test('whose certificate was lost in a crash is made again from its key', async () => {
    const made = await createAuthority(dir, { now })
    const { publicKey } = await x509(made.certFile)
    await rm(made.certFile)
    const again = await createAuthority(dir, { now })
    expect(again.created).toBe(true)
    expect((await x509(again.certFile)).publicKey.equals(publicKey)).toBe(true)
  })

  test('without its key, or not there at all, is refused in words that tell the two apart', async () => {
    await expect(openAuthority(dir, { now })).rejects.toMatchObject({
      code: 'CERTS_NO_AUTHORITY',
      message: expect.stringContaining('no CA'),
    })
    const { keyFile } = await createAuthority(dir, { now })
    await rm(keyFile)
    const refusal = { code: 'CERTS_NO_AUTHORITY', message: expect.stringContaining('not its key') }
    await expect(openAuthority(dir, { now })).rejects.toMatchObject(refusal)
    await expect(createAuthority(dir, { now })).rejects.toMatchObject(refusal)
  })

  test('about to end issues nothing, and nothing it issues outlives it', async () => {
    const authority = await createAuthority(dir, { now, days: 100 })
    const request = { kind: 'client', outDir: dir, days: 365 } as const
    const issued = await issueCertificate(authority, { ...request, commonName: 'a', now })
    expect(inspectCertificate(issued.certFile, now).notAfter).toEqual(authority.certificate.notAfter)
    await expect(
      issueCertificate(authority, { ...request, commonName: 'b', now: after(80) }),
    ).rejects.toMatchObject({
      code: 'CERTS_AUTHORITY_ENDS',
    })
  })

  test('with a key that is no ECDSA P-256 key is refused by name', async () => {
    const { keyFile } = await createAuthority(dir, { now })
    await writeFile(keyFile, 'no key')
    await rm(join(dir, 'ca.crt'))
    await expect(createAuthority(dir, { now })).rejects.toMatchObject({ code: 'CERTS_AUTHORITY_KEY' })
  })

  test('in a folder that cannot be written says which file failed', async () => {
    const blocked = join(dir, 'file')
    await writeFile(blocked, '')
    await expect(createAuthority(join(blocked, 'pki'), { now })).rejects.toMatchObject({
      code: 'CERTS_FOLDER',
      message: expect.stringContaining(join(blocked, 'pki', 'ca.key')),
    })
  })
})

describe('issuing a certificate', () => {
  let authority: Authority
  beforeEach(async () => {
    authority = await createAuthority(dir, { now })
  })
  const issue = (request: Partial<CertificateRequest> = {}) =>
    issueCertificate(authority, {
      commonName: 'boiler-7',
      kind: 'client',
      outDir: join(dir, 'devices'),
      now,
      ...request,
    })

  test("a device's identity is its CN, and the certificate is good for being a client only", async () => {
    const { certFile, keyFile, issued } = await issue()
    const certificate = await x509(certFile)
    expect(issued).toBe(true)
    expect(certificate.subject).toBe('CN=boiler-7')
    expect(certificate.subjectAltName).toBe('URI:urn:tidegate:device:boiler-7')
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
    expect(certificate.ca).toBe(false)
    expect(await mode(keyFile)).toBe(0o600)
    expect(await readdir(join(dir, 'devices'))).toEqual(['boiler-7.crt', 'boiler-7.key'])
  })

  test.each([
    ['all zeros', 0x00],
    ['all ones', 0xff],
  ])('a serial number from %s is positive and keeps its sixteen bytes', async (_, byte) => {
    const { certFile } = await issue({ randomBytes: (size) => new Uint8Array(size).fill(byte) })
    const serial = (await x509(certFile)).serialNumber
    expect(serial).toHaveLength(32)
    expect(Number.parseInt(serial.slice(0, 2), 16)).toBeLessThan(0x80)
  })

  test.each(['', '../x', 'a b', 'ä', '-x', '.x', 'a'.repeat(65), 'a/b', 'a#', 'a+'])(
    'the name %j is refused and writes nothing',
    async (commonName) => {
      await expect(issue({ commonName })).rejects.toMatchObject({ code: 'CERTS_NAME' })
      expect(await readdir(dir)).toEqual(['ca.crt', 'ca.key'])
    },
  )

  test.each<[string, Partial<CertificateRequest>]>([
    ['without a DNS name or an address', {}],
    ['with an address that is none', { ipAddresses: ['localhost'] }],
    ['with a DNS name that is none', { dnsNames: ['a b'] }],
    ['named ca, which would replace the CA', { commonName: 'CA', dnsNames: ['a'] }],
  ])('a server %s is refused', async (_, request) => {
    await expect(issue({ kind: 'server', outDir: dir, ...request })).rejects.toMatchObject({
      code: 'CERTS_NAME',
    })
  })

  test('issuing again keeps a certificate with more than 30 days left, and replaces one with fewer', async () => {
    const first = await issue({ days: 100 })
    const before = await readFile(first.certFile)
    expect((await issue({ now: after(69) })).issued).toBe(false)
    expect(await readFile(first.certFile)).toEqual(before)
    expect((await issue({ now: after(70) })).issued).toBe(true)
    expect(await readFile(first.certFile)).not.toEqual(before)
  })

  test('--force issues anew with a new key', async () => {
    const { keyFile } = await issue()
    const before = await readFile(keyFile)
    expect((await issue({ force: true })).issued).toBe(true)
    expect(await readFile(keyFile)).not.toEqual(before)
  })

  test('a pair that is damaged, mismatched or of another CA is not kept', async () => {
    const { certFile, keyFile } = await issue()
    await writeFile(certFile, 'damaged')
    expect((await issue()).issued).toBe(true)
    await copyFile((await issue({ commonName: 'other' })).keyFile, keyFile)
    expect((await issue()).issued).toBe(true)
    authority = await createAuthority(join(dir, 'elsewhere'), { now })
    expect((await issue()).issued).toBe(true)
    expect((await issue()).issued).toBe(false)
  })

  test('a server asked to answer to further names gets a new certificate', async () => {
    const server = { commonName: 'edge', kind: 'server', dnsNames: ['localhost'] } as const
    await issue(server)
    expect((await issue(server)).issued).toBe(false)
    const { issued, certFile } = await issue({ ...server, ipAddresses: ['127.0.0.1', '::1'] })
    expect(issued).toBe(true)
    expect((await x509(certFile)).subjectAltName).toBe(
      'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
    )
  })

  test("one kind of certificate never takes another's place unasked", async () => {
    const { certFile } = await issue()
    await expect(issue({ kind: 'server', dnsNames: ['localhost'] })).rejects.toMatchObject({
      code: 'CERTS_TAKEN',
    })
    await expect(issue({ role: 'gateway' })).rejects.toMatchObject({ code: 'CERTS_TAKEN' })
    expect((await issue({ role: 'gateway', force: true })).issued).toBe(true)
    expect((await x509(certFile)).subjectAltName).toBe('URI:urn:tidegate:gateway:boiler-7')
  })
})

describe('the development PKI', () => {
  const devices = Array.from({ length: 20 }, (_, index) => `sensor-${index}`)

  test('lays out one CA, two servers, a gateway, the cloud and every device, and repeats without a change', async () => {
    const pki = await issueDevelopmentPki(dir, {
      devices,
      gateway: 'gw-1',
      hostnames: ['edge.example', '192.0.2.1'],
      now,
    })
    expect((await readdir(dir)).toSorted()).toEqual([
      'broker.crt',
      'broker.key',
      'ca.crt',
      'ca.key',
      'cloud.crt',
      'cloud.key',
      'devices',
      'edge.crt',
      'edge.key',
      'gateways',
      'issued.jsonl',
    ])
    expect(await readdir(join(dir, 'gateways'))).toEqual(['gw-1.crt', 'gw-1.key'])
    expect(pki.devices.map((device) => device.commonName)).toEqual(devices)
    expect((await readdir(join(dir, 'devices'))).length).toBe(40)
    expect(inspectCertificate(pki.edge.certFile, now).alternativeNames).toEqual(
      expect.arrayContaining([
        'DNS:localhost',
        'DNS:edge.example',
        'IP Address:127.0.0.1',
        'IP Address:192.0.2.1',
      ]),
    )

    const again = await issueDevelopmentPki(dir, {
      devices,
      gateway: 'gw-1',
      hostnames: ['edge.example', '192.0.2.1'],
      now,
    })
    expect(
      [again.edge, again.broker, again.gateway, again.cloud, ...again.devices].filter((one) => one.issued),
    ).toEqual([])
  })

  test('a device ID that is refused stops the whole, with nothing left half-written', async () => {
    await expect(
      issueDevelopmentPki(dir, { devices: ['good', 'b/ad'], gateway: 'gw-1', now }),
    ).rejects.toMatchObject({ code: 'CERTS_NAME' })
    expect((await readdir(dir, { recursive: true })).filter((file) => file.endsWith('.tmp'))).toEqual([])
  })

  describe('in a TLS handshake that asks for certificates both ways', () => {
    let pki: DevelopmentPki
    beforeEach(async () => {
      pki = await issueDevelopmentPki(dir, { devices: ['boiler-7'], gateway: 'gw-1' })
    })

    /** What a listener with the edge's certificate makes of a client: its CN, or why it was refused. */
    async function greet(client: Pair | undefined): Promise<{ seen: string; trusted: boolean }> {
      const ca = await readFile(pki.caFile)
      const server = tls.createServer({ ca, ...(await read(pki.edge)), requestCert: true })
      const seen = new Promise<string>((resolve) => {
        server.once('secureConnection', (socket) => {
          socket.on('error', () => undefined)
          resolve(String(socket.getPeerCertificate().subject.CN))
        })
        // A certificate that does not verify is a reset connection to Node; the reason is kept on the socket.
        server.once('tlsClientError', (error: NodeJS.ErrnoException, socket) =>
          resolve(String(socket.authorizationError ?? error.code)),
        )
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const pair = client === undefined ? {} : await read(client)
      const socket = tls.connect({ host: '127.0.0.1', port, ca, ...pair })
      const failed = new Promise<void>((resolve) => {
        socket.once('error', () => resolve())
      })
      try {
        await Promise.race([once(socket, 'secureConnect').catch(() => undefined), failed])
        return { seen: await seen, trusted: socket.authorized }
      } finally {
        socket.destroy()
        server.close()
      }
    }

    test('a device is known by its CN, and trusts the listener', async () => {
      expect(await greet(pki.devices[0])).toEqual({ seen: 'boiler-7', trusted: true })
    })

    test('no certificate, one of another CA, and a server certificate are each refused', async () => {
      const foreign = await createAuthority(join(dir, 'foreign'))
      await mkdir(join(dir, 'forged'))
      const forged = await issueCertificate(foreign, {
        commonName: 'boiler-7',
        kind: 'client',
        outDir: join(dir, 'forged'),
      })
      expect(await greet(undefined)).toMatchObject({ seen: 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE' })
      expect(await greet(forged)).toMatchObject({ seen: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
      expect(await greet(pki.broker)).toMatchObject({ seen: 'INVALID_PURPOSE' })
    })
  })
})
