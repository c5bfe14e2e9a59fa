import 'reflect-metadata'
import { createPrivateKey, KeyObject, type webcrypto } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as x509 from '@peculiar/x509'
import { generateKeys } from '../../../certs/algorithms.ts'
import { createAuthority } from '../../../certs/authority.ts'
import { checkKeyPair, inspectCertificate } from '../../../certs/inspect.ts'
import { issueCertificate, type IssuedCertificate } from '../../../certs/issue.ts'
import { run } from '../../../dev/servers/command.ts'
import { loadTlsFiles } from '../../../src/tls-files.ts'

const where = 'the MQTT listener (mqtt.tls)'
const now = new Date('2026-03-01T12:00:00Z')
const dayMs = 86_400_000

let dir: string
let caFile: string
let foreignCaFile: string
let server: IssuedCertificate
let client: IssuedCertificate

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidegate-certs-'))
  const authority = await createAuthority(join(dir, 'ours'), { now })
  const foreign = await createAuthority(join(dir, 'foreign'), { now })
  caFile = authority.certFile
  foreignCaFile = foreign.certFile
  const outDir = authority.dir
  server = await issueCertificate(authority, {
    commonName: 'edge',
    kind: 'server',
    dnsNames: ['localhost'],
    days: 90,
    outDir,
    now,
  })
  client = await issueCertificate(authority, {
    commonName: 'boiler-7',
    kind: 'client',
    days: 60,
    outDir,
    now,
  })
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const files = (changed: Partial<Parameters<typeof loadTlsFiles>[0]> = {}) => ({
  caFile,
  certFile: server.certFile,
  keyFile: server.keyFile,
  where,
  now,
  ...changed,
})

const loading = (changed?: Parameters<typeof files>[0]) => () => loadTlsFiles(files(changed))
const after = (days: number) => new Date(now.getTime() + days * dayMs)

async function written(name: string, contents: string): Promise<string> {
  const file = join(dir, name)
  await writeFile(file, contents, { mode: 0o600 })
  return file
}

async function makeCertificate(name: string, issuer?: { keys: webcrypto.CryptoKeyPair; name: string }) {
  const keys = await generateKeys('ecdsa')
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: `CN=${issuer?.name ?? name}`,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    notBefore: after(-1),
    notAfter: after(100),
    extensions: [new x509.BasicConstraintsExtension(name !== 'edge', undefined, true)],
  })
  return { keys, name, pem: `${certificate.toString('pem')}\n` }
}

/** A root, an intermediate CA of it, and a server certificate of that: PEM. */
async function intermediatePki(): Promise<{
  root: string
  intermediate: string
  certFile: string
  keyFile: string
}> {
  const root = await makeCertificate('Root')
  const factory = await makeCertificate('Factory', root)
  const leaf = await makeCertificate('edge', factory)
  const key = KeyObject.from(leaf.keys.privateKey).export({ type: 'pkcs8', format: 'pem' }) as string
  return {
    root: root.pem,
    intermediate: factory.pem,
    certFile: await written('leaf.crt', leaf.pem),
    keyFile: await written('leaf.key', key),
  }
}

