import 'reflect-metadata'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { kindOfKey } from '../../../certs/algorithms.ts'
import { type Authority, createAuthority, keyPem } from '../../../certs/authority.ts'
import { listFleet, renewCertificate } from '../../../certs/fleet.ts'
import { issueCertificate } from '../../../certs/issue.ts'
import { readRegister } from '../../../certs/register.ts'
import { revokeCertificates } from '../../../certs/revoke.ts'
import { parseSigningRequest, readSigningRequest, signRequest } from '../../../certs/sign.ts'
import { loadTlsFiles } from '../../../src/tls-files.ts'
import { makeSigningRequest } from '../../support/certs/signing-request.ts'

const now = new Date('2026-03-01T12:00:00Z')
const later = (days: number) => new Date(now.getTime() + days * 86_400_000)

let dir: string
let authority: Authority
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidegate-sign-'))
  authority = await createAuthority(join(dir, 'pki'), { now })
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const read = async (file: string) => new X509Certificate(await readFile(file))
const parsed = async (name: string, kind: 'ecdsa' | 'rsa' = 'ecdsa') =>
  parseSigningRequest(Buffer.from((await makeSigningRequest(name, { kind })).pem), 'it')
const asDevice = (commonName: string) => ({
  commonName,
  kind: 'client' as const,
  role: 'device' as const,
  outDir: join(dir, 'pki', 'devices'),
  now,
})

