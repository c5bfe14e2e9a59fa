import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../../dev/fleet/random.ts'
import { type CuttingProxy, startCuttingProxy } from '../../support/cutting-proxy.ts'
import { anyShare, cutsSeed as seed, draws } from '../../support/cuts.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'

// What every adapter believes of node:tls: this is Node itself, without any of ours.

let pki: TestPki
beforeAll(async () => {
  pki = await createTestPki()
})
const closers: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closers.toReversed()) await close()
  await pki.close()
})

/** What one end was told: its bytes, and how it ended. */
interface Told {
  bytes: Buffer
  events: string[]
}

function listening(socket: TLSSocket): { told: Told; over: Promise<Told> } {
  const chunks: Buffer[] = []
  const told: Told = { bytes: Buffer.alloc(0), events: [] }
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  for (const event of ['end', 'error', 'close']) socket.on(event, () => told.events.push(event))
  const over = new Promise<Told>((resolve) => {
    socket.once('close', () => {
      // Whatever else may come comes now.
      setImmediate(() => {
        told.bytes = Buffer.concat(chunks)
        resolve(told)
      })
    })
  })
  return { told, over }
}

/** A TLS server behind a proxy; `receive` gets each socket that was accepted. */
async function startServer(receive: (socket: TLSSocket) => void): Promise<CuttingProxy> {
  const { certFile, keyFile } = pki.edge
  const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, receive)
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const proxy = await startCuttingProxy({ host: '127.0.0.1', port })
  closers.push(
    async () => void server.close(),
    () => proxy.close(),
  )
  return proxy
}

function client(proxy: CuttingProxy): TLSSocket {
  return connectTls({
    port: proxy.port,
    host: '127.0.0.1',
    ca: readFileSync(pki.caFile),
    servername: 'localhost',
  })
}

const sizes = fc.constantFrom(1, 20, 690, 1400, 16_383, 16_384, 16_385, 65_535, 65_537, 131_072)

/** Takes a write for complete when the socket has taken it, or has drained: as rabbitmq-client 5.0.8 does. */
function encoderOver(socket: TLSSocket): Writable {
  return new Writable({
    objectMode: true,
    write(chunk: Buffer, _encoding, done) {
      const write = (): void => {
        socket.cork()
        const taken = socket.write(chunk)
        socket.uncork()
        if (taken || !socket.writableNeedDrain) done()
        else socket.once('drain', done)
      }
      if (socket.writableNeedDrain) socket.once('drain', write)
      else write()
    },
    final: (done) => void socket.end(done),
  })
}

const writers: Record<string, (socket: TLSSocket) => Writable> = {
  'a TLS socket': (socket) => socket,
  'a stream over a TLS socket': encoderOver,
}

describe.each(Object.entries(writers))('bytes that are written to %s', (writer, writerOf) => {
  const some = draws(10, 2000)

  test(
    `arrive in the order of the calls, whatever the order of the callbacks (G1, G3, seed ${seed})`,
    async () => {
      const received: { over: Promise<Told> }[] = []
      const proxy = await startServer((socket) => {
        received.push(listening(socket))
        // It reads late: the writer's buffer fills.
        socket.pause()
        setImmediate(() => setImmediate(() => socket.resume()))
      })
      let disordered = 0
      const property = fc.asyncProperty(
        fc.array(sizes, { minLength: 1, maxLength: 60 }),
        fc.constantFrom(700, 16_384, Infinity),
        async (lengths, pieceBytes) => {
          proxy.pieceBytes = pieceBytes
          const socket = client(proxy)
          const { over } = listening(socket)
          await new Promise((resolve) => socket.once('secureConnect', resolve))
          const writes = lengths.map((length, index) => Buffer.alloc(length, index + 1))
          const completed: number[] = []
          const stream = writerOf(socket)
          for (const [index, write] of writes.entries()) stream.write(write, () => completed.push(index))
          stream.end()
          await over
          const told = await received.pop()!.over
          expect(told.bytes.equals(Buffer.concat(writes))).toBe(true)
          expect(completed.toSorted((a, b) => a - b)).toEqual(lengths.map((_, index) => index))
          if (completed.some((index, turn) => index !== turn)) disordered += 1
        },
      )
      await fc.assert(property, { seed, numRuns: some.count, endOnFailure: true })
      console.log(
        `${writer}: in ${disordered} of ${some.count} runs the callbacks came in another order than the calls`,
      )
    },
    some.timeoutMs,
  )
})

describe('a TLS connection that is cut at any byte', () => {
  const some = draws(60, 500)

  test(
    `gives its reader a prefix of what was sent, and one end: "end", "error" or both, then "close" (G1, G3, G4, seed ${seed})`,
    async () => {
      const received: { told: Told; over: Promise<Told> }[] = []
      const proxy = await startServer((socket) => received.push(listening(socket)))
      const random = seededRandom(seed, 'tls')
      const sent = Buffer.alloc(200_000)
      for (let at = 0; at < sent.length; at++) sent[at] = Math.floor(random() * 256)
      const outcomes = new Map<string, number>()
      let handshakeBytes = 0

      async function exchange(lengths: readonly number[]): Promise<{ near: Told; far: Told | undefined }> {
        received.length = 0
        const socket = client(proxy)
        const { over } = listening(socket)
        socket.once('secureConnect', () => {
          let at = 0
          for (const length of lengths) socket.write(sent.subarray(at, (at += length)))
          // `end` would make the reader's end ordinary: here only the cut ends it.
          if (lengths.length === 0) socket.end()
        })
        const near = await over
        return { near, far: await received[0]?.over }
      }

      await exchange([])
      handshakeBytes = proxy.passed.up
      const drawn = fc.record({
        lengths: fc.array(fc.constantFrom(1, 100, 16_384, 16_385, 40_000), { minLength: 1, maxLength: 4 }),
        how: fc.constantFrom('end' as const, 'reset' as const),
        share: anyShare,
        pieceBytes: fc.constantFrom(50, 1460, Infinity),
      })
      const property = fc.asyncProperty(drawn, async ({ lengths, how, share, pieceBytes }) => {
        const total = lengths.reduce((sum, length) => sum + length, 0)
        proxy.pieceBytes = pieceBytes
        // Never behind the last record: who would end the connection then?
        proxy.cut = { direction: 'up', how, bytes: Math.floor(100 + share * (handshakeBytes - 200 + total)) }
        const { near, far } = await exchange(lengths)
        proxy.cut = undefined
        for (const told of far ? [near, far] : [near]) {
          expect(told.events.filter((event) => event === 'close')).toEqual(['close'])
          expect(told.events.at(-1)).toBe('close')
          for (const event of ['end', 'error'])
            expect(told.events.filter((one) => one === event).length).toBeLessThanOrEqual(1)
        }
        if (!far) return
        expect(far.bytes.length).toBeLessThanOrEqual(total)
        expect(far.bytes.equals(sent.subarray(0, far.bytes.length))).toBe(true)
        const outcome = `${how}: ${far.events.join(', ')}`
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      })
      await fc.assert(property, { seed, numRuns: some.count, endOnFailure: true })
      console.log('what the reader was told:', Object.fromEntries(outcomes))
    },
    some.timeoutMs,
  )
})
