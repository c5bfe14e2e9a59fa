import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { appendFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openAuthority } from '../../../certs/authority.ts'
import { issueCertificate } from '../../../certs/issue.ts'
import { revokeCertificates } from '../../../certs/revoke.ts'
import { createIntermediateCa } from '../../support/edge/intermediate-ca.ts'
import { createTestPki } from '../../support/edge/test-broker.ts'
import {
  closed,
  denying,
  handshake,
  publish,
  refusal,
  usePlaces,
} from '../../support/edge/trusting-broker.ts'

const dayMs = 86_400_000
const place = usePlaces()

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
  await writeFile(here.files.denied, denying('device a1 # stolen', `serial ${serialNumber.toLowerCase()}`))
  await here.reloaded(1)
  await Promise.all([closed(one), closed(two)])
  expect(here.seen.ended).toEqual(['denied', 'denied'])
  await refusal(here, tls)
  expect(here.seen.refused).toEqual(['denied'])
  await publish(other, 'a3')

  await writeFile(here.files.denied, denying())
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
    await refusal(here, server)
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

test('devices of a CA that is trusted no longer are cut off, those of the other stay, and each list counts for its own', async () => {
  const second = await createTestPki()
  onTestFinished(() => second.close())
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

test('an intermediate that was taken back is found behind whatever a device sends before it', async () => {
  const other = await createIntermediateCa()
  const here = await place({
    async prepare({ files }) {
      await writeFile(`${files.ca}.both`, readFileSync(files.ca, 'utf8') + other.root)
      files.ca += '.both'
      await appendFile(files.crl, await other.rootList({ intermediate: true }))
    },
  })
  const ca = readFileSync(here.pki.caFile)
  await refusal(here, { ca, ...(await other.disguised('below')) })
  expect(here.seen.refused).toEqual(['revoked-certificate'])
  const many = await other.device('many')
  const padding = Array.from({ length: 8 }, () => other.root).join('')
  await refusal(here, { ca, key: many.key, cert: many.cert + padding })
  expect(here.seen.refused.at(-1)).toBe('unknown-ca')
})

test('a device that still sends the old certificate of its renewed intermediate is let in, though that one was taken back', async () => {
  const other = await createIntermediateCa()
  const here = await place({
    async prepare({ files }) {
      await writeFile(`${files.ca}.both`, readFileSync(files.ca, 'utf8') + other.root)
      files.ca += '.both'
      await appendFile(files.crl, await other.rootList({ intermediate: false, ended: true }))
    },
  })
  const tls = { ca: readFileSync(here.pki.caFile), ...(await other.renewed('below')) }
  await publish(await here.connect(tls), 'below')
  const disguised = { ca: readFileSync(here.pki.caFile), ...(await other.disguised('honest')) }
  await publish(await here.connect(disguised), 'honest')
  expect(here.seen.refused).toEqual([])
})

test('what a device of a CA of ours sends beside its certificate is not asked for', async () => {
  const here = await place()
  const tls = await here.pki.device('direct')
  const padding = Array.from({ length: 9 }, () => tls.ca.toString()).join('')
  await publish(await here.connect({ ...tls, cert: `${tls.cert.toString()}${padding}` }), 'direct')
  expect(here.seen.refused).toEqual([])
})
