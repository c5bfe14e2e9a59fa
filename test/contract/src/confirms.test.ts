import { readFileSync } from 'node:fs'
import { Connection } from 'rabbitmq-client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import type { Letter } from '../../../cloud/amqp/delivery.ts'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { sidingTopology } from '../../../cloud/amqp/topology.ts'
import type { ExchangeSession, Outcome } from '../../../edge/uplink/exchange.ts'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { harmless, type Middle, openMiddle, type Plan } from '../../proof/middle.ts'
import { createVhost } from '../../support/servers.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'

const exchange = 'tidegate.events'
const bound = 'com.acme.climate'
const unbound = 'com.acme.nobody'

let pki: TestPki
let brokerUrl: string
let tls: { ca: Buffer; cert: Buffer; key: Buffer }
beforeAll(async () => {
  pki = await createTestPki()
  const { edge, caFile } = pki
  tls = { ca: readFileSync(caFile), cert: readFileSync(edge.certFile), key: readFileSync(edge.keyFile) }
  brokerUrl = await createVhost()
  const admin = new Connection(brokerUrl)
  await admin.exchangeDeclare({ exchange, type: 'topic', durable: true })
  await admin.queueDeclare({ queue: 'all', durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await admin.queueBind({ queue: 'all', exchange, routingKey: `*.${bound}` })
  await admin.close()
})
afterAll(() => pki.close())

const rungOf = (group: string) => ({ group, queue: 'q', delayMs: 3_600_000 })
const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close()
})

async function openPlace(): Promise<{ middle: Middle; session: ExchangeSession }> {
  const middle = await openMiddle(brokerUrl, tls)
  const uplink = testUplink({
    url: middle.url,
    tls: { current: () => tls },
    exchange,
  })
  opened.push(middle, uplink)
  const session = await uplink.connect(new AbortController().signal)
  return { middle, session }
}

function publish(session: ExchangeSession, from: number, to: number, type: (n: number) => string): void {
  for (let n = from; n <= to; n++) session.publish([queued(n, type(n))])
}

function queued(n: number, type: string): Queued {
  return {
    position: n,
    sequence: n,
    lane: 'normal',
    deviceId: 'device-1',
    type,
    id: `e${n}`,
    text: `e${n}`.padEnd(690, 'x'),
    recordedAtMs: 1_700_000_000_000,
  }
}

const ackMethod = (60 << 16) | 80
const isAck = (frame: Buffer): boolean => frame.readUInt8(0) === 1 && frame.readUInt32BE(7) === ackMethod
const tagOf = (ack: Buffer): number => Number(ack.readBigUInt64BE(11))

function ack(channel: number, tag: number, multiple: boolean): Buffer {
  const frame = Buffer.alloc(21)
  frame.writeUInt8(1, 0)
  frame.writeUInt16BE(channel, 1)
  frame.writeUInt32BE(13, 3)
  frame.writeUInt32BE(ackMethod, 7)
  frame.writeBigUInt64BE(BigInt(tag), 11)
  frame.writeUInt8(multiple ? 1 : 0, 19)
  frame.writeUInt8(206, 20)
  return frame
}

/** The broker's confirms of `count` publishes, in one frame behind all of its returns: it may, and cannot be made to at will. */
function together(count: number): Plan {
  const confirmed = new Set<number>()
  return {
    ...harmless,
    rewrite(frame) {
      if (!isAck(frame)) return [frame]
      const upTo = frame.readUInt8(19) === 1
      for (let tag = upTo ? 1 : tagOf(frame); tag <= tagOf(frame); tag++) confirmed.add(tag)
      return confirmed.size === count ? [ack(frame.readUInt16BE(1), count, true)] : []
    },
  }
}

const twin = (text: string): Letter => ({
  body: Buffer.from(text),
  properties: { messageId: 'the same ID' },
  headers: {},
  barer: [],
})

