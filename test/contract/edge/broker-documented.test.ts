import { describe, expect, test } from 'vitest'
import { provenance } from '../../../cloud/gateways/provenance.ts'
import { historyConsumer } from '../../../cloud/history/consumer.ts'
import { readLedgerEntry } from '../../../cloud/history/ledger-entry.ts'
import { type Checks, judge } from '../../../cloud/pipeline/judge.ts'
import { schemaCheck } from '../../../cloud/reading/schema-check.ts'
import { loadEdgeConfig } from '../../../edge/config.ts'
import { joinBatch, splitBatch } from '../../../src/contract/batch.ts'
import { encodeCandidate, genesis, verifyChain } from '../../../src/contract/codec.ts'
import { type Event, ledgerType, rejectedType } from '../../../src/contract/event.ts'
import { batchHeaders } from '../../../src/contract/wire.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'
import { noUpcasts } from '../../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import {
  documentedEvents,
  documentedMessages,
  documentedPublishes,
  isEvent,
  wireBlocks,
} from '../../support/edge/documented-examples.ts'
import { type TestBroker, useTestBrokers } from '../../support/edge/test-broker.ts'
import { deliveryOf } from '../../support/fakes/delivery.ts'
import type { Stored } from '../../support/fakes/outbox.ts'

/** docs/asyncapi.json and docs/WIRE.md show what devices send and what comes of it; all of it is sent here, and read. */
const { pki, start } = useTestBrokers()
const file = (path: string): string => new URL(`../../../${path}`, import.meta.url).pathname
const { routes } = loadEdgeConfig(file('config/edge.example.yaml'), {})
const gateway = 'gateway-1'

const checks: Checks = {
  checkSchema: schemaCheck(loadSchemas(file('schemas')), 'reject'),
  readAs: createReadAs(loadSchemas(file('schemas')), noUpcasts),
  provenance: provenance({
    users: {},
    unvouched: 'refuse',
    unknown: 'accept',
    withoutDevices: 'accept',
    ownUser: 'cloud',
    registry: () => ({ stateOf: () => undefined }),
    devices: () => ({ maySpeakFor: () => undefined }),
  }),
}
const history = historyConsumer(() => {
  throw new Error('nothing is stored here')
})

/** What the cloud makes of a text: the code of what is wrong with it, or undefined. */
function faultOf(text: string): string | undefined {
  const delivery = deliveryOf({ text: Buffer.from(text), publisher: gateway })
  const judgement = judge(delivery, history, checks, 0)
  if (judgement.kind !== 'handle') return JSON.stringify(judgement.kind)
  return judgement.parcel.fault?.code
}

async function publish(
  { outbox, connect }: TestBroker,
  device: string,
  publishes: readonly { topic: string; payload: string }[],
): Promise<readonly Stored[]> {
  const client = await connect(await pki.device(device))
  const before = outbox.stored.length
  // Each has its PUBACK before the next.
  for (const { topic, payload } of publishes) await client.publishAsync(topic, payload, { qos: 1 })
  return outbox.stored.slice(before)
}

/** What a place in a ledger gives an event, and what depends on when it is sent: of a time of years ago a gateway says so. */
const placeMembers = new Set('gateway epoch sequence recordedtime chain timestatus'.split(' '))

function unplaced(event: object): object {
  return Object.fromEntries(Object.entries(event).filter(([name]) => !placeMembers.has(name)))
}

const textOf = (payload: unknown): string => JSON.stringify(payload)

