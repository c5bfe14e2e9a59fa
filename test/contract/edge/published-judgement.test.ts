import { type KeyObject, X509Certificate } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { openAuthority } from '../../../certs/authority.ts'
import { signNextLists } from '../../../certs/lists/lists.ts'
import { resumeDevices, revokeCertificates, suspendDevices } from '../../../certs/revoke.ts'
import { authoritiesOf } from '../../../edge/mqtt/trust/credential.ts'
import {
  judgePublished,
  PublishedFile,
  type PublishedGrounds,
  type PublishedInForce,
} from '../../../edge/mqtt/trust/published.ts'
import type { TrustInForce } from '../../../edge/mqtt/trust/judgement.ts'
import { Taking } from '../../../edge/mqtt/trust/taking.ts'
import { silentLog } from '../../../src/log.ts'
import { parseDenied } from '../../../src/contract/denied.ts'
import { type Lists, listsStatement } from '../../../src/contract/published-lists.ts'
import { algorithmOf, fingerprintOf, signStatement } from '../../../src/contract/signature.ts'
import { createIntermediateCa, type IntermediateCa } from '../../support/edge/intermediate-ca.ts'
import { createTestPki } from '../../support/edge/test-broker.ts'

let one: IntermediateCa
let other: IntermediateCa
let grounds: PublishedGrounds
beforeAll(async () => {
  one = await createIntermediateCa()
  other = await createIntermediateCa()
  grounds = {
    authorities: authoritiesOf([one.root, one.middle, other.root].map((pem) => new X509Certificate(pem))),
  }
})

const issued = '2026-11-27T00:00:00Z'
const issuedMs = Date.parse(issued)
const dayMs = 86_400_000

const at = (ms: number): Partial<Lists> => ({ number: ms, issued: new Date(ms).toISOString() })

const serials = (pem: string): PublishedGrounds['denied'] =>
  parseDenied(`serial ${new X509Certificate(pem).serialNumber}\nend\n`, 'denied.txt')

async function signedBy(key: KeyObject, more: Partial<Lists>): Promise<Buffer> {
  const lists = { number: issuedMs, issued, crl: '', denied: 'end\n', ...more }
  const algorithm = algorithmOf(key) ?? 'ES256'
  const signature = await signStatement(listsStatement(lists), key, algorithm)
  return Buffer.from(JSON.stringify({ ...lists, key: fingerprintOf(key), algorithm, signature }))
}

async function judged(key: KeyObject, more: Partial<Lists>, on = grounds): Promise<PublishedInForce> {
  return judgePublished(await signedBy(key, more), on)
}

/** What the lists of a root are refused with where its lists of `before` are in force. */
async function after(before: Partial<Lists>, more: Partial<Lists>, key = one.rootKey): Promise<unknown> {
  const published = await judged(one.rootKey, before)
  return judged(key, { number: published.number + 1, ...more }, { ...grounds, published }).then(
    ({ number }) => number,
    (error: unknown) => (error as { code: string }).code,
  )
}

test('only a root CA that is neither revoked nor denied signs lists', async () => {
  await expect(judged(one.rootKey, {})).resolves.toMatchObject({ number: issuedMs })
  await expect(judged(one.middleKey, {})).rejects.toMatchObject({ code: 'LISTS_INVALID' })
  await expect(judged(one.rootKey, {}, { ...grounds, denied: serials(one.root) })).rejects.toMatchObject({
    code: 'LISTS_INVALID',
  })
  const { serialNumber } = new X509Certificate(one.root)
  expect(await after({ denied: `serial ${serialNumber}\nend\n` }, {})).toBe('LISTS_INVALID')
})

test('a gateway that goes by the lists of one CA takes those of another only when the first has gone', async () => {
  expect(await after({}, {}, other.rootKey)).toBe('LISTS_INVALID')
  const published = await judged(one.rootKey, { number: issuedMs + dayMs })
  const without = { published, authorities: authoritiesOf([new X509Certificate(other.root)]) }
  await expect(judged(other.rootKey, {}, without)).resolves.toMatchObject({ number: issuedMs })
})

