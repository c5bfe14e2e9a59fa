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
import { loadRevocationLists } from '../../../edge/mqtt/trust/revocation-lists.ts'
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
    const lists = await loadRevocationLists(written(text), authorities)
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
    await expect(loadRevocationLists(written(text), authorities)).rejects.toMatchObject({ code })
  await expect(loadRevocationLists(join(dir, 'none'), authorities)).rejects.toMatchObject({
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
  await expect(loadRevocationLists(crlFile, authorities)).rejects.toMatchObject({ code: 'CRL_FOREIGN' })
})

const serial = (number: number): string => `4${number.toString(16).toUpperCase().padStart(31, '0')}`

test('four thousand revoked certificates are read', async () => {
  const list = await x509.X509CrlGenerator.create({
    issuer: authority.certificate.subjectName,
    nextUpdate: new Date(Date.now() + dayMs),
    entries: Array.from({ length: 4000 }, (_, index) => ({
      serialNumber: serial(index),
    })),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } as x509.X509CrlCreateParams['signingAlgorithm'],
    signingKey: authority.privateKey,
  })
  const file = written(list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----'))
  const lists = await loadRevocationLists(file, authorities)
  const [issuer = ''] = authorities.keys()
  expect(lists.revoked).toBe(4000)
  expect([0, 3999, 4000].map((number) => lists.has({ issuer, serial: serial(number) }))).toEqual([
    true,
    true,
    false,
  ])
})
