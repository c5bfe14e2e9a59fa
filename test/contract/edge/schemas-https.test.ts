import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo } from 'node:net'
import { appendFileSync, readFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { askForSnapshot, type SnapshotServer } from '../../../edge/schemas/snapshot-https.ts'
import { Schemas } from '../../../edge/schemas/schemas.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { snapshotBytesMax } from '../../../src/schemas/snapshot.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { climate, schemaFiles, schemaPlace } from '../../support/edge/signed-schemas.ts'
import { createTestPki } from '../../support/edge/test-broker.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** A server that answers as it is told; ends with the test. */
async function serving(
  answer: Answer,
  tls?: { cert: string; key: string },
): Promise<{ url: string; asked: IncomingMessage[] }> {
  const asked: IncomingMessage[] = []
  const listener: Answer = (request, response) => {
    asked.push(request)
    answer(request, response)
  }
  const server = tls ? createHttpsServer(tls, listener) : createHttpServer(listener)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http${tls ? 's' : ''}://127.0.0.1:${port}/v1/schemas/snapshot`, asked }
}

const asking = { clock: systemClock, signal: new AbortController().signal }
const of = (url: string, more: Partial<SnapshotServer> = {}): SnapshotServer => ({
  url,
  timeoutMs: 5000,
  ...more,
})
const unreachable = (message: RegExp) => ({
  code: 'SCHEMA_SNAPSHOT_UNREACHABLE',
  retryable: true,
  message: expect.stringMatching(message) as string,
})

test('the answer is taken whole, with its ETag, and asked for again under that', async () => {
  const { url, asked } = await serving((request, response) => {
    if (request.headers['if-none-match'] === '"a"') response.writeHead(304).end()
    else response.writeHead(200, { etag: '"a"' }).end('snapshot')
  })
  const answer = await askForSnapshot(of(url), undefined, asking)
  expect(answer).toEqual({ bytes: Buffer.from('snapshot'), etag: '"a"' })
  expect(await askForSnapshot(of(url), '"a"', asking)).toBe('same')
  expect(asked.map(({ headers }) => headers['authorization'])).toEqual([undefined, undefined])
})

test('a token is read for each question, and shown', async () => {
  const place = schemaPlace()
  const { url, asked } = await serving((_, response) => response.writeHead(304).end())
  const tokenFile = place.write('token', 'one\n')
  await askForSnapshot(of(url, { tokenFile }), undefined, asking)
  place.write('token', 'two\n')
  await askForSnapshot(of(url, { tokenFile }), undefined, asking)
  expect(asked.map(({ headers }) => headers.authorization)).toEqual(['Bearer one', 'Bearer two'])
})

test.each([
  [401, /token/],
  [404, /no schemas were signed/],
  [302, /redirects are not followed/],
  [503, /503/],
])('an answer of %i is none, and says what to do', async (status, message) => {
  const { url } = await serving((_, response) =>
    response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end('x'),
  )
  await expect(askForSnapshot(of(url), undefined, asking)).rejects.toMatchObject(unreachable(message))
})

test('an answer that is too long, cut, or never ends is given up (G7)', async () => {
  const long = await serving((_, response) => {
    response.writeHead(200)
    response.write(Buffer.alloc(snapshotBytesMax + 1))
  })
  await expect(askForSnapshot(of(long.url), undefined, asking)).rejects.toMatchObject(
    unreachable(/more than 16777216 bytes/),
  )
  const cut = await serving((_, response) => {
    response.writeHead(200, { 'content-length': '10' })
    response.write('abc', () => response.destroy())
  })
  await expect(askForSnapshot(of(cut.url), undefined, asking)).rejects.toMatchObject(unreachable(/./))
  const clock = new FakeClock()
  let begun = false
  const slow = await serving((_, response) => {
    begun = true
    response.writeHead(200).write('abc')
  })
  const answer = askForSnapshot(of(slow.url), undefined, { ...asking, clock })
  answer.catch(() => {})
  await expect.poll(() => begun).toBe(true)
  await clock.advance(5000)
  await expect(answer).rejects.toMatchObject(unreachable(/no whole answer within 5000 ms/))
})

test('whoever answers is proven by the CA of schemas.snapshot.tls, and by nobody else', async () => {
  const pki = await createTestPki()
  onTestFinished(() => pki.close())
  const tls = { cert: readFileSync(pki.edge.certFile, 'utf8'), key: readFileSync(pki.edge.keyFile, 'utf8') }
  const { url } = await serving((_, response) => response.writeHead(200).end('snapshot'), tls)
  expect(await askForSnapshot(of(url, { tls: { ca: pki.caFile } }), undefined, asking)).toMatchObject({
    etag: undefined,
  })
  await expect(askForSnapshot(of(url), undefined, asking)).rejects.toMatchObject(unreachable(/./))
  const other = await createTestPki()
  onTestFinished(() => other.close())
  const wrong = askForSnapshot(of(url, { tls: { ca: other.caFile } }), undefined, asking)
  await expect(wrong).rejects.toMatchObject(unreachable(/./))
})

/** A gateway that asks, of a registry that can be away. */
async function following(unknownTypes: 'accept' | 'reject' = 'accept') {
  const place = schemaPlace()
  const signer = place.signer('registry')
  const registry = { status: 200, bytes: signer.sign(1, schemaFiles({ 1: 100 })), etag: '"1"' }
  const { url, asked } = await serving((request, response) => {
    if (registry.status !== 200) response.writeHead(registry.status).end()
    else if (request.headers['if-none-match'] === registry.etag) response.writeHead(304).end()
    else response.writeHead(200, { etag: registry.etag }).end(registry.bytes)
  })
  const clock = new FakeClock()
  const start = async () => {
    const schemas = await Schemas.load({
      origin: {
        kind: 'url',
        server: of(url),
        everyMs: 60_000,
        keys: [signer.publicFile],
        kept: place.at('kept'),
      },
      routes: [],
      formats: 'checked',
      unknownTypes,
      clock,
      random: () => 0.5,
      log: silentLog,
    })
    schemas.follow(() => {})
    return schemas
  }
  /** Of a second signer, whose key is not known before `trust`. */
  const addKey = () => {
    const successor = place.signer('successor')
    const trust = (): void => appendFileSync(signer.publicFile, readFileSync(successor.publicFile))
    return { ...successor, trust }
  }
  return { signer, registry, asked, clock, start, addKey }
}

test('a gateway takes what the registry signs, keeps it, and starts with it while nobody answers', async () => {
  const { signer, registry, asked, clock, start } = await following('reject')
  const first = await start()
  expect(first.seen().used).toMatchObject({ source: 'url', revision: 1 })
  await clock.until(() => asked.length === 2)
  expect(first.seen().changes).toBe(0)
  Object.assign(registry, { bytes: signer.sign(2, schemaFiles({ 1: 100, 2: 200 })), etag: '"2"' })
  await clock.until(() => first.seen().changes === 1)
  expect(first.seen().used).toMatchObject({ revision: 2, versions: 2 })
  await first.close()
  registry.status = 503
  const second = await start()
  expect(second.seen()).toMatchObject({ used: first.seen().used, confirmedMs: undefined })
  await clock.until(() => second.seen().refused.unreachable === 3)
  registry.status = 200
  await clock.until(() => second.seen().confirmedMs !== undefined)
  await second.close()
})

test('what was refused as older is not fetched again, and confirms nothing; a question under way ends with the gateway', async () => {
  const { signer, registry, asked, clock, start } = await following()
  const schemas = await start()
  Object.assign(registry, { bytes: signer.sign(1, schemaFiles({ 1: 1 })), etag: '"other"' })
  await clock.until(() => schemas.seen().refused.older === 1)
  const confirmedMs = Number(schemas.seen().confirmedMs)
  const atMs = clock.monotonicMs()
  await clock.until(() => schemas.seen().refused.older === 3)
  expect(schemas.seen().confirmedMs).toBe(confirmedMs + clock.monotonicMs() - atMs)
  expect(asked.at(-1)?.headers['if-none-match']).toBe('"other"')
  expect(schemas.check(climate, { data: { t: 50 } })).toMatchObject({
    ok: true,
  })
  const last = schemas.reload()
  await schemas.close()
  await last
})

test('what is signed by a key that comes later, and what came damaged, is fetched again under the same ETag', async () => {
  const { signer, registry, clock, start, addKey } = await following()
  const schemas = await start()
  const successor = addKey()
  Object.assign(registry, { bytes: successor.sign(2, schemaFiles({ 1: 100, 2: 200 })), etag: '"2"' })
  await clock.until(() => schemas.seen().refused.invalid === 2)
  expect(schemas.seen().used.revision).toBe(1)
  successor.trust()
  await clock.until(() => schemas.seen().used.revision === 2)
  const sound = signer.sign(3, schemaFiles({ 1: 100, 3: 200 }))
  Object.assign(registry, { bytes: sound.subarray(0, 100), etag: '"3"' })
  await clock.until(() => schemas.seen().refused.invalid > 2)
  registry.bytes = sound
  await clock.until(() => schemas.seen().used.revision === 3)
  await schemas.close()
})

test('a fleet asks at moments of its own, and ever less often while nobody answers', async () => {
  const { registry, asked, clock, start } = await following()
  const schemas = await start()
  registry.status = 503
  const startMs = clock.monotonicMs()
  await clock.until(() => asked.length >= 7)
  // Within ten seconds, then after 5 to 60 s: three quarters of each, doubled.
  expect(clock.monotonicMs() - startMs).toBeGreaterThan(100_000)
  await schemas.close()
})
