import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type Admitted, createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { avroBinaryDecoder } from '../../../edge/admission/codecs/avro/binary.ts'
import { parseAvroSchema } from '../../../edge/admission/codecs/avro/schema.ts'
import { cborDecoder } from '../../../edge/admission/codecs/cbor.ts'
import type { Decode } from '../../../edge/admission/codecs/decode.ts'
import { messageIn } from '../../../edge/admission/codecs/protobuf/files-protobufjs.ts'
import { protobufDecoder } from '../../../edge/admission/codecs/protobuf/message.ts'
import { routeFaults } from '../../../edge/admission/routes/route-faults.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import type { Candidate, Rejection } from '../../../src/contract/event.ts'
import { climateSchemas } from '../../support/fakes/schemas.ts'

const now = Date.UTC(2026, 5, 1, 12)
const bounds = { textBytesMax: 1000 }
const type = 'com.acme.climate'
const proto = `syntax = "proto3"; message M { double temperature = 1; int64 at_ns = 2; uint64 count = 3; }`
const cloudEvent = `syntax = "proto3"; message E { string specversion = 1; string id = 2; string subject = 3; string time = 4;
  string dataschema = 5; string datacontenttype = 6; int64 count = 7; D data = 8; string expirytime = 9; string type = 10; message D { double temperature = 1; } }`

const routes: [Route, Decode][] = [
  [
    { topic: 'avro/{device}', type, format: 'avro' },
    avroBinaryDecoder(
      parseAvroSchema({ type: 'record', name: 'R', fields: [{ name: 'temperature', type: 'double' }] }),
      bounds,
    ),
  ],
  [
    {
      topic: 'proto/{device}',
      type: 'com.acme.meter',
      format: 'protobuf',
      idFrom: 'count',
      timeFrom: 'atNs',
    },
    protobufDecoder(messageIn([{ name: 'm.proto', text: proto }], 'M'), bounds),
  ],
  [
    { topic: 'cloud-event/{device}', type: 'com.acme.meter', format: 'protobuf' },
    protobufDecoder(messageIn([{ name: 'm.proto', text: cloudEvent }], 'E'), bounds),
  ],
  [{ topic: 'cbor/{device}', type: 'com.acme.other', format: 'cbor', idFrom: 'n' }, cborDecoder(bounds)],
]

type Read = Admitted & { event: Candidate }

type AdmitOne = (topic: string, hex: string) => Read

function admitting(quarantineBytesMax = 100): AdmitOne {
  const compiled = createRoutes(
    routes.map(([route]) => route),
    new Map(routes),
  )
  const admitMessage = createAdmission({
    checkSchema: createSchemaCheck({ schemas: climateSchemas, unknownTypes: 'accept' }),
    types: {},
    profiles: { one: { devices: ['a2'], types: [type] } },
    payloadBytesMax: 1000,
    quarantineBytesMax,
    clockSkewMaxMs: 24 * 3_600_000,
    timeAgeMaxMs: 366 * 86_400_000,
    clock: { ...systemClock, now: () => now },
    random: () => 0.5,
  })
  return (topic, hex) => {
    const deviceId = topic.endsWith('a2') ? 'a2' : 'a1'
    const match = compiled.match(deviceId, topic)
    if (match?.action !== 'event') throw new Error(`no route for ${topic}`)
    const admitted = admitMessage({ deviceId, topic, payload: Buffer.from(hex, 'hex'), qos: 1, match })
    return { ...admitted, event: JSON.parse(admitted.submission.candidate.text) as Candidate }
  }
}

const admit = admitting()
const sha256 = (hex: string): string => createHash('sha256').update(Buffer.from(hex, 'hex')).digest('hex')
const rejectionOf = ({ event }: Read): Rejection => event.data as Rejection
/** A short text as CBOR has it. */
function text(word: string): string {
  return (0x60 + word.length).toString(16) + Buffer.from(word).toString('hex')
}
/** `{"temperature":21.5}` as an Avro double. */
const warm = '0000000000803540'

