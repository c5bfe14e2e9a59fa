import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Admitted, type AdmissionOptions, createAdmission } from '../../../edge/admission/admission.ts'
import { depthMax } from '../../../edge/admission/payload.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import { eventSchema, type Rejection } from '../../../src/contract/event.ts'
import { climateSchemas } from '../../support/fakes/schemas.ts'

const now = Date.UTC(2026, 5, 1, 12)

interface Given extends Partial<AdmissionOptions> {
  routes?: Route[]
  nowMs?: number
}

function admitting(given: Given = {}) {
  const admit = createAdmission({
    schemas: climateSchemas,
    unknownTypes: 'accept',
    types: {},
    payloadBytesMax: 1000,
    quarantineBytesMax: 100,
    clockSkewMaxMs: 24 * 3_600_000,
    timeAgeMaxMs: 366 * 86_400_000,
    clock: { ...systemClock, now: () => given.nowMs ?? now },
    random: () => 0.5,
    ...given,
  })
  const routes = createRoutes(given.routes ?? [])
  return (payload: unknown, topic = 'devices/a1/events/com.acme.climate', qos: 0 | 1 | 2 = 1): Admitted => {
    const match = routes.match('a1', topic)
    if (!match) throw new Error(`no route for ${topic}`)
    const bytes = Buffer.isBuffer(payload)
      ? payload
      : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
    return admit({ deviceId: 'a1', topic, payload: bytes, qos, match })
  }
}

const admit = admitting()
const cloudEvent = (more: object = {}) => ({
  specversion: '1.0',
  id: 'r-1',
  source: '/devices/somebody-else',
  type: 'com.acme.climate',
  time: '2026-06-01T11:59:59.123456+02:00',
  data: { temperature: 21 },
  ...more,
})
const rejectionOf = (admitted: Admitted): Rejection => admitted.submission.candidate.data as Rejection

test('bare data becomes an event with the identity as source, an ID and the gateway’s time', () => {
  const { submission, rejected } = admit({ temperature: 20.5 })
  expect(rejected).toBeUndefined()
  expect(submission).toMatchObject({ lane: 'normal', qos: 1 })
  expect(submission.candidate).toEqual({
    specversion: '1.0',
    id: expect.stringMatching(/^[0-9A-Z]{26}$/) as string,
    source: '/devices/a1',
    type: 'com.acme.climate',
    time: '2026-06-01T12:00:00.000Z',
    datacontenttype: 'application/json',
    dataschema: 'com.acme.climate/2',
    partitionkey: 'a1',
    data: { temperature: 20.5 },
  })
})

test('two plain payloads that are alike are two events', () => {
  expect(admit({ temperature: 1 }).submission.candidate.id).not.toBe(
    admit({ temperature: 1 }).submission.candidate.id,
  )
})

test('a CloudEvent keeps what is its own and loses what only the gateway may say', () => {
  const { candidate } = admit(
    cloudEvent({
      subject: 'room-7',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      site: 'north',
      floor: 3,
      Upper: 'no',
      nested: { no: true },
      gateway: 'forged',
      sequence: 1,
      chain: 'forged',
      partitionkey: 'forged',
      timestatus: 'forged',
      recordedtime: 'forged',
    }),
  ).submission
  expect(candidate).toEqual({
    specversion: '1.0',
    id: 'r-1',
    source: '/devices/a1',
    type: 'com.acme.climate',
    subject: 'room-7',
    time: '2026-06-01T11:59:59.123456+02:00',
    datacontenttype: 'application/json',
    dataschema: 'com.acme.climate/2',
    partitionkey: 'a1',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    site: 'north',
    floor: 3,
    data: { temperature: 21 },
  })
})

test('what a device may leave out of a CloudEvent the gateway fills in', () => {
  const { candidate } = admit({ specversion: '1.0', data: { temperature: 1 } }).submission
  expect(candidate).toMatchObject({ type: 'com.acme.climate', time: '2026-06-01T12:00:00.000Z' })
  expect(candidate.id).toHaveLength(26)
})

test.for<[string, object]>([
  ['ENVELOPE_INVALID', { specversion: '0.3' }],
  ['ENVELOPE_INVALID', { type: 'com.acme.other' }],
  ['ENVELOPE_INVALID', { time: 'yesterday' }],
  ['ENVELOPE_INVALID', { time: '2026-06-01T12:00:00' }],
  ['ENVELOPE_INVALID', { time: '2026-02-30T12:00:00Z' }],
  ['ENVELOPE_INVALID', { time: '0000-06-01T12:00:00Z' }],
  ['ENVELOPE_INVALID', { expirytime: 5 }],
  ['ENVELOPE_INVALID', { data: undefined }],
  ['ENVELOPE_INVALID', { data: undefined, data_base64: 'AA==' }],
  ['ENVELOPE_INVALID', { datacontenttype: 'text/xml' }],
  ['ENVELOPE_INVALID', { subject: '' }],
  ['ENVELOPE_INVALID', { subject: 7 }],
  ['ID_INVALID', { id: '' }],
  ['ID_INVALID', { id: 7 }],
  ['ID_INVALID', { id: ' padded' }],
  ['ID_INVALID', { id: 'x'.repeat(129) }],
  ['SCHEMA_VIOLATION', { data: { temperature: 'warm' } }],
  ['SCHEMA_UNKNOWN', { dataschema: 'com.acme.climate/99' }],
])('a CloudEvent with a fault is quarantined: %s %j', ([reason, more]) => {
  const admitted = admit(cloudEvent(more))
  expect(admitted.rejected).toBe(reason)
  expect(rejectionOf(admitted)).toMatchObject({ reason, type: 'com.acme.climate' })
})

