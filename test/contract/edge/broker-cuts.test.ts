import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import type { Admission, Submission } from '../../../edge/outbox/outbox.ts'
import type { Stored } from '../../support/fakes/outbox.ts'
import { systemClock } from '../../../src/clock.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'
import { type CuttingProxy, startCuttingProxy } from '../../support/cutting-proxy.ts'
import { anyShare, cutsSeed as seed, draws } from '../../support/cuts.ts'
import { createFakeOutbox, type FakeOutbox } from '../../support/fakes/outbox.ts'
import { publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import { rawConnection, type RawConnection } from '../../support/edge/raw-connection.ts'
import { type TestBroker, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
const topic = 'devices/a1/events/com.acme.note'
const acks = { 1: 0x40, 2: 0x50 } as const
type Qos = keyof typeof acks

/** On both sides of a TLS record and of Node's buffers for streams (16 and 64 KiB). */
const sizes = [10, 16_100, 16_384, 16_700, 65_200, 65_536, 66_000]

const admit = createAdmission({
  checkSchema: createSchemaCheck({
    schemas: loadSchemas(new URL('../../../schemas', import.meta.url).pathname),
    unknownTypes: 'accept',
  }),
  types: {},
  payloadBytesMax: 1 << 20,
  quarantineBytesMax: 100,
  clockSkewMaxMs: 86_400_000,
  timeAgeMaxMs: 366 * 86_400_000,
  clock: systemClock,
  random: Math.random,
})

const startWith = (outbox: FakeOutbox): Promise<TestBroker> =>
  start({ outbox, options: { admit, packetBytesMax: 1 << 20, connectionsPerDeviceMax: 40 } })

function event(id: string, filler: number): string {
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: 'x',
    type: 'com.acme.note',
    data: { note: 'x'.repeat(filler) },
  })
}

const packetIdsOf = (packets: readonly Buffer[]): number[] => packets.map((packet) => packet.readUInt16BE(2))

/** An outbox that makes each event durable when it is told to, in whatever order. */
function handOutbox(): FakeOutbox & { asked: (count: number) => Promise<string[]>; store(id: string): void } {
  const inner = createFakeOutbox()
  const waiting = new Map<string, () => void>()
  let look: (() => void) | undefined
  return Object.assign(Object.create(inner) as FakeOutbox, {
    append(submission: Submission, signal?: AbortSignal): Promise<Admission> {
      return new Promise((resolve, reject) => {
        const { id } = submission.candidate
        waiting.set(id, () => void inner.append(submission).then(resolve, reject))
        signal?.addEventListener('abort', () => {
          waiting.delete(id)
          reject(signal.reason as Error)
        })
        look?.()
      })
    },
    async asked(count: number): Promise<string[]> {
      while (waiting.size < count) await new Promise<void>((resolve) => (look = resolve))
      return [...waiting.keys()]
    },
    store(id: string): void {
      waiting.get(id)?.()
      waiting.delete(id)
    },
    open(): void {
      for (const store of waiting.values()) store()
      waiting.clear()
    },
  })
}

test.for([1, 2] as const)(
  'what is acknowledged is what is durable, one by one, in whatever order it becomes so (G1, QoS %i)',
  async (qos) => {
    const outbox = handOutbox()
    const { port } = await startWith(outbox)
    const raw = await rawConnection({ port, tls: await pki.device('a1') })
    // All in one write: a chunk ends within packets, and several packets are in a chunk.
    raw.write(
      Buffer.concat(sizes.map((size, index) => publish(topic, event(`e${index}`, size), qos, 100 + index))),
    )
    await outbox.asked(sizes.length)
    expect(raw.got(acks[qos])).toBe(0)
    const durable = new Set<number>()
    let acknowledged = 0
    for (const index of [2, 0, 1, 5, 6, 4, 3]) {
      await ping(raw)
      expect(raw.got(acks[qos])).toBe(0)
      outbox.store(`e${index}`)
      durable.add(index)
      // In the order in which they came [MQTT-4.6.0-2].
      for (; durable.has(acknowledged); acknowledged++)
        expect(packetIdsOf([await raw.until(acks[qos])])).toEqual([100 + acknowledged])
    }
    expect(acknowledged).toBe(sizes.length)
    expect(outbox.stored.map(fillerOf).toSorted(byNumber)).toEqual(sizes.toSorted(byNumber))
    raw.end()
  },
)

test('a device that does not read is acknowledged what is durable and nothing else, once it reads (G1)', async () => {
  const outbox = handOutbox()
  const { port } = await startWith(outbox)
  const raw = await rawConnection({ port, tls: await pki.device('a1') })
  raw.write(subscribe(1, ['devices/a1/state', 0]))
  await raw.until(0x90)
  raw.pause()
  const other = await rawConnection({ port, tls: await pki.device('a1'), clientId: 'other' })
  // More than the kernel and the gateway hold for it.
  for (let index = 0; index < 160; index++) other.write(publish('devices/a1/state', 'x'.repeat(65_000), 1, 1))
  for (let index = 0; index < 20; index++) raw.write(publish(topic, event(`e${index}`, 10), 1, 100 + index))
  await outbox.asked(20)
  const durable = [3, 0, 17, 1, 2]
  for (const index of durable) outbox.store(`e${index}`)
  raw.resume()
  const acknowledged: Buffer[] = []
  while (acknowledged.length < 4) acknowledged.push(await raw.until(0x40))
  expect(packetIdsOf(acknowledged)).toEqual([100, 101, 102, 103])
  await ping(raw)
  expect(raw.got(0x40)).toBe(0)
  expect(outbox.stored.map(({ candidate }) => candidate.id)).toEqual(durable.map((index) => `e${index}`))
  raw.end()
  other.end()
})

