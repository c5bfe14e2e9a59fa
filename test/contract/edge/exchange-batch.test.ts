import { Connection, type SyncMessage } from 'rabbitmq-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ExchangeSession, Outcome, Shipment } from '../../../edge/uplink/exchange.ts'
import { forward } from '../../../edge/uplink/forwarder.ts'
import { silentForwarderObserver } from '../../../edge/uplink/observer.ts'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { isBatch, splitBatch } from '../../../src/contract/batch.ts'
import { systemClock } from '../../../src/clock.ts'
import { partitionOf, routingKey } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { candidate } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { createVhost, rabbitmqctl } from '../../support/servers.ts'

const exchange = 'tidegate.events'
const { signal } = new AbortController()

let url: string
let admin: Connection
let ledger: Ledger
let closing: (() => Promise<unknown>)[]
beforeEach(async () => {
  url = await createVhost()
  ledger = new Ledger()
  admin = new Connection(url)
  closing = [() => admin.close()]
  await admin.exchangeDeclare({ exchange, type: 'topic', durable: true })
})
afterEach(async () => {
  for (const close of closing.toReversed()) await close()
})

async function bind(key = '#', more: object = {}): Promise<void> {
  await admin.queueDeclare({ queue: 'all', durable: true, arguments: { 'x-queue-type': 'quorum', ...more } })
  await admin.queueBind({ queue: 'all', exchange, routingKey: key })
}

function queued(deviceId: string): Queued {
  const { event, text } = ledger.next(deviceId)
  const { sequence, type, id } = event
  return {
    position: sequence,
    sequence,
    lane: 'normal',
    deviceId,
    type,
    id,
    text,
    recordedAtMs: 1_700_000_000_000,
  }
}

function shipment(deviceId: string, count: number): Shipment {
  return Array.from({ length: count }, () => queued(deviceId)) as unknown as Shipment
}

async function connect(compress: boolean): Promise<ExchangeSession> {
  const uplink = testUplink({ url, exchange, compress })
  closing.push(() => uplink.close())
  return uplink.connect(signal)
}

function publish(session: ExchangeSession, shipments: readonly Shipment[]): Promise<Outcome[]> {
  return new Promise((resolve) => {
    const outcomes: Outcome[] = []
    session.onOutcomes((more) => {
      outcomes.push(...more)
      if (outcomes.length === shipments.length) resolve(outcomes)
    })
    for (const each of shipments) session.publish(each)
  })
}

async function held(): Promise<SyncMessage[]> {
  const messages: SyncMessage[] = []
  for (;;) {
    const message = await admin.basicGet({ queue: 'all', noAck: true })
    if (!message) return messages
    messages.push(message)
  }
}

const textsOf = ({ body, contentType, contentEncoding }: SyncMessage): string[] =>
  isBatch(contentType)
    ? splitBatch(body as Buffer, contentEncoding).map((text) => text.toString())
    : [String(body)]

test.each([false, true])(
  'what is published together is one message that a queue holds, with every text as it was; what is alone goes as ever (compressed: %s) (G3, G8)',
  async (compress) => {
    await bind()
    const session = await connect(compress)
    const shipments = [shipment('device-1', 40), shipment('device-2', 1), shipment('device-1', 2)]
    const outcomes = await publish(session, shipments)
    expect(outcomes).toEqual(shipments.map((each) => ({ kind: 'routed', shipment: each })))
    const messages = await held()
    expect(messages.map(textsOf)).toEqual(shipments.map((each) => each.map(({ text }) => text)))
    const common = {
      appId: 'gw-1',
      userId: 'admin',
      type: 'com.acme.climate',
      durable: true,
      timestamp: 1_700_000_000,
    }
    const batch = {
      ...common,
      routingKey: routingKey(partitionOf('device-1', 4), 'com.acme.climate'),
      contentType: 'application/cloudevents-batch+json',
      ...(compress && { contentEncoding: 'deflate' }),
    }
    expect(messages).toMatchObject([
      {
        ...batch,
        headers: { 'tidegate-batch-events': 40, 'tidegate-batch-first': 1, 'tidegate-batch-last': 40 },
      },
      { ...common, messageId: 'id-41', contentType: 'application/cloudevents+json' },
      {
        ...batch,
        headers: { 'tidegate-batch-events': 2, 'tidegate-batch-first': 42, 'tidegate-batch-last': 43 },
      },
    ])
    expect(messages.map(({ messageId }) => messageId)).toEqual([undefined, 'id-41', undefined])
    expect(messages[1]).not.toHaveProperty('contentEncoding')
    expect(Object.keys(messages[1]?.headers ?? {})).toEqual(['x-delivery-count'])
  },
)