test.for<[string, string | Buffer]>([
  ['MALFORMED_JSON', '{"temperature": 2'],
  ['MALFORMED_JSON', ''],
  ['NOT_UTF8', Buffer.from([0x22, 0xff, 0x22])],
  ['PAYLOAD_TOO_LARGE', 'x'.repeat(1001)],
  ['NUMBER_OUT_OF_RANGE', '{"temperature": 1e999}'],
  ['UNSTORABLE_TEXT', '{"a":"\\u0000"}'],
  ['UNSTORABLE_TEXT', '{"a":"\\ud800"}'],
  ['UNSTORABLE_TEXT', '{"\\u0000":1}'],
  ['TOO_DEEP', '['.repeat(depthMax + 1) + ']'.repeat(depthMax + 1)],
])('a payload no store could keep as it is, is quarantined: %s', ([reason, payload]) => {
  expect(admit(payload, 'devices/a1/events/com.acme.free').rejected).toBe(reason)
})

test('a type that is none, or is the gateway’s own, is quarantined and not lost', () => {
  expect(admit({}, 'devices/a1/events/nodots').rejected).toBe('TYPE_INVALID')
  expect(admit({}, 'devices/a1/events/dev.tidegate.ledger').rejected).toBe('TYPE_INVALID')
})

test('a schema violation says where', () => {
  const admitted = admit(cloudEvent({ data: { temperature: 'warm', extra: 1 } }))
  expect(rejectionOf(admitted).detail).toContain('data.temperature: must be number')
  expect(rejectionOf(admitted).id).toBe('r-1')
})

test('a rejected event keeps the payload up to the limit and says when it was cut', () => {
  const payload = Buffer.from(`{"temperature": "${'x'.repeat(200)}"}`)
  const rejection = rejectionOf(admit(payload))
  expect(rejection).toMatchObject({
    payloadBytes: payload.length,
    truncated: true,
    topic: 'devices/a1/events/com.acme.climate',
  })
  expect(Buffer.from(rejection.payload, 'base64')).toEqual(payload.subarray(0, 100))
})

const idOf = (payload: string, topic?: string): string => admit(payload, topic).submission.candidate.id

test('the same bad reading sent again has the same ID, another one has not', () => {
  expect(idOf('{bad')).toBe(idOf('{bad'))
  expect(idOf('{bad')).not.toBe(idOf('{worse'))
  expect(idOf('{bad')).not.toBe(idOf('{bad', 'devices/a1/events/com.acme.power'))
})

test('a device’s clock that cannot be right marks the event and changes nothing else', () => {
  for (const time of ['1970-01-01T00:00:10Z', '2026-06-02T12:00:01Z', '2025-05-30T00:00:00Z']) {
    const admitted = admit(cloudEvent({ time }))
    expect(admitted.implausible).toBe(true)
    expect(admitted.submission.candidate).toMatchObject({ time, timestatus: 'implausible' })
  }
  expect(admit(cloudEvent({ time: '2026-06-02T11:59:59Z' })).submission.candidate.timestatus).toBeUndefined()
})

test('a gateway whose own clock was never set does not call a device’s clock wrong', () => {
  expect(admitting({ nowMs: 5000 })(cloudEvent()).implausible).toBeUndefined()
})

test('a named version of the schema is the one that is checked', () => {
  const admitted = admit(cloudEvent({ dataschema: 'com.acme.climate/1' }))
  expect(admitted.submission.candidate.dataschema).toBe('com.acme.climate/1')
  expect(
    admit(cloudEvent({ dataschema: 'com.acme.climate/1', data: { temperature: 1, battery: 5 } })).rejected,
  ).toBe('SCHEMA_VIOLATION')
  expect(admit(cloudEvent({ dataschema: 'https://acme.example/s' })).submission.candidate.dataschema).toBe(
    'com.acme.climate/2',
  )
})

