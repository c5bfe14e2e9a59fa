import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { createIngest, type Publish } from '../../../edge/admission/ingest.ts'
import { silentIngestObserver } from '../../../edge/admission/observer.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes/routes.ts'
import { systemClock } from '../../../src/clock.ts'
import { createFakeOutbox, type FakeOutbox } from '../../support/fakes/outbox.ts'
import { climateSchemas } from '../../support/fakes/schemas.ts'

interface Line {
  level: number
  msg: string
  topic?: string
  [key: string]: unknown
}

interface Watched {
  publish: (topic: string, payload?: string | Buffer, device?: string) => Promise<unknown>
  outbox: FakeOutbox
  lines: Line[]
  counted: string[]
  /** Bytes that publishes were said to take besides what came. */
  grown: number[]
  /** Topics that were held against the routes. */
  matched: string[]
}

function ingesting(configured: Route[] = [], time = { ms: 0 }): Watched {
  const outbox = createFakeOutbox()
  const lines: Line[] = []
  const counted: string[] = []
  const grown: number[] = []
  const matched: string[] = []
  const routes = createRoutes(configured)
  const ingest = createIngest({
    routes: {
      ...routes,
      match(device, topic) {
        matched.push(topic)
        return routes.match(device, topic)
      },
    },
    admit: createAdmission({
      checkSchema: createSchemaCheck({ schemas: climateSchemas, unknownTypes: 'accept' }),
      types: { 'com.acme.alarm': { lane: 'high' } },
      highPerDevice: { eventsPerSecond: 1e-6, burst: 2 },
      payloadBytesMax: 1000,
      quarantineBytesMax: 100,
      clockSkewMaxMs: 86_400_000,
      timeAgeMaxMs: 366 * 86_400_000,
      clock: systemClock,
      random: () => 0.5,
    }),
    outbox,
    observer: {
      ...silentIngestObserver,
      published: (result) => void counted.push(result),
      unreadableTime: () => void counted.push('unreadable time'),
      lowered: (by) => void counted.push(`lowered by ${by}`),
    },
    clock: { ...systemClock, monotonicMs: () => time.ms },
    log: pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) }),
  })
  return {
    publish(topic, payload = '{"temperature":1}', device = 'a1') {
      const packet: Publish = { topic, payload, qos: 1, retain: false }
      const { signal } = new AbortController()
      const held = { grow: (bytes: number) => void grown.push(bytes) }
      return ingest.publish({ deviceId: device, signal, held }, packet)
    },
    outbox,
    lines,
    counted,
    grown,
    matched,
  }
}

test('what is acknowledged and is no event is told once for each device and topic, with a route for it (G1)', async () => {
  const { publish, outbox, lines, counted } = ingesting()
  for (let again = 0; again < 3; again += 1) await publish('devices/a1/state')
  await publish('devices/a1/other')
  await publish('devices/a2/state', undefined, 'a2')
  expect(outbox.stored).toEqual([])
  expect(counted).toEqual(Array.from({ length: 5 }, () => 'unrouted'))
  expect(lines.map(({ device, topic }) => [device, topic])).toEqual([
    ['a1', 'devices/a1/state'],
    ['a1', 'devices/a1/other'],
    ['a2', 'devices/a2/state'],
  ])
  expect(lines[0]?.['hint']).toContain("[{ topic: 'devices/{device}/state', type: com.example.reading }]")
  expect(lines[0]?.['hint']).toContain("[{ topic: 'devices/{device}/state', action: local }]")
})

test('a topic that is nearly one of a route is warned of, with the one that was meant', async () => {
  const { publish, lines } = ingesting()
  expect(await publish('devices/a1/event/com.acme.climate')).toBe('acknowledge')
  expect(lines).toEqual([
    expect.objectContaining({
      level: 40,
      topic: 'devices/a1/event/com.acme.climate',
      didYouMean: 'devices/a1/events/com.acme.climate',
      hint: expect.stringContaining("[{ topic: 'devices/{device}/event/{type}' }]") as string,
    }),
  ])
})