describe('a payload in another format', () => {
  test('is an event as it would be in JSON, which says how it came and keeps the SHA-256 of the bytes', () => {
    const { event, rejected } = admit('avro/a1', warm)
    expect(rejected).toBeUndefined()
    expect(event).toEqual({
      specversion: '1.0',
      id: expect.stringMatching(/^[0-9A-Z]{26}$/) as string,
      source: '/devices/a1',
      type,
      time: '2026-06-01T12:00:00.000Z',
      datacontenttype: 'application/json',
      dataschema: 'com.acme.climate/2',
      partitionkey: 'a1',
      payloadformat: 'avro',
      payloadsha256: sha256(warm),
      data: { temperature: 21.5 },
    })
  })

  test('has its ID and its time where the route says, exact also where a number would not be', () => {
    // atNs 1780315199123456789, count 2^64 - 1.
    const hex = '090000000000803540109586eebfdbe7bcda1818ffffffffffffffffff01'
    const { event } = admit('proto/a1', hex)
    expect(event).toMatchObject({
      id: 'proto/a1#18446744073709551615',
      time: '2026-06-01T11:59:59.123456789Z',
      data: { temperature: 21.5, atNs: '1780315199123456789', count: '18446744073709551615' },
    })
    expect(event).not.toHaveProperty('payloadskipped')
  })

  test('of Protobuf has no ID and no time by a zero, which may be that none was sent', () => {
    const { event } = admit('proto/a1', '090000000000803540')
    expect(event).toMatchObject({ time: '2026-06-01T12:00:00.000Z', data: { atNs: '0', count: '0' } })
    expect(event.id).toMatch(/^[0-9A-Z]{26}$/)
  })

  test('says how many bytes its schema did not know', () => {
    const admitted = admit('proto/a1', '0900000000008035402801')
    expect(admitted.event).toMatchObject({ payloadskipped: 2 })
    expect(admitted.skippedBytes).toBe(2)
    expect(admit('proto/a1', '090000000000803540').skippedBytes).toBeUndefined()
  })

  test('is a CloudEvent if it says so, and what is the gateway’s to say is dropped', () => {
    // {"specversion": "1.0", "id": "r-1", "payloadsha256": "made up", "payloadformat": "x", "data": {"temperature": 1}}
    const hex = `a5${text('specversion')}${text('1.0')}${text('id')}${text('r-1')}${text('payloadsha256')}${text('made up')}${text('payloadformat')}${text('x')}${text('data')}a1${text('temperature')}01`
    expect(admit('cbor/a1', hex).event).toMatchObject({
      id: 'cbor/a1#r-1',
      payloadformat: 'cbor',
      payloadsha256: sha256(hex),
      data: { temperature: 1 },
    })
  })

  test('is a CloudEvent whose attributes that were not sent are as if they were not in its schema', () => {
    // specversion and data; then a subject besides; then data alone.
    const data = '4209090000000000803540'
    const { event, rejected } = admit('cloud-event/a1', `0a03312e30${data}`)
    expect(rejected).toBeUndefined()
    expect(event).toMatchObject({ time: '2026-06-01T12:00:00.000Z', data: { temperature: 21.5 } })
    for (const name of ['subject', 'dataschema', 'expirytime', 'count'])
      expect(event).not.toHaveProperty(name)
    expect(admit('cloud-event/a1', `0a03312e301a0173${data}`).event).toMatchObject({ subject: 's' })
    expect(admit('cloud-event/a1', data).event.data).toMatchObject({
      specversion: '',
      data: { temperature: 21.5 },
    })
    // {"specversion": "1.0", "id": null, "subject": null, "data": null}
    const hex = `a4${text('specversion')}${text('1.0')}${text('id')}f6${text('subject')}f6${text('data')}f6`
    expect(admit('cbor/a1', hex)).toMatchObject({ event: { data: null } })
    const said = Buffer.from('{"specversion":"1.0","subject":null,"data":1}').toString('hex')
    expect(admit(`devices/a1/events/com.acme.other`, said).rejected).toMatchObject({
      reason: 'ENVELOPE_INVALID',
    })
  })

  test('of JSON nothing is said of how it came, and a device cannot say it either', () => {
    const said = {
      specversion: '1.0',
      payloadsha256: 'x',
      payloadformat: 'avro',
      payloadskipped: 1,
      data: { temperature: 1 },
    }
    const { event } = admit(`devices/a1/events/${type}`, Buffer.from(JSON.stringify(said)).toString('hex'))
    for (const name of ['payloadsha256', 'payloadformat', 'payloadskipped'])
      expect(event).not.toHaveProperty(name)
  })

  test('without an ID it is an event each time, and with one it has that each time', () => {
    expect(admit('avro/a1', warm).event.id).not.toBe(admit('avro/a1', warm).event.id)
    const hex = 'a2616e056b74656d706572617475726501'
    expect([admit('cbor/a1', hex).event.id, admit('cbor/a1', hex).event.id]).toEqual([
      'cbor/a1#5',
      'cbor/a1#5',
    ])
  })

  test('that cannot be read is quarantined with its bytes and its format, and takes its place in the ledger (G2)', () => {
    const read = admit('avro/a1', '00ff')
    expect(read.event.type).toBe('dev.tidegate.rejected')
    expect(read.event).not.toHaveProperty('payloadsha256')
    expect(rejectionOf(read)).toEqual({
      reason: 'MALFORMED_PAYLOAD',
      detail: 'avro: the payload ends before what it begins',
      topic: 'avro/a1',
      type,
      payloadBytes: 2,
      payload: 'AP8=',
      truncated: false,
      format: 'avro',
    })
  })

  test('that breaks its schema is quarantined with what was read of it as well, if there is room for that (G2)', () => {
    const none = '000000000000f87f'
    expect(rejectionOf(admit('avro/a1', none))).toMatchObject({
      reason: 'SCHEMA_VIOLATION',
      detail: 'version 2: data.temperature: must be number; version 1 does not take it either',
      payload: Buffer.from(none, 'hex').toString('base64'),
      format: 'avro',
      decoded: { temperature: 'NaN' },
    })
    const cut = rejectionOf(admitting(10)('avro/a1', none))
    expect(cut).toMatchObject({ truncated: false, format: 'avro' })
    expect(cut).not.toHaveProperty('decoded')
  })

  test('with an ID that was rejected is known by that and its bytes when it is sent again', () => {
    // {"n": 7}, of a type that this device may not send.
    const admitOne = admitting()
    const [one, again] = [admitOne('cbor/a2', 'a1616e07'), admitOne('cbor/a2', 'a1616e07')]
    expect(rejectionOf(one)).toMatchObject({ reason: 'TYPE_FORBIDDEN', id: '7', decoded: { n: 7 } })
    expect(one.event.id).toBe(again.event.id)
    expect(one.event.id).not.toBe(admitOne('cbor/a2', 'a1616e1807').event.id)
  })
})