describe('confirms, over TLS, as RabbitMQ may send them', () => {
  test('one frame that speaks for many is proof of those that a queue took and of no others (G3)', async () => {
    const { middle, session } = await openPlace()
    middle.arm(together(300))
    const all = new Promise<Outcome[]>((resolve) => {
      const outcomes: Outcome[] = []
      session.onOutcomes((more) => outcomes.push(...more) === 300 && resolve(outcomes))
    })
    publish(session, 1, 300, (n) => (n % 3 === 0 ? unbound : bound))
    const outcomes = await all
    expect(outcomes.map(({ shipment }) => shipment[0].position)).toEqual(
      Array.from({ length: 300 }, (_, at) => at + 1),
    )
    for (const { kind, shipment } of outcomes)
      expect(kind).toBe(shipment[0].type === bound ? 'routed' : 'refused')
  })

  test('of two letters with one event ID both are refused when no queue takes them (G5)', async () => {
    const middle = await openMiddle(brokerUrl, tls)
    const broker = await connectAmqp({ url: middle.url, tls, connectionName: 'test', log: silentLog })
    const sidings = rabbitSidings(broker, systemClock)
    opened.push(middle, broker, sidings)
    middle.arm(together(2))
    const { exchanges } = sidingTopology(rungOf('twins'))
    await declareTopology(broker, { exchanges, queues: [], bindings: [] })
    const fates = await Promise.allSettled(
      ['of one device', 'of another'].map((text) => sidings.send(rungOf('twins'), twin(text))),
    )
    expect(fates.map((fate) => (fate.status === 'rejected' ? String(fate.reason) : fate.status))).toEqual([
      expect.stringContaining('no queue took it') as string,
      expect.stringContaining('no queue took it') as string,
    ])
  })

  test.each([
    ['of a publish that was never made', (tag: number) => [tag + 1000]],
    ['that comes twice', (tag: number) => [tag, tag]],
    ['of none', () => [0]],
  ])('a confirm %s ends the session, and nothing is told any more (G3)', async (_, tags) => {
    const { middle, session } = await openPlace()
    const outcomes: Outcome[] = []
    session.onOutcomes((more) => void outcomes.push(...more))
    middle.arm({
      ...harmless,
      rewrite: (frame) =>
        isAck(frame) ? tags(tagOf(frame)).map((tag) => ack(frame.readUInt16BE(1), tag, false)) : [frame],
    })
    publish(session, 1, 50, () => bound)
    expect(await session.lost).toMatchObject({ code: 'CONFIRM_MISMATCH' })
    // What was read in the same turn is told a turn later, if at all.
    await session.close()
    expect(outcomes).toEqual([])
  })

  test('what the socket does not take is not encoded: memory is bounded by what was given (G7)', async () => {
    const { session } = await openPlace()
    let told = 0
    const all = new Promise<void>((resolve) =>
      session.onOutcomes((more) => (told += more.length) === 200 && resolve()),
    )
    const text = 'x'.repeat(100_000)
    const before = process.memoryUsage().arrayBuffers
    for (let n = 1; n <= 200; n++) session.publish([{ ...queued(n, bound), text }])
    // No turn has passed: of 20 MB the socket has taken what fills its buffer.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(5_000_000)
    await all
  })

  test('a letter that AMQP has no bytes for is refused alone, and those around it are proven (G5)', async () => {
    const middle = await openMiddle(brokerUrl, tls)
    const broker = await connectAmqp({ url: middle.url, tls, connectionName: 'test', log: silentLog })
    const sidings = rabbitSidings(broker, systemClock)
    opened.push(middle, broker, sidings)
    await declareTopology(broker, sidingTopology(rungOf('odd')))
    const fates = await Promise.allSettled(
      [10, 140_000, 10].map((storyBytes) =>
        sidings.send(rungOf('odd'), {
          body: Buffer.alloc(700),
          properties: {},
          headers: { story: 'x'.repeat(storyBytes) },
          barer: [],
        }),
      ),
    )
    expect(fates.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(fates[1]).toMatchObject({ reason: { message: expect.stringContaining('frame size') as string } })
  })

  test('an ID that is too long for AMQP is cut between two characters', async () => {
    const { session } = await openPlace()
    const told = new Promise<void>((resolve) => session.onOutcomes(() => resolve()))
    const id = 'ж'.repeat(128)
    session.publish([{ ...queued(1, bound), id }])
    await told
    const admin = new Connection(brokerUrl)
    let messageId: string | undefined
    for (;;) {
      const message = await admin.basicGet({ queue: 'all', noAck: true })
      if (message === undefined) break
      messageId = message.messageId
    }
    await admin.close()
    expect(messageId).toBe('ж'.repeat(127))
  })
})