test('a device that makes up topics is told of a few times and then once an hour, and takes no other’s place', async () => {
  const time = { ms: 0 }
  const { publish, lines, counted } = ingesting([], time)
  const publishAll = async () => {
    for (let index = 0; index < 300; index += 1) await publish(`devices/a1/${index}/${'x'.repeat(1000)}`)
  }
  await publishAll()
  expect(lines).toHaveLength(9)
  expect(lines.filter((line) => 'more' in line)).toEqual([lines[8]])
  expect(Math.max(...lines.map(({ topic }) => topic?.length ?? 0))).toBe(256)
  expect(counted).toHaveLength(300)
  await publish('devices/a2/state', undefined, 'a2')
  expect(lines).toHaveLength(10)
  time.ms = 3_599_999
  await publishAll()
  expect(lines).toHaveLength(10)
  time.ms = 3_600_000
  await publishAll()
  // Of each round those that were told one by one count no more.
  expect(lines.slice(10)).toEqual([expect.objectContaining({ device: 'a1', alikeBefore: 291 + 292 })])
})

test('a slip is told however many topics of its device are none, and slips have a bound of their own (G1)', async () => {
  const { publish, lines } = ingesting()
  const warned = () => lines.filter(({ level }) => level === 40)
  for (let index = 0; index < 20; index += 1) await publish(`devices/a1/state/${index}`)
  const slips = Array.from({ length: 70 }, (_, index) => `devices/a1/event/com.acme.x${index}`)
  for (let again = 0; again < 2; again += 1) for (const slip of slips) await publish(slip)
  expect(warned().map(({ topic }) => topic)).toEqual(slips.slice(0, 64))
  expect(warned()[63]).toMatchObject({ didYouMean: 'devices/a1/events/com.acme.x63' })
})