test('no number uses up those that are to come: it is near the time of issue, which is one, and not ten years from the last', async () => {
  expect(await after({}, { number: issuedMs + dayMs })).toBe(issuedMs + dayMs)
  expect(await after({}, { number: issuedMs + dayMs + 1 })).toBe('LISTS_INVALID')
  expect(await after({}, { number: Number.MAX_SAFE_INTEGER })).toBe('LISTS_INVALID')
  expect(await after({}, at(issuedMs + 3650 * dayMs))).toBe(issuedMs + 3650 * dayMs)
  expect(await after({}, at(issuedMs + 3651 * dayMs))).toBe('LISTS_INVALID')
  await expect(judged(one.rootKey, at(Date.UTC(2100, 0)))).rejects.toMatchObject({ code: 'LISTS_INVALID' })
  await expect(judged(one.rootKey, at(1))).rejects.toMatchObject({ code: 'LISTS_INVALID' })
})

test('lists without a revocation list take the place of none that have one', async () => {
  const crl = await one.rootList({ intermediate: true })
  expect(await after({ crl }, {})).toBe('CRL_OLDER')
  expect(await after({ crl }, { crl })).toBe(issuedMs + 1)
  expect(await after({}, {})).toBe(issuedMs + 1)
})

test('what is in force is proven when the CAs have changed, is not looked for elsewhere when it is gone, and a fault passes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'lists.json')
  const file = new PublishedFile(path)
  await expect(file.read(grounds)).resolves.toBeUndefined()
  const { serialNumber } = new X509Certificate(one.root)
  await writeFile(path, await signedBy(one.rootKey, { denied: `serial ${serialNumber}\nend\n` }))
  const published = await file.read(grounds)
  expect(published).toMatchObject({ number: issuedMs })
  const fewer = authoritiesOf([new X509Certificate(one.root)])
  await expect(file.read({ published, authorities: fewer })).resolves.toMatchObject({ number: issuedMs })
  const none = authoritiesOf([new X509Certificate(other.root)])
  await expect(file.read({ published, authorities: none })).rejects.toMatchObject({ code: 'LISTS_INVALID' })
  const another = new PublishedFile(path)
  const denied = parseDenied(`serial ${serialNumber}\nend\n`, '')
  await expect(another.read({ ...grounds, denied })).rejects.toMatchObject({ code: 'LISTS_INVALID' })
  await expect(another.read(grounds)).resolves.toMatchObject({ number: issuedMs })
  await expect(file.read({ published, ...grounds })).resolves.toMatchObject({ number: issuedMs })
  await rm(path)
  await expect(file.read({ ...grounds, published })).rejects.toMatchObject({ code: 'LISTS_INVALID' })
})

test('lists are parsed once, and judged again before they take their place', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'lists.json')
  const file = new PublishedFile(path)
  const json = await signedBy(one.rootKey, {})
  const first = await judgePublished(json, grounds)
  await file.write(json, () => Promise.resolve({ judged: first, grounds }))
  expect(await file.read(grounds)).toBe(first)
  const next = await signedBy(one.rootKey, { number: issuedMs + 1 })
  await expect(file.write(next, () => Promise.reject(new Error('no more')))).rejects.toThrow('no more')
  expect(await file.read(grounds)).toBe(first)
  expect(await readdir(folder)).toEqual(['lists.json'])
})

