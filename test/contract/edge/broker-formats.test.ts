import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Route } from '../../../edge/admission/routes/routes.ts'
import type { Candidate } from '../../../src/contract/event.ts'
import { publish } from '../../support/edge/mqtt-bytes.ts'
import { rawConnection } from '../../support/edge/raw-connection.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'
import { useFolder } from '../../support/kept-folder.ts'
import { createFakeOutbox } from '../../support/fakes/outbox.ts'

const { pki, start } = useTestBrokers()
const examples = new URL('../../../config/payloads/', import.meta.url).pathname
const folder = useFolder('tidegate-formats-')
const older = join(folder, 'older.avsc')
writeFileSync(
  older,
  '{"type":"record","name":"com.acme.Climate","fields":[{"name":"temperature","type":"float"}]}',
)

const type = 'com.acme.climate'
const routes: Route[] = [
  { topic: 'avro/{device}', type, format: 'avro', schema: [join(examples, 'climate.avsc'), older] },
  { topic: 'plain/{device}', type, format: 'avro', encoding: 'binary', schema: older },
  {
    topic: 'proto/{device}',
    type,
    format: 'protobuf',
    schema: join(examples, 'climate.proto'),
    message: 'com.acme.Climate',
  },
  { topic: 'cbor/{device}', type, format: 'cbor' },
  { topic: 'mp/{device}', type, format: 'messagepack' },
]

/** By hand, from the specifications: 21.5, as a double and as a float. */
const [double, float] = ['0000000000803540', '0000ac41']
const payloads: readonly [topic: string, hex: string, format: string, data: object][] = [
  ['avro', `c3015217097e09dfe2fe${double}0000000000004440`, 'avro', { temperature: 21.5, humidity: 40 }],
  ['plain', float, 'avro', { temperature: 21.5 }],
  ['proto', `09${double}`, 'protobuf', { temperature: 21.5 }],
  // A key of eleven characters, and 21.5 as a half and as a float.
  ['cbor', 'a16b74656d7065726174757265f94d60', 'cbor', { temperature: 21.5 }],
  ['mp', '81ab74656d7065726174757265ca41ac0000', 'messagepack', { temperature: 21.5 }],
]

const events = (stored: readonly { candidate: { text: string } }[]): Candidate[] =>
  stored.map(({ candidate }) => JSON.parse(candidate.text) as Candidate)

test.each(payloads)(
  'what comes by the route %s as %s is an event with the SHA-256 of its bytes',
  async (topic, hex, format, data) => {
    const broker = await start({ routes })
    const client = await broker.connect(await pki.device('a1'))
    const bytes = Buffer.from(hex, 'hex')
    for (const qos of [0, 1, 2] as const)
      await client.publishAsync(`${topic}/a1`, bytes, { qos, retain: qos === 1 })
    await broker.when(({ published }) => published.length >= 3)
    expect(broker.seen.published).toEqual(['accepted', 'accepted', 'accepted'])
    const payloadsha256 = createHash('sha256').update(bytes).digest('hex')
    for (const event of events(broker.outbox.stored))
      expect(event).toMatchObject({
        type,
        payloadformat: format,
        payloadsha256,
        data,
        dataschema: `${type}/2`,
      })
  },
)

test('a payload in another format is acknowledged when its event is durable, and not before (G1)', async () => {
  const outbox = createFakeOutbox()
  const { port } = await start({ outbox, routes })
  const raw = await rawConnection({ port, tls: await pki.device('a1') })
  outbox.shut()
  raw.write(
    Buffer.concat(
      payloads.map(([topic, hex], index) => publish(`${topic}/a1`, Buffer.from(hex, 'hex'), 1, index + 1)),
    ),
  )
  await outbox.untilWaiting(payloads.length)
  expect(raw.got(0x40)).toBe(0)
  outbox.open()
  for (const [index] of payloads.entries()) expect((await raw.until(0x40)).readUInt16BE(2)).toBe(index + 1)
  raw.end()
})

test('one that cannot be read is acknowledged and quarantined with its bytes, and the connection goes on (G2)', async () => {
  const broker = await start({ routes })
  const client = await broker.connect(await pki.device('a1'))
  const bombs: readonly [string, string][] = [
    ['avro', `c301${'00'.repeat(8)}00`],
    ['avro', '00'],
    ['plain', ''],
    ['proto', '7b'.repeat(200)],
    ['proto', '0d0000c03f'],
    ['proto', ''],
    ['cbor', '9f'.repeat(400)],
    ['cbor', '9bffffffffffffffff'],
    ['mp', 'ddffffffff'],
    ['mp', '{"temperature":21.5}'.replaceAll(/./g, (one) => one.charCodeAt(0).toString(16))],
  ]
  for (const [topic, hex] of bombs)
    await client.publishAsync(`${topic}/a1`, Buffer.from(hex, 'hex'), { qos: 1 })
  await client.publishAsync('cbor/a1', Buffer.from(payloads[3]?.[1] ?? '', 'hex'), { qos: 1 })
  expect(broker.seen.quarantined).toEqual([
    'WRITER_SCHEMA_UNKNOWN',
    'MALFORMED_PAYLOAD',
    'MALFORMED_PAYLOAD',
    'TOO_DEEP',
    'MALFORMED_PAYLOAD',
    'MALFORMED_PAYLOAD',
    'TOO_DEEP',
    'MALFORMED_PAYLOAD',
    'MALFORMED_PAYLOAD',
    'MALFORMED_PAYLOAD',
  ])
  const all = events(broker.outbox.stored)
  expect(all.at(-1)).toMatchObject({ type, data: { temperature: 21.5 } })
  for (const [index, [, hex]] of bombs.entries())
    expect(all[index]?.data).toMatchObject({
      payload: Buffer.from(hex, 'hex').subarray(0, 100).toString('base64'),
    })
})

test('a will in another format is an event like any other', async () => {
  const broker = await start({ routes })
  const bytes = Buffer.from(`09${double}`, 'hex')
  const client = await broker.connect(await pki.device('a1'), {
    will: { topic: 'proto/a1', payload: bytes, qos: 1, retain: false },
  })
  client.stream.destroy()
  await broker.when(({ published }) => published.length >= 1)
  expect(events(broker.outbox.stored)[0]).toMatchObject({
    payloadformat: 'protobuf',
    data: { temperature: 21.5 },
  })
})

test('whoever subscribes is sent the bytes as they came', async () => {
  const broker = await start({ routes, subscribe: ['cbor/{device}'] })
  const client = await broker.connect(await pki.device('a1'))
  await client.subscribeAsync('cbor/a1')
  const got = new Promise<Buffer>((resolve) => client.once('message', (_topic, payload) => resolve(payload)))
  const bytes = Buffer.from(payloads[3]?.[1] ?? '', 'hex')
  await client.publishAsync('cbor/a1', bytes, { qos: 1 })
  expect(await got).toEqual(bytes)
})