describe('TLS files at start-up', () => {
  test('files that belong together come back as they are on disk, with whose they are and how long they last', async () => {
    const loaded = loadTlsFiles(files({ kind: 'server' }))
    expect(loaded).toMatchObject({ commonName: 'edge', daysLeft: 90, warnings: [] })
    expect(loaded.notAfter).toEqual(new Date(now.getTime() + 90 * dayMs))
    expect(loaded.ca).toEqual(await readFile(caFile))
    expect(loaded.cert).toEqual(await readFile(server.certFile))
    expect(loaded.key).toEqual(await readFile(server.keyFile))
  })

  test.each(['before', 'behind'])(
    'a CA that was renewed with its key is taken, though the certificate that has ended stands %s it',
    async (place) => {
      const issuer = await createAuthority(join(dir, `renewed-${place}`), { now: after(-400), days: 365 })
      const ended = await readFile(issuer.certFile, 'utf8')
      await rm(issuer.certFile)
      const renewed = await createAuthority(issuer.dir, { now })
      const pair = await issueCertificate(renewed, {
        commonName: 'edge',
        kind: 'server',
        dnsNames: ['localhost'],
        outDir: renewed.dir,
        now,
      })
      const both = [ended, await readFile(renewed.certFile, 'utf8')]
      const twice = await written(
        `both-${place}.crt`,
        (place === 'before' ? both : both.toReversed()).join(''),
      )
      expect(loadTlsFiles({ ...pair, caFile: twice, where, kind: 'server', now })).toMatchObject({
        commonName: 'edge',
      })
    },
  )

  test('a missing file is named, with who needs it', () => {
    const keyFile = join(dir, 'nowhere.key')
    expect(loading({ keyFile })).toThrow(
      expect.objectContaining({ code: 'TLS_FILE_MISSING', message: `${where}: there is no file ${keyFile}` }),
    )
  })

  test('a folder, a pipe or a device in place of a file is unreadable: no crash, no wait, no end of memory', async () => {
    const pipe = join(dir, 'pipe')
    await run({ file: 'mkfifo', args: [pipe] }, { timeoutMs: 15_000 })
    for (const certFile of [dir, pipe, '/dev/zero'])
      expect(loading({ certFile })).toThrow(expect.objectContaining({ code: 'TLS_FILE_UNREADABLE' }))
  })

  test('a file far longer than certificates are is not read', async () => {
    const keyFile = join(dir, 'disk.img')
    await writeFile(keyFile, '')
    await truncate(keyFile, 1 << 30)
    expect(loading({ keyFile })).toThrow(expect.objectContaining({ code: 'TLS_FILE_TOO_LARGE' }))
  })

  test.each(['certFile', 'keyFile', 'caFile'] as const)(
    'a corrupt %s is named, whichever part of it is damaged',
    async (which) => {
      const good = await readFile(files()[which], 'utf8')
      const middle = Math.floor(good.length / 2)
      for (const [name, damaged] of [
        ['empty', ''],
        ['cut', good.slice(0, middle)],
        ['garbled', `${good.slice(0, middle)}!!!!${good.slice(middle + 4)}`],
        ['swapped', await readFile(which === 'keyFile' ? server.certFile : server.keyFile, 'utf8')],
      ] as const) {
        const file = await written(`${which}-${name}.pem`, damaged)
        expect(loading({ [which]: file })).toThrow(
          expect.objectContaining({ code: 'TLS_FILE_CORRUPT', message: expect.stringContaining(file) }),
        )
      }
    },
  )

  test('a key that is encrypted, or a certificate in its place, is told by what it is', async () => {
    const passphrase = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' } as const
    const encrypted = createPrivateKey(await readFile(server.keyFile)).export(passphrase)
    const keyFile = await written('encrypted.key', encrypted.toString())
    expect(loading({ keyFile })).toThrow(/its private key is encrypted/)
    expect(loading({ keyFile: server.certFile })).toThrow(
      /a private key in PEM was expected and it holds a certificate/,
    )
    expect(loading({ certFile: server.keyFile })).toThrow(
      /a certificate in PEM was expected and it holds a private key/,
    )
  })

  test('a certificate of our CA with one bit of its signature turned is corrupt, not of another CA', async () => {
    const der = Buffer.from(
      (await readFile(server.certFile, 'utf8')).replace(/-----[^-]+-----/g, ''),
      'base64',
    )
    der[der.length - 1]! ^= 1
    const file = await written(
      'turned.crt',
      `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`,
    )
    expect(loading({ certFile: file })).toThrow(
      expect.objectContaining({ code: 'TLS_FILE_CORRUPT', message: expect.stringContaining('signature') }),
    )
  })

  test("another certificate's key is refused", () => {
    expect(loading({ keyFile: client.keyFile })).toThrow(
      expect.objectContaining({ code: 'TLS_KEY_MISMATCH' }),
    )
  })

  test('a certificate of another CA is refused, though both CAs have one name', () => {
    expect(loading({ caFile: foreignCaFile })).toThrow(expect.objectContaining({ code: 'TLS_WRONG_CA' }))
  })

  test('a CA file may hold an old and a new CA side by side', async () => {
    const both = await written(
      'both.crt',
      (await readFile(foreignCaFile, 'utf8')) + (await readFile(caFile, 'utf8')),
    )
    expect(loadTlsFiles(files({ caFile: both })).commonName).toBe('edge')
  })

  test('an expired certificate is refused and not retryable; one from the future may become valid by itself', () => {
    expect(loading({ now: after(89) })).not.toThrow()
    expect(loading({ now: after(91) })).toThrow(
      expect.objectContaining({ code: 'TLS_EXPIRED', retryable: false }),
    )
    expect(loading({ now: after(-2) })).toThrow(
      expect.objectContaining({ code: 'TLS_NOT_YET_VALID', retryable: true }),
    )
  })

  test('an expired CA is refused though the certificate itself is still good', async () => {
    const brief = join(dir, 'brief')
    await mkdir(brief)
    await copyFile(join(dirname(caFile), 'ca.key'), join(brief, 'ca.key'))
    const { certFile: briefCaFile } = await createAuthority(brief, { now, days: 40 })
    expect(loading({ caFile: briefCaFile, now: after(39) })).not.toThrow()
    expect(loading({ caFile: briefCaFile, now: after(41) })).toThrow(
      expect.objectContaining({ code: 'TLS_EXPIRED', message: expect.stringContaining(briefCaFile) }),
    )
  })

  test('an intermediate CA without its root is told of, since TLS will trust nothing that it issued', async () => {
    const pki = await intermediatePki()
    const given = { certFile: pki.certFile, keyFile: pki.keyFile }
    const alone = await written('alone.crt', pki.intermediate)
    expect(loading({ ...given, caFile: alone })).toThrow(
      expect.objectContaining({
        code: 'TLS_WRONG_CA',
        message: expect.stringMatching(/"CN=Factory".* is an intermediate, and its root is not in the file/),
        hint: expect.stringContaining('"CN=Root"'),
      }),
    )
    const both = await written('both.crt', pki.intermediate + pki.root)
    expect(loadTlsFiles(files({ ...given, caFile: both })).warnings).toEqual([])
    const beside = await written('beside.crt', (await readFile(caFile, 'utf8')) + pki.intermediate)
    expect(loadTlsFiles(files({ caFile: beside })).warnings).toEqual([
      expect.stringContaining('an intermediate CA, without its root'),
    ])
  })

  test('a client certificate cannot stand in for a server', () => {
    expect(() =>
      loadTlsFiles(files({ certFile: client.certFile, keyFile: client.keyFile, kind: 'server' })),
    ).toThrow(expect.objectContaining({ code: 'TLS_WRONG_KIND' }))
  })

  test('a key that other users of the machine can read works, with a warning; one its group can read needs none', async () => {
    const keyFile = join(dir, 'open.key')
    await copyFile(server.keyFile, keyFile)
    await chmod(keyFile, 0o644)
    expect(checkKeyPair(server.certFile, keyFile, caFile, now).warnings).toEqual([
      expect.stringContaining('chmod 600'),
    ])
    await chmod(keyFile, 0o640)
    expect(checkKeyPair(server.certFile, keyFile, caFile, now).warnings).toEqual([])
  })
})

describe('inspecting a certificate', () => {
  test('a report says whose it is, who signed it, what for and for how long, and refuses nothing', () => {
    const later = new Date(now.getTime() + 100 * dayMs)
    expect(inspectCertificate(client.certFile, later)).toEqual({
      subject: 'CN=boiler-7',
      commonName: 'boiler-7',
      issuer: 'CN=Tidegate development CA',
      notBefore: new Date(now.getTime() - dayMs),
      notAfter: new Date(now.getTime() + 60 * dayMs),
      daysLeft: -40,
      fingerprint256: expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/),
      keyFingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      kind: 'client',
      alternativeNames: ['URI:urn:tidegate:device:boiler-7'],
    })
    expect(inspectCertificate(server.certFile, now)).toMatchObject({
      kind: 'server',
      alternativeNames: ['DNS:localhost'],
    })
    expect(inspectCertificate(caFile, now).kind).toBe('authority')
  })
})