const closers: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closers.toReversed()) await close()
})

describe('a connection of a device that is cut at any byte of its TLS', () => {
  const some = draws(24, 1500)
  const drawn = fc.record({
    fillers: fc.array(fc.constantFrom(...sizes, 1, 200, 1000), { minLength: 1, maxLength: 5 }),
    qos: fc.constantFrom(1 as const, 2 as const),
    direction: fc.constantFrom('up' as const, 'up' as const, 'down' as const),
    how: fc.constantFrom('end' as const, 'reset' as const),
    share: anyShare,
    pieceBytes: fc.constantFrom(100, 1460, 16_384, Infinity),
    lateTurns: fc.array(fc.nat(20), { minLength: 5, maxLength: 5 }),
  })
  let events = 0

  test(
    `acknowledges nothing that is not durable, makes no event of half a packet, and loses nothing that is sent again (G1, seed ${seed})`,
    async () => {
      const outbox = createFakeOutbox()
      const late: number[] = []
      const broker = await startWith(
        Object.assign(Object.create(outbox) as FakeOutbox, {
          async append(submission: Submission, signal?: AbortSignal): Promise<Admission> {
            for (let turn = late.shift() ?? 0; turn > 0; turn--) await turned()
            return outbox.append(submission, signal)
          },
        }),
      )
      const proxy = await startCuttingProxy({ host: '127.0.0.1', port: broker.port })
      closers.push(() => proxy.close())
      const tls = await pki.device('a1')
      await sent(proxy, { tls, messages: [], qos: 1 })
      const shaken = { ...proxy.passed }
      let [cuts, durable] = [0, 0]
      const property = fc.asyncProperty(drawn, async ({ fillers, qos, share, lateTurns, ...cut }) => {
        const messages = fillers.map((filler, index) => ({ id: `c${++events}`, filler, packetId: index + 1 }))
        // A record of TLS adds 22 bytes, a PUBLISH some 170, an acknowledgement is 4.
        const bytes = {
          up: shaken.up / 2 + share * fillers.reduce((sum, filler) => sum + filler + 200, shaken.up / 2),
          down: shaken.down - 200 + share * (200 + 26 * fillers.length),
        }
        late.splice(0, late.length, ...lateTurns)
        const cutsBefore = proxy.cuts
        proxy.cut = {
          direction: cut.direction,
          how: cut.how,
          bytes: Math.floor(bytes[cut.direction]),
        }
        proxy.pieceBytes = cut.pieceBytes
        const acknowledged = await sent(proxy, { tls, messages, qos })
        proxy.cut = undefined
        cuts += proxy.cuts - cutsBefore
        const stored = new Map(outbox.stored.map((one) => [one.candidate.id, fillerOf(one)]))
        for (const { id, filler } of messages) expect(stored.get(id) ?? filler).toBe(filler)
        for (const packetId of acknowledged) expect(stored.has(messages[packetId - 1]!.id)).toBe(true)
        durable += stored.size - (events - messages.length)

        late.splice(0)
        const missing = messages.filter(({ packetId }) => !acknowledged.includes(packetId))
        expect(await sent(proxy, { tls, messages: missing, qos })).toHaveLength(missing.length)
        expect(new Set(outbox.stored.map(({ candidate }) => candidate.id)).size).toBe(events)
        expect(outbox.stored).toHaveLength(events)
      })
      await fc.assert(property, { seed, numRuns: some.count, endOnFailure: true })
      expect(cuts).toBeGreaterThan(some.count / 3)
      console.log(`${cuts} cuts, ${durable} of ${events} events were durable before them`)
    },
    some.timeoutMs,
  )
})

interface Sending {
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
  messages: { id: string; filler: number; packetId: number }[]
  qos: Qos
}

/** Publishes, and returns the packet IDs that were acknowledged when all were or the connection was over. */
async function sent(proxy: CuttingProxy, { tls, messages, qos }: Sending): Promise<number[]> {
  let raw: RawConnection
  try {
    raw = await rawConnection({ port: proxy.port, tls })
  } catch {
    return []
  }
  for (const { id, filler, packetId } of messages) raw.write(publish(topic, event(id, filler), qos, packetId))
  const acknowledged: number[] = []
  try {
    for (const _ of messages) acknowledged.push(...packetIdsOf([await raw.until(acks[qos])]))
  } catch {
    // It was cut.
  }
  acknowledged.push(...packetIdsOf(raw.all(acks[qos])))
  raw.end()
  await raw.over
  return acknowledged
}

async function ping(raw: RawConnection): Promise<void> {
  raw.write(Buffer.from([0xc0, 0]))
  await raw.until(0xd0)
}

function fillerOf({ event }: Stored): number {
  return (event.data as { note: string }).note.length
}

function byNumber(a: number, b: number): number {
  return a - b
}

function turned(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
