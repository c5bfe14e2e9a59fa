import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { type Admitted, type AdmissionOptions, createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { containersMax, depthMax } from '../../../edge/admission/codecs/decode.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import { type Candidate, eventSchema, type Rejection } from '../../../src/contract/event.ts'
import { climateSchemas } from '../../support/fakes/schemas.ts'

const now = Date.UTC(2026, 5, 1, 12)

interface Given extends Partial<AdmissionOptions> {
  routes?: Route[]
  nowMs?: number
}

/** What was admitted, with what its text says. */
type Read = Admitted & { event: Candidate }

function admitting(given: Given = {}) {
  const admit = createAdmission({
    checkSchema: createSchemaCheck({ schemas: climateSchemas, unknownTypes: 'accept' }),
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
  return (payload: unknown, topic = 'devices/a1/events/com.acme.climate', qos: 0 | 1 | 2 = 1): Read => {
    const match = routes.match('a1', topic)
    if (match?.action !== 'event') throw new Error(`no route for ${topic}`)
    const bytes = Buffer.isBuffer(payload)
      ? payload
      : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
    const admitted = admit({ deviceId: 'a1', topic, payload: bytes, qos, match })
    return { ...admitted, event: JSON.parse(admitted.submission.candidate.text) as Candidate }
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
const rejectionOf = ({ event }: Read): Rejection => event.data as Rejection

test('bare data becomes an event with the identity as source, an ID and the gateway’s time', () => {
  const { submission, rejected, event } = admit({ temperature: 20.5 })
  expect(rejected).toBeUndefined()
  expect(submission).toMatchObject({ lane: 'normal', qos: 1 })
  expect(event).toEqual({
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
  expect(admit({ temperature: 1 }).event.id).not.toBe(admit({ temperature: 1 }).event.id)
})

test('a CloudEvent keeps what is its own and loses what only the gateway may say', () => {
  const { event } = admit(
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
  )
  expect(event).toEqual({
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
  const { event } = admit({ specversion: '1.0', data: { temperature: 1 } })
  expect(event).toMatchObject({ type: 'com.acme.climate', time: '2026-06-01T12:00:00.000Z' })
  expect(event.id).toHaveLength(26)
})

test.for<[string, object]>([
  ['ENVELOPE_INVALID', { specversion: '0.3' }],
  ['ENVELOPE_INVALID', { type: 'com.acme.other' }],
  ['ENVELOPE_INVALID', { expirytime: '2026-02-30T12:00:00Z' }],
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
  expect(admitted.rejected?.reason).toBe(reason)
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
  expect(admit(payload, 'devices/a1/events/com.acme.free').rejected?.reason).toBe(reason)
})

const freely = admitting({ payloadBytesMax: 1 << 20 })

test.for<[string, string]>([
  ['TOO_DEEP', `{"v":${'['.repeat(100_000)}`],
  ['TOO_MANY_VALUES', `[${'{},'.repeat(100_000)}`],
])('a long payload that would be refused for its shape is not parsed first: %s (G7)', ([reason, payload]) => {
  const parse = vi.spyOn(JSON, 'parse')
  const { rejected } = freely(payload, 'devices/a1/events/com.acme.free')
  expect(rejected?.reason).toBe(reason)
  expect(parse.mock.calls.filter(([text]) => text.length > 8192)).toEqual([])
  parse.mockRestore()
})

test('brackets in a text are none, however long it is and whatever is escaped in it', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('[', '{', '"', '\\', ']', '}', 'x'), { maxLength: 20 }), (parts) => {
      const value = {
        pad: 'x'.repeat(9000),
        note: parts.join('').repeat(50),
        list: [[{}]],
        [parts.join('')]: 1,
      }
      expect(freely(value, 'devices/a1/events/com.acme.free').rejected).toBeUndefined()
    }),
  )
})

test('a type that is none, or is the gateway’s own, is quarantined and not lost', () => {
  expect(admit({}, 'devices/a1/events/nodots').rejected?.reason).toBe('TYPE_INVALID')
  for (const type of ['dev.tidegate.ledger', 'DEV.Tidegate.Ledger', 'dev.tidegate', 'DEV.TIDEGATE'])
    expect(admit({}, `devices/a1/events/${type}`).rejected?.reason).toBe('TYPE_INVALID')
  expect(admit({}, 'devices/a1/events/dev.tidegates.x').rejected).toBeUndefined()
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

test('a rejected event says no more of a topic than a person reads, however long it is (G7)', () => {
  const routes = [{ topic: 'any/{subject}/{type}' }]
  const topic = `any/${'"'.repeat(30_000)}/${'\u0001'.repeat(30_000)}`
  const admitted = admitting({ routes })('', topic)
  expect(rejectionOf(admitted).reason).toBe('TYPE_INVALID')
  expect(rejectionOf(admitted).topic).toMatch(/^any\/"{251}…$/)
  expect(rejectionOf(admitted).type).toMatch(/^\ufffd{127}…$/)
  expect(admitted.submission.candidate.text.length).toBeLessThan(1500)
})

const idOf = (payload: string, topic?: string): string => admit(payload, topic).event.id

const bad = (id: string, more: object = {}): string => JSON.stringify(cloudEvent({ id, data: {}, ...more }))

test('two bad readings are two events, however alike, unless they bring an ID', () => {
  for (const payload of [
    '{bad',
    'ON',
    '',
    '{"temperature":"warm"}',
    '{"specversion":"1.0","id":"","data":1}',
  ])
    expect(idOf(payload)).not.toBe(idOf(payload))
  expect(idOf(bad('r-1'))).toBe(idOf(bad('r-1')))
  expect(idOf(bad('r-1'))).not.toBe(idOf(bad('r-2')))
  expect(idOf(bad('r-1'))).not.toBe(idOf(bad('r-1', { data: { temperature: 'warm' } })))
})

test('a device’s clock that cannot be right marks the event and changes nothing else', () => {
  for (const time of ['1970-01-01T00:00:10Z', '2026-06-02T12:00:01Z', '2025-05-30T00:00:00Z']) {
    const admitted = admit(cloudEvent({ time }))
    expect(admitted.implausible).toBe(true)
    expect(admitted.event).toMatchObject({ time, timestatus: 'implausible' })
  }
  expect(admit(cloudEvent({ time: '2026-06-02T11:59:59Z' })).event.timestatus).toBeUndefined()
})

test('a gateway whose own clock was never set does not call a device’s clock wrong', () => {
  expect(admitting({ nowMs: 5000 })(cloudEvent()).implausible).toBeUndefined()
})

test('a named version of the schema is the one that is checked', () => {
  const admitted = admit(cloudEvent({ dataschema: 'com.acme.climate/1' }))
  expect(admitted.event.dataschema).toBe('com.acme.climate/1')
  expect(
    admit(cloudEvent({ dataschema: 'com.acme.climate/1', data: { temperature: 1, battery: 5 } })).rejected,
  ).toMatchObject({ reason: 'SCHEMA_VIOLATION' })
  expect(admit(cloudEvent({ dataschema: 'https://acme.example/s' })).event.dataschema).toBe(
    'com.acme.climate/2',
  )
})

test('a type without a schema is accepted unchecked, or refused if so configured', () => {
  const topic = 'devices/a1/events/com.acme.novel'
  expect(admit('42', topic).event).toMatchObject({ data: 42 })
  expect(admit('42', topic).event.dataschema).toBeUndefined()
  const checkSchema = createSchemaCheck({ schemas: climateSchemas, unknownTypes: 'reject' })
  expect(admitting({ checkSchema })('42', topic).rejected?.reason).toBe('SCHEMA_UNKNOWN')
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
  expect(tele({ Time: '2026-06-01T12:00:00', meta: { id: 77 } }).event).toMatchObject({
    id: 'tele/a1/SENSOR#77',
    time: '2026-06-01T12:00:00+01:00',
  })
  expect(tele({ Time: 1780315200 }).event.time).toBe('2026-06-01T12:00:00.000Z')
  expect(tele({ Time: 1780315200000 }).event.time).toBe('2026-06-01T12:00:00.000Z')
  expect(tele({ meta: { id: { no: 1 } } }).rejected?.reason).toBe('ID_INVALID')
  expect(tele({ meta: {} }).event.id).toHaveLength(26)
  // Without a configured offset a local time says nothing: the gateway's time is used.
  expect(admit({ Time: '2026-06-01T09:00:00' }, 'raw/a1').event.time).toBe('2026-06-01T12:00:00.000Z')
})

const nodes = admitting({
  routes: [
    { topic: 'bridge/{subject}', type: 'com.acme.free', idFrom: 'seq' },
    { topic: 'any/+/x', type: 'com.acme.free', idFrom: 'seq' },
    { topic: 'one/{device}', type: 'com.acme.free', idFrom: 'seq' },
  ],
})

const idOn = (topic: string, payload: object = { seq: 1 }): string => nodes(payload, topic).event.id

test('sensors that count for themselves behind one device do not take each other’s IDs', () => {
  expect(idOn('bridge/20')).toBe('bridge/20#1')
  expect(idOn('bridge/20')).toBe(idOn('bridge/20'))
  const cloudEventOfNode = { specversion: '1.0', id: '1', data: 1 }
  expect(new Set(['bridge/20', 'bridge/10', 'any/20/x', 'any/10/x'].map((topic) => idOn(topic))).size).toBe(4)
  expect(idOn('bridge/10', cloudEventOfNode)).toBe('bridge/10#1')
})

test('an ID is unique within its topic, whatever routes there are; a CloudEvent’s among all that its device says', () => {
  const topics = ['one/a1', 'bridge/20', 'devices/a1/events/com.acme.free']
  const own: Route = { topic: 'devices/{device}/events/{type}', idFrom: 'n' }
  const one: Route = { topic: 'one/{device}', type: 'com.acme.free', idFrom: 'n' }
  const two: Route = { topic: '+/{subject}', type: 'com.acme.free', idFrom: 'n' }
  for (const routes of [
    [own, one, two],
    [two, one, own],
    [own, two],
  ]) {
    const admit = admitting({ routes })
    const idsOf = (payload: object) => topics.map((topic) => admit(payload, topic).event.id)
    expect(idsOf({ n: 1 })).toEqual(topics.map((topic) => `${topic}#1`))
    expect(idsOf({ specversion: '1.0', id: '1', data: 1 })).toEqual(['one/a1#1', 'bridge/20#1', '1'])
  }
})

const idBy = (route: Route, topic: string): string =>
  admitting({ routes: [route] })(cloudEvent({ type: undefined }), topic).event.id

test('a CloudEvent on a topic that is its device’s and type’s has its own ID by whichever route, and no other has', () => {
  const topic = 'devices/a1/events/com.acme.climate'
  const type = 'com.acme.climate'
  expect(idBy({ topic: 'devices/{device}/events/{type}', ttl: 1 }, topic)).toBe('r-1')
  expect(idBy({ topic: 'devices/{device}/events/com.acme.climate', type, lane: 'high' }, topic)).toBe('r-1')
  const ofNode = 'devices/a1/events/kitchen'
  expect(idBy({ topic: 'devices/{device}/events/{subject}', type }, ofNode)).toBe(`${ofNode}#r-1`)
  expect(idBy({ topic: 'devices/{device}/events/#', type }, `${topic}/x`)).toBe(`${topic}/x#r-1`)
})

test('an ID that would be too long, or is not fit for one, is a hash, and as unique', () => {
  const long = (id: string): string => nodes({ seq: id }, `bridge/${'n'.repeat(100)}`).event.id
  expect(long('x'.repeat(60))).toMatch(/^#[\w-]{43}$/)
  expect(long('x'.repeat(60))).toBe(long('x'.repeat(60)))
  expect(long('x'.repeat(60))).not.toBe(long('x'.repeat(61)))
  expect(nodes({ seq: 1 }, 'bridge/\u0001').event.id).toMatch(/^#[\w-]{43}$/)
})

test('an empty subject is none that a reader would accept', () => {
  expect(rejectionOf(nodes({ seq: 1 }, 'bridge/'))).toMatchObject({ reason: 'ENVELOPE_INVALID' })
})

test('a byte order mark in front and the NULs that end a C string are no part of the reading', () => {
  for (const payload of ['\ufeff{"temperature":1}', '{"temperature":1}\0', '\ufeff{"temperature":1}\r\n\0\0'])
    expect(admit(payload).event.data).toEqual({ temperature: 1 })
})

test.for<[string, string]>([
  ['\ufeff\ufeff{}', '<U+FEFF>'],
  ['{"a":1}\u200b', 'after JSON'],
  ['{\u00a0"a":1}', 'property name'],
  ['{"a":1}\0{}', 'after JSON'],
  ['\0\0', 'the payload has no text'],
])('a reason names what cannot be seen, and holds none of it: %j', ([payload, named]) => {
  const { detail } = rejectionOf(admit(payload, 'devices/a1/events/com.acme.free'))
  expect(detail).toContain(named)
  expect(detail).not.toMatch(/[^\P{C}]|(?! )\p{Z}/u)
})

const many = (count: number): Read =>
  admitting({ payloadBytesMax: 1e6 })(`[${'{},'.repeat(count - 2)}[]]`, 'devices/a1/events/com.acme.free')

test('objects and arrays are bounded: they take more of a reader’s memory than of a payload (G7)', () => {
  expect(many(containersMax - 1).rejected).toBeUndefined()
  expect(rejectionOf(many(containersMax + 1))).toMatchObject({ reason: 'TOO_MANY_VALUES' })
})

test('what waits for the disk is the text of an event, not what it was read from (G7)', () => {
  const { submission, event } = admit({ temperature: 1 })
  expect(Object.keys(submission.candidate).toSorted()).toEqual([
    'id',
    'partitionkey',
    'source',
    'text',
    'type',
  ])
  expect(Object.values(submission.candidate).every((value) => typeof value === 'string')).toBe(true)
  expect(event.data).toEqual({ temperature: 1 })
})

test('a time that cannot be read does not take the reading with it, whichever way it came', () => {
  const plain = admitting({ routes: [{ topic: 'raw/{device}', type: 'com.acme.free', timeFrom: 'at' }] })
  for (const at of [
    'yesterday',
    '2026-06-01T12:00:00',
    '2026-02-30T12:00:00Z',
    '0000-06-01T12:00:00Z',
    false,
  ]) {
    for (const admitted of [plain({ at }, 'raw/a1'), admit(cloudEvent({ time: at }))]) {
      expect(admitted.rejected).toBeUndefined()
      expect(admitted.timeFault).toMatch(/^(at|time): /)
      expect(admitted.event).toMatchObject({ time: '2026-06-01T12:00:00.000Z', timestatus: 'unreadable' })
    }
  }
  for (const at of ['2026-06-01t11:59:00z', 1780315140, '1780315140000']) {
    for (const { event } of [plain({ at }, 'raw/a1'), admit(cloudEvent({ time: at }))]) {
      expect(Date.parse(event.time)).toBe(Date.parse('2026-06-01T11:59:00Z'))
      expect(event.timestatus).toBeUndefined()
    }
  }
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
      const { event } = admit(payload, `devices/a1/events/${type}`)
      const text = JSON.stringify({ ...event, ...place })
      const result = eventSchema.safeParse(JSON.parse(text))
      expect(result.error?.issues).toBeUndefined()
      expect(text).not.toContain('\\u0000')
      expect(event.source).toBe('/devices/a1')
    }),
    { numRuns: 300 },
  )
})
