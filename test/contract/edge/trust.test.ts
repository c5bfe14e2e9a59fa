import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { loadTrust, type TrustFiles } from '../../../edge/mqtt/trust/files.ts'
import { startTrust, type Trust, type TrustOptions, trustParts } from '../../../edge/mqtt/trust/trust.ts'
import { tlsState } from '../../../edge/tls.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { strangeKey } from '../../support/edge/intermediate-ca.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'

let pki: TestPki
beforeAll(async () => {
  pki = await createTestPki()
})
afterAll(() => pki.close())

interface Place {
  files: TrustFiles & { denied: string }
  trust: Trust
  clock: FakeClock
  /** What followers were told. */
  told: { reloads: string[]; passes: number }
  codes: () => unknown[]
}

/** Files that are looked at, unless it is said how, as if they never changed. */
async function place({ look = async () => '' }: Pick<TrustOptions, 'look'> = {}): Promise<Place> {
  const files = {
    ca: join(pki.folder, 'own.ca'),
    cert: pki.edge.certFile,
    key: pki.edge.keyFile,
    denied: join(pki.folder, 'denied'),
  }
  await writeFile(files.ca, readFileSync(pki.caFile))
  await writeFile(files.denied, 'device a1\nend\n')
  const clock = new FakeClock(Date.now())
  const logs: Record<string, unknown>[] = []
  const log = pino({}, { write: (line: string) => void logs.push(JSON.parse(line)) })
  const loaded = { ...(await loadTrust(files, new Date())), marks: '' }
  const trust = startTrust({ files, stale: 'accept', loaded, clock, log, look })
  onTestFinished(() => trust.close())
  const told: Place['told'] = { reloads: [], passes: 0 }
  trust.watch({
    reloaded: (result) => void told.reloads.push(result),
    passed: () => (told.passes += 1),
  })
  return { files, trust, clock, told, codes: () => logs.flatMap(({ code }) => code ?? []) }
}

test('a fault that comes right without anybody writing the file is found right within a minute', async () => {
  const { files, trust, clock, told } = await place()
  await writeFile(files.denied, 'nonsense\n')
  await trust.reload()
  expect([...trust.faulty]).toEqual(['denied'])
  await writeFile(files.denied, 'device a2\nend\n')
  await clock.advance(59_000)
  expect(told.reloads).toEqual(['failed'])
  await clock.advance(2000)
  expect([told.reloads, trust.faulty.size, [...trust.inForce.denied.devices]]).toEqual([
    ['failed', 'loaded'],
    0,
    ['a2'],
  ])
  await clock.advance(300_000)
  expect(told.reloads).toHaveLength(2)
})

test('a CA whose key nobody understands is a fault of that file, and ends nothing', async () => {
  const { files, trust, codes } = await place()
  const strange = strangeKey(new X509Certificate(readFileSync(pki.caFile)))
  await appendFile(files.ca, strange.toString())
  await trust.reload()
  expect([[...trust.faulty], codes()]).toEqual([['ca'], ['TLS_UNUSABLE']])
  expect(trust.inForce.cas.authorities.size).toBe(1)
})

test('who cannot go by what was read keeps nobody else from it, now and the next time', async () => {
  const { trust, clock, told, codes } = await place()
  trust.watch({
    reloaded() {
      throw Object.assign(new Error('not to be had'), { code: 'FAILED' })
    },
    passed() {
      throw Object.assign(new Error('not now'), { code: 'PASSED' })
    },
  })
  const after: Place['told'] = { reloads: [], passes: 0 }
  trust.watch({ reloaded: () => after.reloads.push(''), passed: () => (after.passes += 1) })
  await clock.advance(2000)
  await trust.reload()
  await trust.reload()
  expect([told.passes, after.passes, told.reloads.length, after.reloads.length]).toEqual([2, 2, 2, 2])
  expect(codes()).toEqual(['PASSED', 'PASSED', 'FAILED', 'FAILED'])
})

test('while a look at the files hangs, time goes on for everybody’s certificates', async () => {
  const { clock, trust, told } = await place({ look: () => new Promise(() => {}) })
  await clock.advance(5000)
  expect(told.passes).toBe(5)
  expect(trust.faulty.size).toBe(0)
  await clock.advance(10_000)
  expect([...trust.faulty]).toEqual(trustParts)
})

test('files that never lie still are read all the same, within seconds', async () => {
  let looks = 0
  const { clock, told } = await place({ look: async () => String((looks += 1)) })
  await clock.advance(4000)
  expect(told.reloads).toEqual([])
  await clock.advance(2000)
  expect(told.reloads).toEqual(['loaded'])
  await clock.advance(60_000)
  expect(told.reloads.length).toBeGreaterThan(9)
})

test('files that cannot be looked at at all are not read, and are once they can be', async () => {
  let answers = false
  const look = async (): Promise<string> => {
    if (!answers) throw new Error('no')
    return 'another'
  }
  const { clock, told } = await place({ look })
  await clock.advance(5000)
  expect(told.reloads).toEqual([])
  answers = true
  await clock.advance(3000)
  expect(told.reloads).toEqual(['loaded'])
})

test('all who ask while the files are read share the next time', async () => {
  const { trust, told } = await place()
  const first = trust.reload()
  await Promise.resolve()
  await Promise.resolve()
  await Promise.all([first, ...Array.from({ length: 5 }, () => trust.reload())])
  expect(told.reloads).toEqual(['loaded', 'loaded'])
})

test('what is faulty, and how long the rest lasts, is there for whoever looks', async () => {
  const { files, trust, clock } = await place()
  const now = tlsState(trust, undefined, clock)
  expect(now.tlsFaulty()).toEqual({ ca: 0, certificate: 0, crl: 0, denied: 0, published: 0, users: 0 })
  await writeFile(files.denied, 'nonsense\n')
  await trust.reload()
  expect(now.tlsFaulty()).toEqual({ ca: 0, certificate: 0, crl: 0, denied: 1, published: 0, users: 0 })
  expect(now.lists()).toEqual({ number: 0, ageS: -1, refused: 0 })
  expect([Object.keys(now.certificates()), now.crlSecondsLeft()]).toEqual([['mqtt'], {}])
})