describe('what docs/asyncapi.json shows', () => {
  const devices = [...new Set(documentedPublishes.map(({ device }) => device))]
  test.each(devices)('is taken of %s as it says, and read by the cloud', async (device) => {
    const own = documentedPublishes.filter((one) => one.device === device)
    const broker = await start({ routes })
    const sent = own.map(({ topic, payload }) => ({ topic, payload: textOf(payload) }))
    const stored = await publish(broker, device, sent)
    expect(broker.seen.quarantined).toEqual([])
    expect(stored.map(({ event: { type, data } }) => ({ type, data }))).toEqual(
      own.map(({ type, payload }) => ({ type, data: 'specversion' in payload ? payload['data'] : payload })),
    )
    let chain = genesis(gateway, documentedEvents[0]?.epoch ?? '')
    stored.forEach(({ candidate, event }, index) => {
      expect(documentedMessages[own[index]?.message ?? '']?.summary).toContain(event.dataschema)
      const place = { gateway, epoch: documentedEvents[0]?.epoch ?? '', sequence: index + 1 }
      const encoded = encodeCandidate(candidate.text, { ...place, recordedtime: event.time }, chain)
      expect(faultOf(encoded.text)).toBeUndefined()
      chain = encoded.chain
    })
  })

  test('on RabbitMQ is what the gateway makes of what it shows of devices, and one chain', async () => {
    const broker = await start({ routes })
    const events = documentedPublishes.filter(({ payload, topic }) => {
      return 'specversion' in payload && topic.startsWith('devices/sensor-1/')
    })
    const sent = events.map(({ topic, payload }) => ({ topic, payload: textOf(payload) }))
    const stored = await publish(broker, 'sensor-1', sent)
    const shown = documentedEvents.filter(({ id }) => events.some(({ payload }) => payload['id'] === id))
    expect(shown).toHaveLength(events.length)
    expect(stored.map(({ event }) => unplaced(event))).toEqual(shown.map(unplaced))

    let before = genesis(gateway, documentedEvents[0]?.epoch ?? '')
    documentedEvents.forEach((event, index) => {
      expect(event.sequence).toBe(index + 1)
      expect(verifyChain(textOf(event), before)).toBe(true)
      before = event.chain
    })
  })

  test('on RabbitMQ the cloud reads, alone and in batches; what is rejected it tells as that', () => {
    for (const event of documentedEvents) {
      const expected = event.type === rejectedType ? 'REJECTED_AT_EDGE' : undefined
      expect([event.type, faultOf(textOf(event))]).toEqual([event.type, expected])
    }
    const [entry] = documentedEvents.filter(({ type }) => type === ledgerType)
    expect(readLedgerEntry(entry?.data)).toBeDefined()
    const batches = Object.values(documentedMessages)
      .flatMap(({ examples = [] }) => examples)
      .filter(({ payload }) => Array.isArray(payload) && payload.every(isEvent))
    expect(batches.length).toBeGreaterThan(5)
    for (const { payload, headers = {} } of batches) {
      const events = payload as Event[]
      const texts = splitBatch(joinBatch(events.map(textOf), true), 'deflate').map(String)
      expect(texts).toEqual(events.map(textOf))
      expect(headers).toEqual({
        [batchHeaders.events]: events.length,
        [batchHeaders.first]: events[0]?.sequence,
        [batchHeaders.last]: events.at(-1)?.sequence,
      })
    }
  })

  test('of a rejected reading is what becomes of one', async () => {
    const broker = await start({ routes })
    const [shown] = documentedEvents.flatMap(({ type, data }) => (type === rejectedType ? [data] : []))
    const { topic, payload } = shown as { topic: string; payload: string }
    const [stored] = await publish(broker, 'sensor-1', [
      { topic, payload: Buffer.from(payload, 'base64').toString() },
    ])
    expect(stored?.event).toMatchObject({ type: rejectedType, data: shown })
  })
})

test('each block of JSON in docs/WIRE.md is what a device may send, or the event that comes of the one before it', async () => {
  const broker = await start({ routes })
  expect(wireBlocks.length).toBeGreaterThan(1)
  const payloads = wireBlocks.filter((block) => !isEvent(block))
  const stored = await publish(
    broker,
    'sensor-1',
    payloads.map((payload) => ({
      topic: `devices/sensor-1/events/${(payload as Event).type}`,
      payload: textOf(payload),
    })),
  )
  expect(broker.seen.quarantined).toEqual([])
  const events = wireBlocks.filter(isEvent)
  expect(events.map(unplaced)).toEqual(stored.map(({ event }) => unplaced(event)))
  for (const event of events) {
    expect(verifyChain(textOf(event), genesis(event.gateway, event.epoch))).toBe(true)
    expect(faultOf(textOf(event))).toBeUndefined()
  }
})