describe('a certificate for a key that stays where it is', () => {
  test.each(['ecdsa', 'rsa'] as const)(
    'says what the signer says, and nothing of what the request asks for but the key (%s)',
    async (kind) => {
      const request = await parsed('boiler-7', kind)
      const { certFile, issued } = await signRequest(authority, request, asDevice('boiler-7'))
      expect(issued).toBe(true)
      const certificate = await read(certFile)
      expect(certificate).toMatchObject({ subject: 'CN=boiler-7', ca: false })
      expect(certificate.subjectAltName).toBe('URI:urn:tidegate:device:boiler-7')
      expect(certificate.verify((await read(authority.certFile)).publicKey)).toBe(true)
      expect(
        certificate.publicKey
          .export({ type: 'spki', format: 'der' })
          .equals(Buffer.from(request.publicKey.rawData)),
      ).toBe(true)
      expect(existsSync(certFile.replace('.crt', '.key'))).toBe(false)
    },
  )

  test('is kept while it is good, and not replaced for another key unless that is asked for', async () => {
    const request = await parsed('boiler-7')
    const first = await signRequest(authority, request, asDevice('boiler-7'))
    const serial = (await read(first.certFile)).serialNumber
    expect(await signRequest(authority, request, asDevice('boiler-7'))).toMatchObject({ issued: false })
    const another = await parsed('boiler-7')
    await expect(signRequest(authority, another, asDevice('boiler-7'))).rejects.toMatchObject({
      code: 'CERTS_TAKEN',
      message: expect.stringContaining('another key') as string,
    })
    expect((await read(first.certFile)).serialNumber).toBe(serial)
    await signRequest(authority, another, { ...asDevice('boiler-7'), force: true })
    expect((await read(first.certFile)).serialNumber).not.toBe(serial)
  })

  test('takes the place of a pair that was made here, whose key then belongs to nothing', async () => {
    const pair = await issueCertificate(authority, asDevice('boiler-7'))
    await signRequest(authority, await parsed('boiler-7'), { ...asDevice('boiler-7'), force: true })
    expect(existsSync(pair.keyFile)).toBe(false)
  })

  test("leaves a key alone that is somebody's: the one that its request was made with", async () => {
    const { pem, keys } = await makeSigningRequest('boiler-7')
    const keyFile = join(dir, 'boiler-7.key')
    await writeFile(keyFile, keyPem(keys.privateKey))
    const issue = { ...asDevice('boiler-7'), outDir: dir }
    await signRequest(authority, await parseSigningRequest(Buffer.from(pem), 'it'), issue)
    await signRequest(authority, await parsed('boiler-7'), {
      ...issue,
      outDir: join(dir, 'pki'),
      force: true,
    })
    await renewCertificate(authority, join(dir, 'boiler-7.crt'), { now })
    expect(existsSync(keyFile)).toBe(true)
  })

  test('is not kept that was revoked, is for other names, or of another CA', async () => {
    const request = await parsed('edge')
    const server = (dns: string) => ({
      commonName: 'edge',
      kind: 'server' as const,
      dnsNames: [dns],
      outDir: dir,
      now,
    })
    const first = await signRequest(authority, request, server('old.example'))
    expect(await signRequest(authority, request, server('old.example'))).toMatchObject({ issued: false })
    expect(await signRequest(authority, request, server('new.example'))).toMatchObject({ issued: true })
    expect((await read(first.certFile)).subjectAltName).toBe('DNS:new.example')
    await revokeCertificates(authority, [first.certFile], { now })
    expect(await signRequest(authority, request, server('new.example'))).toMatchObject({ issued: true })
    const other = await createAuthority(join(dir, 'other'), { now })
    expect(await signRequest(other, request, server('new.example'))).toMatchObject({ issued: true })
  })

  test.each([
    ['rsa', { modulusLength: 1024 }],
    ['rsa', { modulusLength: 2048, publicExponent: 3 }],
    ['ec', { namedCurve: 'secp256k1' }],
    ['ed25519', {}],
  ])('is refused for a key that is weak, or that not everybody can check (%s %j)', (type, options) => {
    const { publicKey } = generateKeyPairSync(type as 'rsa', options as { modulusLength: number })
    expect(kindOfKey(publicKey)).toBeUndefined()
  })

  test('is refused to who asks for another name, or cannot prove that the key is theirs', async () => {
    const request = await parsed('boiler-7')
    await expect(signRequest(authority, request, asDevice('boiler-8'))).rejects.toMatchObject({
      code: 'CERTS_REQUEST',
      message: 'the request asks for "boiler-7", not for "boiler-8"',
    })
    const { pem } = await makeSigningRequest('boiler-7')
    const der = Buffer.from(pem.replace(/-----.*-----|\s/g, ''), 'base64')
    der[der.indexOf('boiler-7')] = 'c'.charCodeAt(0)
    await expect(parseSigningRequest(der, 'it')).rejects.toMatchObject({
      code: 'CERTS_REQUEST',
      message: 'the signature of it is not that of the key in it',
    })
    const file = join(dir, 'no.csr')
    for (const text of ['', 'not a request', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END']) {
      await writeFile(file, text)
      await expect(readSigningRequest(file)).rejects.toMatchObject({ code: 'CERTS_REQUEST' })
    }
    await expect(readSigningRequest(join(dir, 'away.csr'))).rejects.toMatchObject({ code: 'CERTS_REQUEST' })
  })
})

describe('the certificates of a folder', () => {
  test('are listed, soonest to end first, and all that were ever issued are on the register', async () => {
    await issueCertificate(authority, { ...asDevice('boiler-7'), days: 20 })
    await signRequest(authority, await parsed('boiler-8'), asDevice('boiler-8'))
    await issueCertificate(authority, { ...asDevice('boiler-7'), days: 25, force: true })
    expect(await listFleet(authority, { now })).toMatchObject([
      { commonName: 'boiler-7', role: 'device', daysLeft: 25, state: 'ending', keyHere: true },
      { commonName: 'boiler-8', role: 'device', daysLeft: 825, state: 'active', keyHere: false },
    ])
    expect(await listFleet(authority, { now: later(26) })).toMatchObject([
      { state: 'ended' },
      { state: 'active' },
    ])
    expect((await readRegister(authority.dir)).map(({ commonName }) => commonName)).toEqual([
      'boiler-7',
      'boiler-8',
      'boiler-7',
    ])
  })

  test('are renewed for whom they are: a pair with a new key of its kind, what is only signed for the key it has', async () => {
    const server = await issueCertificate(authority, {
      commonName: 'edge',
      kind: 'server',
      key: 'rsa',
      dnsNames: ['edge.example'],
      ipAddresses: ['192.0.2.7', '::1'],
      outDir: authority.dir,
      days: 20,
      now,
    })
    const signed = await signRequest(authority, await parsed('boiler-8'), {
      ...asDevice('boiler-8'),
      days: 20,
    })
    const before = { server: await read(server.certFile), signed: await read(signed.certFile) }
    expect(await renewCertificate(authority, server.certFile, { now: later(5) })).toMatchObject({
      newKey: true,
    })
    expect(await renewCertificate(authority, signed.certFile, { now: later(5) })).toMatchObject({
      newKey: false,
    })
    const after = { server: await read(server.certFile), signed: await read(signed.certFile) }
    expect(after.server.subjectAltName).toBe(before.server.subjectAltName)
    expect(after.server.publicKey.asymmetricKeyType).toBe('rsa')
    expect(after.server.publicKey.equals(before.server.publicKey)).toBe(false)
    expect(after.signed.publicKey.equals(before.signed.publicKey)).toBe(true)
    expect(after.signed.serialNumber).not.toBe(before.signed.serialNumber)
    expect(
      loadTlsFiles({ ...server, caFile: authority.certFile, where: 'it', kind: 'server', now: later(5) })
        .daysLeft,
    ).toBe(825)
  })

  test('are renewed in the files that are named, or not at all', async () => {
    const { certFile, keyFile } = await issueCertificate(authority, asDevice('boiler-7'))
    const elsewhere = join(dir, 'tls.crt')
    await copyFile(certFile, elsewhere)
    await copyFile(keyFile, join(dir, 'tls.key'))
    await expect(renewCertificate(authority, elsewhere, { now })).rejects.toMatchObject({
      code: 'CERTS_REQUEST',
      message: expect.stringContaining('not named so') as string,
    })
    expect(existsSync(join(dir, 'boiler-7.crt'))).toBe(false)
  })

  test('of another CA are not renewed', async () => {
    const other = await createAuthority(join(dir, 'other'), { now })
    const foreign = await issueCertificate(other, { ...asDevice('boiler-9') })
    await expect(renewCertificate(authority, foreign.certFile, { now })).rejects.toMatchObject({
      code: 'CERTS_REQUEST',
      message: expect.stringContaining('was not issued by the CA') as string,
    })
    expect(await listFleet(authority, { now })).toMatchObject([{ commonName: 'boiler-9', state: 'foreign' }])
  })

  test('a CA of RSA issues for keys of both kinds, and the register survives a line that a crash cut off', async () => {
    const rsa = await createAuthority(join(dir, 'rsa'), { now, key: 'rsa' })
    const outDir = join(rsa.dir, 'devices')
    const ecdsa = await issueCertificate(rsa, { ...asDevice('a'), outDir })
    await writeFile(join(rsa.dir, 'issued.jsonl'), '{"serialNumber":"4', { flag: 'a' })
    for (const { certFile } of [ecdsa, await issueCertificate(rsa, { ...asDevice('b'), outDir, key: 'rsa' })])
      expect((await read(certFile)).verify((await read(rsa.certFile)).publicKey)).toBe(true)
    expect((await readRegister(rsa.dir)).map(({ commonName }) => commonName)).toEqual(['a', 'b'])
  })
})