test('what a route makes no event of is acknowledged, counted, and told by nobody', async () => {
  const { publish, outbox, lines, counted } = ingesting([
    { topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor' },
    { topic: 'tele/{device}/+', action: 'local' },
    { topic: 'tasmota/discovery/#', action: 'ignore' },
  ])
  for (const topic of ['tele/a1/SENSOR', 'tele/a1/LWT', 'tasmota/discovery/5CCF7F/config'])
    expect(await publish(topic, '{}')).toBe('acknowledge')
  // A Mosquitto bridge says so of itself.
  await publish('$SYS/broker/connection/a1.bridge/state', '1')
  expect(counted).toEqual(['accepted', 'local', 'ignored', 'ignored'])
  expect(outbox.stored).toHaveLength(1)
  expect(lines).toEqual([])
  await expect(publish('$SYS/broker/uptime')).rejects.toMatchObject({ code: 'TOPIC_FORBIDDEN' })
})

test('a publish is held against the routes once, whatever becomes of it', async () => {
  const { publish, matched } = ingesting([{ topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor' }])
  const topics = ['tele/a1/SENSOR', 'devices/a1/events/com.acme.x', 'devices/a1/state']
  for (const topic of topics) await publish(topic)
  await expect(publish('tele/a2/SENSOR')).rejects.toMatchObject({ code: 'TOPIC_FORBIDDEN' })
  expect(matched).toEqual([...topics, 'tele/a2/SENSOR'])
})

test('a topic that is refused is told with the one that was meant', async () => {
  const { publish } = ingesting([{ topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor' }])
  await expect(publish('tele/a1/SENSR')).rejects.toMatchObject({
    code: 'TOPIC_FORBIDDEN',
    message: 'a1 may not publish to tele/a1/SENSR; did you mean tele/a1/SENSOR?',
  })
})

test('a quarantined reading is logged with what is wrong, in characters that can be seen, and without the payload', async () => {
  const { publish, lines } = ingesting()
  await publish('devices/a1/events/com.acme.climate', '{"temperature":"secret"}')
  await publish('devices/a2/events/com.acme.\u202Eclimate', '\u200B{"temperature":1,"v":"secret"}', 'a2')
  await publish('devices/a3/events/com.acme.x', `{"v":"secret"`, 'a3')
  expect(lines.map(({ level, msg }) => [level, msg])).toEqual(
    Array.from({ length: 3 }, () => [40, 'reading quarantined']),
  )
  expect(lines[0]).toMatchObject({
    device: 'a1',
    topic: 'devices/a1/events/com.acme.climate',
    reason: 'SCHEMA_VIOLATION',
    detail: 'version 2: data.temperature: must be number; version 1 does not take it either',
  })
  expect(lines[1]?.topic).toBe('devices/a2/events/com.acme.<U+202E>climate')
  expect(JSON.stringify(lines)).not.toContain('secret')
})

test('what a device puts in the high lane beyond its rate goes in the normal one, and is counted (G7)', async () => {
  const { publish, outbox, counted } = ingesting()
  for (const device of ['a1', 'a1', 'a1', 'b1'])
    await publish(`devices/${device}/events/com.acme.alarm`, '{"temperature":1}', device)
  expect(outbox.stored.map(({ event, lane }) => `${event.partitionkey} ${lane}`)).toEqual([
    'a1 high',
    'a1 high',
    'a1 normal',
    'b1 high',
  ])
  expect(counted).toEqual(['accepted', 'accepted', 'lowered by rate', 'accepted', 'accepted'])
})

test('a time that cannot be read is counted and told, and not quoted', async () => {
  const { publish, outbox, lines, counted } = ingesting([
    { topic: 'raw/{device}', type: 'com.acme.raw', timeFrom: 'at' },
  ])
  await publish('raw/a1', '{"at":"the day before yesterday"}')
  await publish('raw/a1', '{"at":null}')
  expect(counted).toEqual(['unreadable time', 'accepted', 'accepted'])
  expect(outbox.stored.map(({ event }) => event.timestatus)).toEqual(['unreadable', undefined])
  expect(lines).toEqual([
    expect.objectContaining({
      level: 40,
      device: 'a1',
      detail: 'at: it is no time of RFC 3339, such as 2026-07-01T12:00:00Z',
    }),
  ])
})

test('what was made of a publish counts at its length, however much longer than its payload it is (G7)', async () => {
  const { publish, outbox, grown } = ingesting()
  await publish('devices/a1/events/com.acme.many', `[${'1e20,'.repeat(100)}0]`)
  await publish('devices/a1/state')
  const [text = ''] = outbox.stored.map(({ event }) => JSON.stringify(event.data))
  expect(text.length).toBeGreaterThan(2000)
  expect(grown).toHaveLength(1)
  expect(grown[0]).toBeGreaterThan(2 * text.length)
})

test('a repeat is told of now and then: a counter may have begun anew', async () => {
  const { publish, lines, counted } = ingesting([
    { topic: 'raw/{device}', type: 'com.acme.raw', idFrom: 'seq' },
  ])
  for (let again = 0; again < 4; again += 1) await publish('raw/a1', `{"seq":1,"v":${again}}`)
  expect(counted).toEqual(['accepted', 'duplicate', 'duplicate', 'duplicate'])
  expect(lines).toEqual([
    expect.objectContaining({ level: 30, device: 'a1', topic: 'raw/a1', id: 'raw/a1#1' }),
  ])
})

test('readings that are counted by topic are events each, whichever routes take them, and a CloudEvent beside them (G1)', async () => {
  const { publish, outbox, counted } = ingesting([
    { topic: 'plant/{device}/temp', type: 'com.acme.temp', idFrom: 'n' },
    { topic: 'plant/{device}/hum', type: 'com.acme.hum', idFrom: 'n' },
    { topic: 'plant/{device}/wind', type: 'com.acme.wind' },
  ])
  const cloudEvent = '{"specversion":"1.0","id":"1","data":1}'
  await publish('plant/a1/temp', '{"n":1}')
  await publish('plant/a1/hum', '{"n":1}')
  await publish('plant/a1/wind', cloudEvent)
  await publish('devices/a1/events/com.acme.x', cloudEvent)
  await publish('devices/a1/events/com.acme.x', cloudEvent)
  expect(counted).toEqual(['accepted', 'accepted', 'accepted', 'accepted', 'duplicate'])
  expect(outbox.stored.map(({ event }) => event.id)).toEqual([
    'plant/a1/temp#1',
    'plant/a1/hum#1',
    'plant/a1/wind#1',
    '1',
  ])
})