test.each<[Partial<Route>, string[]]>([
  [{ format: 'avro', schema: 'a.avsc' }, []],
  [{ format: 'avro', schema: ['a.avsc', 'b.avsc'], encoding: 'single-object' }, []],
  [{ format: 'avro', schema: 'a.avsc', encoding: 'binary' }, []],
  [{ format: 'protobuf', schema: 'a.proto', message: 'M' }, []],
  [{ format: 'cbor' }, []],
  [{ format: 'protobuf', schema: 'a.proto', message: 'M', unknown: 'quarantine', empty: 'zeros' }, []],
  [{ format: 'cbor', unknown: 'keep', empty: 'zeros' }, ['unknown', 'empty']],
  [{ format: 'json' }, []],
  [{ format: 'avro' }, ['schema']],
  [{ format: 'avro', schema: ['a.avsc', 'b.avsc'], encoding: 'binary' }, ['schema']],
  [{ format: 'avro', schema: 'a.avsc', message: 'M' }, ['message']],
  [{ format: 'protobuf', schema: 'a.proto' }, ['message']],
  [
    { format: 'protobuf', schema: ['a.proto', 'b.proto'], message: 'M', encoding: 'binary' },
    ['schema', 'encoding'],
  ],
  [{ format: 'cbor', schema: 'a' }, ['schema']],
  [{ schema: 'a', message: 'M', encoding: 'binary' }, ['schema', 'message', 'encoding']],
  [{ action: 'local', type: undefined, format: 'cbor' }, ['format']],
])('the route %j has faults in %j', (route, keys) => {
  expect(routeFaults({ topic: 'x/{device}', type, ...route }).map(({ key }) => key)).toEqual(keys)
})
