import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../../certs/authority.ts'
import { issueDevices } from '../../../certs/development.ts'
import { revokeCertificates } from '../../../certs/revoke.ts'
import { type Authorities, authoritiesOf, credentialOf } from '../../../edge/mqtt/trust/credential.ts'
import { RevocationListFile } from '../../../edge/mqtt/trust/revocation-lists.ts'
import { readCertificates } from '../../../src/pem-files.ts'
import { createIntermediateCa, strangeKey } from '../../support/edge/intermediate-ca.ts'

const dayMs = 86_400_000
const dir = mkdtempSync(join(tmpdir(), 'tidegate-lists-'))
let authority: Authority
let authorities: Authorities
beforeAll(async () => {
  authority = await createAuthority(dir)
  authorities = authoritiesOf(readCertificates(authority.certFile, 'test').certificates)
  await issueDevices(authority, ['a1', 'a2'])
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const certFile = (id: string): string => join(dir, 'devices', `${id}.crt`)

function linkOf(id: string) {
  const [leaf] = readCertificates(certFile(id), 'test').certificates
  const { serial, issuers } = credentialOf({ leaf, sent: [] }, id, authorities).leaf
  return { serial, issuer: issuers[0]! }
}

function written(text: string | Buffer): string {
  const file = join(dir, 'list.pem')
  writeFileSync(file, text)
  return file
}

test('of several lists of one CA the newest counts, wherever it stands in the file', async () => {
  const now = Date.now()
  const pemAt = async (ids: string[], agoMs: number): Promise<string> => {
    rmSync(join(dir, 'ca.crl'), { force: true })
    const { crlFile } = await revokeCertificates(authority, ids.map(certFile), { now: new Date(now - agoMs) })
    return readFileSync(crlFile, 'utf8')
  }
  const [older, newer] = [await pemAt(['a1'], dayMs), await pemAt(['a2'], 0)]
  for (const text of [older + newer, newer + older]) {
    const lists = await new RevocationListFile(written(text)).read(authorities)
    expect([lists.has(linkOf('a1')), lists.has(linkOf('a2')), lists.revoked]).toEqual([false, true, 1])
    expect(Math.round((lists.nextUpdateMs - now) / dayMs)).toBe(30)
    expect(lists.warnings).toEqual([])
  }
})

test('a list that is damaged, cut off, foreign, partial or too long is refused, each by its code', async () => {
  const { crlFile } = await revokeCertificates(authority, [certFile('a1')])
  const good = readFileSync(crlFile, 'utf8')
  const other = await createIntermediateCa()
  const issuingPoint = new x509.Extension('2.5.29.28', true, Buffer.from('3003810101', 'hex'))
  const wrong: [string, string | Buffer][] = [
    ['CRL_CORRUPT', ''],
    ['CRL_CORRUPT', readFileSync(authority.certFile)],
    ['CRL_CORRUPT', Buffer.from(new x509.X509Crl(good).rawData)],
    ['CRL_CORRUPT', `${good}${good.slice(0, 100)}`],
    ['CRL_CORRUPT', good.replace(/\n(.{64})\n(.{64})\n/, '\n$2\n')],
    ['CRL_FOREIGN', good + (await other.rootList({ intermediate: false }))],
    ['CRL_UNSUPPORTED', await other.rootList({ intermediate: false }, [issuingPoint])],
    ['TLS_FILE_TOO_LARGE', `${good}${'\n'.repeat(1 << 20)}`],
  ]
  for (const [code, text] of wrong)
    await expect(new RevocationListFile(written(text)).read(authorities)).rejects.toMatchObject({ code })
  await expect(new RevocationListFile(join(dir, 'none')).read(authorities)).rejects.toMatchObject({
    code: 'TLS_FILE_MISSING',
  })
})

test('what a device has sent and nobody understands has signed nothing, and harms nothing', async () => {
  const other = await createIntermediateCa()
  const [leaf, middle] = (await other.device('below')).cert
    .split(/(?=-----BEGIN)/)
    .map((pem) => new X509Certificate(pem)) as [X509Certificate, X509Certificate]
  const ours = authoritiesOf([new X509Certificate(other.root)])
  const { sent } = credentialOf({ leaf, sent: [strangeKey(middle), middle, leaf] }, 'below', ours)
  expect(sent.map(({ issuers }) => issuers)).toEqual([[...ours.keys()]])
})

test('a list of another key under the name of the CA is foreign', async () => {
  const impostor = await createAuthority(join(dir, 'impostor'))
  const { crlFile } = await revokeCertificates(impostor, [])
  await expect(new RevocationListFile(crlFile).read(authorities)).rejects.toMatchObject({
    code: 'CRL_FOREIGN',
  })
})

interface Made {
  number?: number
  thisUpdate?: Date
  entries?: string[]
  extensions?: x509.Extension[]
}

/** A list of the CA, in PEM. */
async function made({
  number,
  thisUpdate = new Date(),
  entries = [],
  extensions = [],
}: Made): Promise<string> {
  const counted = Buffer.of(2, 1, number ?? 0)
  const list = await x509.X509CrlGenerator.create({
    issuer: authority.certificate.subjectName,
    thisUpdate,
    nextUpdate: new Date(Date.now() + dayMs),
    entries: entries.map((serialNumber) => ({ serialNumber })),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } as x509.X509CrlCreateParams['signingAlgorithm'],
    signingKey: authority.privateKey,
    extensions: [
      ...(number === undefined ? [] : [new x509.Extension('2.5.29.20', false, counted)]),
      ...extensions,
    ],
  })
  return `${list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----')}\n`
}

const withOurs = (root: string): Authorities =>
  authoritiesOf([new X509Certificate(authority.certificate.toString('pem')), new X509Certificate(root)])

const [past, now] = [new Date(Date.now() - dayMs), new Date()]

test.each<[string, Made, Made]>([
  ['a lower number', { number: 2 }, { number: 1 }],
  [
    'a lower number, though it is dated later',
    { number: 2, thisUpdate: past },
    { number: 1, thisUpdate: now },
  ],
  ['an older date', { thisUpdate: now }, { thisUpdate: past }],
  ['an older date, where one has no number', { number: 1, thisUpdate: now }, { thisUpdate: past }],
  ['an older date under the same number', { number: 1, thisUpdate: now }, { number: 1, thisUpdate: past }],
])('a list does not take the place of a newer one: %s', async (_, newer, older) => {
  const file = new RevocationListFile(written(await made({ ...newer, entries: ['4a'] })))
  const inForce = await file.read(authorities)
  written(await made(older))
  await expect(file.read(authorities, inForce)).rejects.toMatchObject({ code: 'CRL_OLDER' })
  await expect(new RevocationListFile(join(dir, 'list.pem')).read(authorities)).resolves.toMatchObject({
    revoked: 0,
  })
  written(await made({ ...newer, entries: ['4a', '4b'] }))
  await expect(file.read(authorities, inForce)).resolves.toMatchObject({ revoked: 2 })
})

test('the list of a CA that is still trusted may not be lost from the file, and may be with the CA', async () => {
  const other = await createIntermediateCa()
  const both = withOurs(other.root)
  const ours = await made({ entries: ['4a'] })
  const file = new RevocationListFile(written(ours + (await other.rootList({ intermediate: true }))))
  const inForce = await file.read(both)
  written(ours)
  await expect(file.read(both, inForce)).rejects.toMatchObject({
    code: 'CRL_OLDER',
    message: expect.stringContaining('no list of "CN=Root"') as string,
  })
  await expect(file.read(authorities, inForce)).resolves.toMatchObject({ revoked: 1 })
})

test('of two lists of one CA of which neither is newer both count', async () => {
  const lists = await Promise.all(
    ['4a', '4b'].map((entry) => made({ number: 1, thisUpdate: now, entries: [entry] })),
  )
  await expect(new RevocationListFile(written(lists.join(''))).read(authorities)).resolves.toMatchObject({
    revoked: 2,
  })
})

test.each(['2.5.29.27', '2.5.29.28'])('a partial list (%s) is refused, critical or not', async (type) => {
  for (const critical of [true, false]) {
    const extension = new x509.Extension(type, critical, Buffer.of(2, 1, 1))
    await expect(
      new RevocationListFile(written(await made({ extensions: [extension] }))).read(authorities),
    ).rejects.toMatchObject({ code: 'CRL_UNSUPPORTED' })
  }
})

test('a CA without a list counts as one whose list is late', async () => {
  const other = await createIntermediateCa()
  const both = withOurs(other.root)
  const lists = await new RevocationListFile(written(await made({}))).read(both)
  expect([...both.keys()].map((issuer) => lists.isStale(issuer, Date.now()))).toEqual([false, true])
})

test('a file is parsed again when it or a CA has changed, and not before', async () => {
  const file = new RevocationListFile(written(await made({ entries: ['4a'] })))
  const first = await file.read(authorities)
  expect(await file.read(authorities, first)).toBe(first)
  written('no list')
  const fault = await file.read(authorities, first).catch((error: unknown) => error)
  expect(await file.read(authorities, first).catch((error: unknown) => error)).toBe(fault)
  written(await made({ entries: ['4a', '4b'] }))
  const second = await file.read(authorities, first)
  expect(second.revoked).toBe(2)
  const other = await createIntermediateCa()
  const both = withOurs(other.root)
  expect((await file.read(both, second)).warnings).toHaveLength(1)
})

const serial = (number: number): string => `4${number.toString(16).toUpperCase().padStart(31, '0')}`

test('four thousand revoked certificates are read', async () => {
  const file = written(await made({ entries: Array.from({ length: 4000 }, (_, index) => serial(index)) }))
  const lists = await new RevocationListFile(file).read(authorities)
  const [issuer = ''] = authorities.keys()
  expect(lists.revoked).toBe(4000)
  expect([0, 3999, 4000].map((number) => lists.has({ issuer, serial: serial(number) }))).toEqual([
    true,
    true,
    false,
  ])
})