test('a type without a schema is accepted unchecked, or refused if so configured', () => {
  const topic = 'devices/a1/events/com.acme.novel'
  expect(admit('42', topic).submission.candidate).toMatchObject({ data: 42 })
  expect(admit('42', topic).submission.candidate.dataschema).toBeUndefined()
  expect(admitting({ unknownTypes: 'reject' })('42', topic).rejected).toBe('SCHEMA_UNKNOWN')
})

test('lane and life come from the route, else from the type, and an event may live shorter', () => {
  const admit = admitting({
    types: { 'com.acme.climate': { lane: 'high', ttl: 600_000 } },
    routes: [{ topic: 'fast/{device}', type: 'com.acme.climate', lane: 'normal', ttl: 1000 }],
  })
  expect(admit(cloudEvent()).submission).toMatchObject({ lane: 'high', ttlMs: 600_000 })
  const undated = (expirytime: string) => cloudEvent({ time: undefined, expirytime })
  expect(admit(undated('2026-06-01T12:00:30Z')).submission.ttlMs).toBe(30_000)
  expect(admit(undated('2026-06-01T11:00:00Z')).submission.ttlMs).toBe(0)
  expect(admit({ temperature: 1 }, 'fast/a1').submission).toMatchObject({ lane: 'normal', ttlMs: 1000 })
  expect(admitting()(cloudEvent()).submission).not.toHaveProperty('ttlMs')
})

test.for<[string, number]>([
  ['is right', now],
  ['jumped ten days ahead', now + 10 * 86_400_000],
  ['was never set', 0],
])(
  'an event that its device dated lives as long as the device said, when the gateway’s clock %s (G2)',
  ([, nowMs]) => {
    const lifeOf = (expirytime: string) =>
      admitting({ nowMs })(cloudEvent({ time: '2026-06-01T11:59:00Z', expirytime })).submission.ttlMs
    expect(lifeOf('2026-06-01T12:59:00Z')).toBe(3_600_000)
    expect(lifeOf('2026-06-01T11:59:00Z')).toBe(0)
    expect(lifeOf('2026-06-01T11:00:00Z')).toBe(0)
  },
)

test('a route says where a plain payload keeps its ID and its time', () => {
  const admit = admitting({
    routes: [
      {
        topic: 'tele/{device}/SENSOR',
        type: 'com.tasmota.sensor',
        idFrom: '/meta/id',
        timeFrom: 'Time',
        timeOffset: '+01:00',
      },
      { topic: 'raw/{device}', type: 'com.acme.free', timeFrom: 'Time' },
    ],
  })
  const tele = (payload: object) => admit(payload, 'tele/a1/SENSOR')
  expect(tele({ Time: '2026-06-01T12:00:00', meta: { id: 77 } }).submission.candidate).toMatchObject({
    id: '77',
    time: '2026-06-01T12:00:00+01:00',
  })
  expect(tele({ Time: 1780315200 }).submission.candidate.time).toBe('2026-06-01T12:00:00.000Z')
  expect(tele({ Time: 1780315200000 }).submission.candidate.time).toBe('2026-06-01T12:00:00.000Z')
  expect(tele({ meta: { id: { no: 1 } } }).rejected).toBe('ID_INVALID')
  expect(tele({ meta: {} }).submission.candidate.id).toHaveLength(26)
  // Without a configured offset a local time says nothing: the gateway's time is used.
  expect(admit({ Time: '2026-06-01T09:00:00' }, 'raw/a1').submission.candidate.time).toBe(
    '2026-06-01T12:00:00.000Z',
  )
})

test('whatever bytes a device sends, admission gives an event that readers accept (G2)', () => {
  const place = {
    gateway: 'g',
    epoch: '01HNZX8JGFACFA36RBXDHEQN6E',
    sequence: 1,
    recordedtime: '2026-06-01T12:00:00.000Z',
    chain: 'x'.repeat(43),
  }
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .record(
        {
          specversion: fc.constantFrom('1.0', '0.3', 1),
          id: fc.oneof(fc.string(), fc.anything()),
          time: fc.oneof(
            fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
            fc.string(),
          ),
          subject: fc.oneof(fc.string(), fc.integer()),
          expirytime: fc.string(),
          traceparent: fc.string(),
          abc: fc.anything(),
          data: fc.anything(),
        },
        { requiredKeys: ['specversion'] },
      )
      .map((event) => {
        try {
          return Buffer.from(JSON.stringify(event))
        } catch {
          return Buffer.from('null')
        }
      }),
  )
  fc.assert(
    fc.property(anything, fc.constantFrom('com.acme.climate', 'com.acme.free', 'x'), (payload, type) => {
      const { submission } = admit(payload, `devices/a1/events/${type}`)
      const text = JSON.stringify({ ...submission.candidate, ...place })
      const result = eventSchema.safeParse(JSON.parse(text))
      expect(result.error?.issues).toBeUndefined()
      expect(text).not.toContain('\\u0000')
      expect(submission.candidate.source).toBe('/devices/a1')
    }),
    { numRuns: 300 },
  )
})