test('of lists that come at once the newest are in force and on the disk in the end, and what is in force meanwhile counts', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'lists.json')
  const file = new PublishedFile(path)
  let inForce = { ...grounds, cas: grounds, denied: parseDenied('end\n', '') } as unknown as TrustInForce
  let duringWrite: (() => void) | undefined
  const reload = async (): Promise<void> => {
    const published = await file.read({ ...grounds, published: inForce.published })
    inForce = { ...inForce, published }
  }
  const looked = (): TrustInForce => {
    duringWrite?.()
    return inForce
  }
  const taking = new Taking({ file, inForce: looked, reload, log: silentLog })
  const texts = await Promise.all([2, 1, 3].map((more) => signedBy(one.rootKey, { number: issuedMs + more })))
  const taken = await Promise.all(texts.map((json) => taking.take(json)))
  expect(taken).toEqual(['taken', 'refused', 'taken'])
  expect(inForce.published?.number).toBe(issuedMs + 3)
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ number: issuedMs + 3 })

  const denied = parseDenied(`serial ${new X509Certificate(one.root).serialNumber}\nend\n`, '')
  let looks = 0
  duringWrite = () => {
    looks += 1
    // The first is whether it is known, the second what it is judged by, the third before it takes its place.
    if (looks === 3) inForce = { ...inForce, denied }
  }
  expect(await taking.take(await signedBy(one.rootKey, { number: issuedMs + 4 }))).toBe('refused')
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ number: issuedMs + 3 })
})

test('the command signs nothing that lets in who is out unless somebody says so', async () => {
  const pki = await createTestPki()
  onTestFinished(() => pki.close())
  const authority = await openAuthority(dirname(pki.caFile))
  const now = new Date()
  const listsFile = join(authority.dir, 'lists.json')
  const crlFile = join(authority.dir, 'ca.crl')
  const deniedFile = join(pki.folder, 'denied.txt')
  const sign = (options: object): Promise<unknown> =>
    signNextLists(authority, { now, ...options }).then(
      ({ denied }) => denied,
      (error: unknown) => (error as { code: string }).code,
    )
  expect(await sign({ nobodyDenied: true })).toBe('CERTS_LISTS')
  expect(await sign({ withoutCrl: true })).toBe('CERTS_LISTS')
  expect(await sign({ withoutCrl: true, nobodyDenied: true })).toBe('end\n')
  await revokeCertificates(authority, [])
  await writeFile(deniedFile, 'device a\nend\n')
  expect(await sign({ deniedFile })).toBe('device a\nend\n')
  expect(await sign({})).toBe('device a\nend\n')
  await writeFile(deniedFile, 'end\n')
  expect(await sign({ deniedFile })).toBe('CERTS_LISTS')
  await writeFile(deniedFile, 'device a\n')
  expect(await sign({ deniedFile })).toBe('DENIED_INVALID')
  expect(await sign({ now: new Date(now.getTime() + 3651 * dayMs) })).toBe('CERTS_LISTS')
  await writeFile(crlFile, 'garbage')
  expect(await sign({})).toBe('CERTS_LIST')
  await rm(crlFile)
  await revokeCertificates(authority, [], { now: new Date(now.getTime() - dayMs) })
  expect(await sign({})).toBe('CERTS_LISTS')
  await rm(crlFile)
  expect(await sign({ withoutCrl: true })).toBe('CERTS_LISTS')
  await revokeCertificates(authority, [], { now: new Date(now.getTime() + 1000) })
  expect(await sign({ now: new Date(now.getTime() - 2 * dayMs) })).toBe('device a\nend\n')
  expect(await sign({ nobodyDenied: true })).toBe('end\n')
  await rm(listsFile)
  expect(await sign({})).toBe('CERTS_LISTS')
})

test('the command publishes who is suspended, unless another file is named', async () => {
  const pki = await createTestPki()
  onTestFinished(() => pki.close())
  const authority = await openAuthority(dirname(pki.caFile))
  const now = new Date('2026-03-01T12:00:00Z')
  await suspendDevices(authority, ['a'], { now })
  const sign = (options: object): Promise<string> =>
    signNextLists(authority, { now, withoutCrl: true, ...options }).then(({ denied }) => denied)
  expect(await sign({})).toBe('device a  # 2026-03-01\nend\n')
  const deniedFile = join(pki.folder, 'other.txt')
  await writeFile(deniedFile, 'device b\nend\n')
  expect(await sign({ deniedFile })).toBe('device b\nend\n')
  await resumeDevices(authority, ['a'])
  await expect(sign({})).rejects.toMatchObject({ code: 'CERTS_LISTS' })
  expect(await sign({ nobodyDenied: true })).toBe('end\n')
})