test('a batch that no queue took, or that a queue refuses, is told of as refused with all its events, and others as routed (G3)', async () => {
  await bind(routingKey(partitionOf('device-1', 4), '#'), {
    'x-overflow': 'reject-publish',
    'x-max-length': 1,
  })
  const elsewhere = ['device-2', 'device-3', 'device-4', 'device-5'].find(
    (device) => partitionOf(device, 4) !== partitionOf('device-1', 4),
  ) as string
  const session = await connect(true)
  const first = shipment('device-1', 30)
  expect(await publish(session, [first])).toEqual([{ kind: 'routed', shipment: first }])
  const unwanted = shipment(elsewhere, 20)
  expect(await publish(session, [unwanted])).toEqual([
    { kind: 'refused', shipment: unwanted, code: 'UNROUTABLE' },
  ])
  // The bound takes hold a moment after it was reached.
  let refused: Outcome | undefined
  let taken = 1
  for (; refused?.kind !== 'refused'; taken++)
    refused = (await publish(session, [shipment('device-1', 10)]))[0]
  expect(refused).toMatchObject({ kind: 'refused', code: 'NACKED', shipment: { length: 10 } })
  expect(await held()).toHaveLength(taken - 1)
})

/** Runs the real forwarder on the real outbox until it is empty. */
async function drain(eventsMax: number, onUp?: () => Promise<void>): Promise<string[]> {
  const outbox = await openTestOutbox({ folder: new SimulatedDisk() })
  const append = (id: string): ReturnType<typeof outbox.append> =>
    outbox.append({ candidate: candidate('device-1', id, 'x'.repeat(500)), lane: 'normal', qos: 1 })
  await Promise.all(Array.from({ length: 300 }, (_, index) => append(`e${index}`)))
  const stop = new AbortController()
  let released = 0
  const ends: string[] = []
  await new Promise<void>((resolve, reject) => {
    const release = outbox.release.bind(outbox)
    outbox.release = async (events) => {
      await release(events)
      released += events.length
      if (released === 300) resolve()
    }
    const forwarding = forward(
      {
        outbox,
        exchange: testUplink({ url, exchange, compress: false }),
        batch: { eventsMax, bytesMax: 8_000_000, partitions: 4 },
        clock: systemClock,
        random: Math.random,
        log: {
          ...silentLog,
          warn: ({ code }: { code: string }) => ends.push(code),
        },
        observer: {
          ...silentForwarderObserver,
          uplink: (up) => void (up && onUp?.().catch(reject)),
        },
        windowEvents: 1000,
        confirmTimeoutMs: 10_000,
        retry: { delayMsMin: 50, delayMsMax: 100 },
      },
      stop.signal,
    )
    forwarding.catch(reject)
    closing.push(async () => {
      stop.abort()
      await forwarding
      await outbox.close()
    })
  })
  return ends
}

test('a batch that the broker takes for too large leaves as single events (G3)', async () => {
  await bind()
  // What a channel may send is decided when it is opened. Nobody else publishes as much.
  await rabbitmqctl('eval', 'application:set_env(rabbit, max_message_size, 200000).')
  let sessions = 0
  const back = async (): Promise<void> => {
    if (++sessions === 1)
      await rabbitmqctl('eval', 'application:set_env(rabbit, max_message_size, 134217728).')
  }
  const ends = await drain(1000, back)
  expect(ends).toEqual(['PRECONDITION_FAILED'])
  const messages = await held()
  expect(messages.map(textsOf).flat()).toHaveLength(300)
  expect(messages).toHaveLength(300)
}, 60_000)

test('a backlog leaves in batches, in order', async () => {
  await bind()
  expect(await drain(50)).toEqual([])
  const messages = await held()
  expect(messages).toHaveLength(6)
  const ids = messages.flatMap(textsOf).map((text) => (JSON.parse(text) as { id: string }).id)
  expect(ids).toEqual(Array.from({ length: 300 }, (_, index) => `e${index}`))
}, 60_000)
