import type { MqttClient, Packet } from 'mqtt'
import { expect, test } from 'vitest'
import type { Rejection } from '../../../src/contract/event.ts'
import { publish } from '../../support/edge/mqtt-bytes.ts'
import { rawConnection } from '../../support/edge/raw-connection.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
const climate = 'devices/a1/events/com.acme.climate'
const event = (id: string, temperature = 20): string =>
  JSON.stringify({ specversion: '1.0', id, source: 'x', type: 'com.acme.climate', data: { temperature } })

function received(client: MqttClient): Packet[] {
  const packets: Packet[] = []
  client.on('packetreceive', (packet) => packets.push(packet))
  return packets
}

/** Comes back once the broker has handled what was sent before. */
const roundTrip = (client: MqttClient, device = 'a1'): Promise<unknown> =>
  client.publishAsync(`devices/${device}/state`, 'here', { qos: 1 })

async function closed(client: MqttClient): Promise<void> {
  if (client.connected) await new Promise<void>((resolve) => client.once('close', () => resolve()))
}

test('events arrive at QoS 0, 1 and 2, as CloudEvents and as bare data, under the identity of the certificate', async () => {
  const { connect, outbox } = await start()
  const client = await connect(await pki.device('a1'))
  for (const qos of [0, 1, 2] as const) {
    await client.publishAsync(climate, event(`ce-${qos}`), { qos })
    await client.publishAsync(climate, '{"temperature":21}', { qos })
  }
  const stored = await outbox.until(6)
  expect(new Set(stored.map(({ candidate }) => candidate.source))).toEqual(new Set(['/devices/a1']))
  expect(stored.map(({ qos }) => qos)).toEqual([0, 0, 1, 1, 2, 2])
  expect(stored.map(({ candidate }) => candidate.id).filter((id) => id.startsWith('ce-'))).toEqual([
    'ce-0',
    'ce-1',
    'ce-2',
  ])
})

test.for([
  ['PUBACK', 1, 0x40],
  ['PUBREC', 2, 0x50],
] as const)(
  'no %s before the event is durable, and pings are answered meanwhile (G1)',
  async ([, qos, ack]) => {
    const { port, outbox } = await start()
    const raw = await rawConnection({ port, tls: await pki.device('a1') })
    outbox.shut()
    // All in one chunk: what is unanswered of it must not keep the next from being read.
    raw.write(
      Buffer.concat(
        Array.from({ length: 20 }, (_, index) => publish(climate, event(`g1-${index}`), qos, index + 1)),
      ),
    )
    await outbox.untilWaiting(20)
    for (let ping = 0; ping < 3; ping += 1) {
      raw.write(Buffer.from([0xc0, 0]))
      await raw.until(0xd0)
    }
    expect(raw.got(ack)).toBe(0)
    outbox.open()
    for (let index = 0; index < 20; index += 1) await raw.until(ack)
    expect(outbox.stored).toHaveLength(20)
    raw.end()
  },
)

test('a device that does not wait for acknowledgements is read no further than the bound (G7)', async () => {
  const { connect, outbox } = await start()
  const client = await connect(await pki.device('a1'))
  const other = await connect(await pki.device('a2'))
  outbox.shut()
  const total = 3000
  const publishes = Array.from({ length: total }, (_, index) =>
    client.publishAsync(climate, event(`flood-${index}`), { qos: 1 }),
  )
  await outbox.untilWaiting(64)
  for (let index = 0; index < 20; index += 1) await roundTrip(other, 'a2')
  // One chunk of a socket may go over the bound of 64.
  expect(outbox.waiting).toBeLessThan(1000)
  outbox.open()
  await Promise.all(publishes)
  expect(outbox.stored.map(({ candidate }) => candidate.id)).toEqual(
    Array.from({ length: total }, (_, index) => `flood-${index}`),
  )
})

test('a publish that could not be made durable is not acknowledged, and its connection ends (G1)', async () => {
  const { connect, outbox, when } = await start()
  const client = await connect(await pki.device('a1'))
  const packets = received(client)
  outbox.fail(new Error('disk on fire'))
  client.publish(climate, event('lost?'), { qos: 1 })
  await Promise.all([closed(client), when(({ published }) => published.includes('failed'))])
  expect(packets).toEqual([])
  outbox.fail(undefined)
  const again = await connect(await pki.device('a1'))
  await again.publishAsync(climate, event('lost?'), { qos: 1 })
  expect(outbox.stored).toHaveLength(1)
})

test('what waits for room is withdrawn when its device goes, which still has it', async () => {
  const { connect, outbox, when } = await start()
  const client = await connect(await pki.device('a1'))
  outbox.shut()
  client.publish(climate, event('mine'), { qos: 1 })
  await outbox.untilWaiting(1)
  await client.endAsync(true)
  await when(({ published }) => published.includes('withdrawn'))
  expect(outbox.waiting).toBe(0)
})

test.for([
  'devices/a2/events/com.acme.climate',
  'elsewhere/a1',
  'tele/a2/SENSOR',
  '$SYS/anything',
  'devices/a1',
])('a publish to %s is refused, counted and logged, and the connection ends', async (topic) => {
  const { connect, outbox, seen, when } = await start({
    routes: [{ topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor' }],
  })
  const client = await connect(await pki.device('a1'))
  client.publish(topic, event('foreign'), { qos: 1 })
  await closed(client)
  await when(({ logs }) => logs.some(({ code }) => code === 'TOPIC_FORBIDDEN'))
  expect(seen.published).toEqual(['refused-topic'])
  expect(seen.logs[0]).toMatchObject({ device: 'a1', msg: 'connection closed' })
  expect(outbox.stored).toEqual([])
})

test('a topic of the device that no route takes stays with the broker', async () => {
  const { connect, outbox, seen } = await start()
  const client = await connect(await pki.device('a1'))
  await roundTrip(client)
  expect(seen.published).toEqual(['unrouted'])
  expect(outbox.stored).toEqual([])
})

test('a configured route turns a foreign topic into an event', async () => {
  const { connect, outbox } = await start({
    routes: [
      { topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor' },
      { topic: 'zigbee2mqtt/{subject}', type: 'io.zigbee2mqtt.state', devices: ['a1'] },
    ],
  })
  const client = await connect(await pki.device('a1'))
  await client.publishAsync('tele/a1/SENSOR', '{"Time":"2026-01-01T00:00:00","ENERGY":{"Power":7}}', {
    qos: 1,
  })
  await client.publishAsync('zigbee2mqtt/kitchen', '{"linkquality":50}', { qos: 1 })
  expect(outbox.stored.map(({ event }) => [event.type, event.subject])).toEqual([
    ['com.tasmota.sensor', undefined],
    ['io.zigbee2mqtt.state', 'kitchen'],
  ])
})

test('a poison reading is acknowledged and takes its place as a rejected event (G2)', async () => {
  const { connect, outbox, seen } = await start()
  const client = await connect(await pki.device('a1'))
  await client.publishAsync(climate, '{bad', { qos: 1 })
  await client.publishAsync(climate, '{bad', { qos: 1 })
  await client.publishAsync(climate, 'x'.repeat(2000), { qos: 2 })
  expect(outbox.stored.map(({ event }) => (event.data as Rejection).reason)).toEqual([
    'MALFORMED_JSON',
    'MALFORMED_JSON',
    'PAYLOAD_TOO_LARGE',
  ])
  expect(seen.published).toEqual(['rejected', 'rejected', 'rejected'])
  expect(JSON.stringify(seen.logs)).not.toContain('{bad')
})

test('the will of a device that vanished becomes an event', async () => {
  const { connect, outbox, when } = await start()
  const will = { topic: climate, payload: Buffer.from(event('last-words')), qos: 1 as const, retain: false }
  const client = await connect(await pki.device('a1'), { will })
  outbox.shut()
  client.stream.destroy()
  // It waits for room like any other event, although its connection is over.
  await outbox.untilWaiting(1)
  await when(({ connections }) => connections === 0)
  outbox.open()
  const [submission] = await outbox.until(1)
  expect(submission?.candidate.id).toBe('last-words')
})

test('a QoS 2 message that is sent again before it was released is one event [MQTT-4.3.3-2]', async () => {
  const { port, outbox, when } = await start()
  const raw = await rawConnection({ port, tls: await pki.device('a1') })
  const sent = publish(climate, '{"temperature":1}', 2, 7)
  raw.write(sent)
  await raw.until(0x50)
  sent.writeUInt8(0x34 | 0x08, 0)
  raw.write(sent)
  await raw.until(0x50)
  await when(({ published }) => published.length === 2)
  expect(outbox.stored).toHaveLength(1)
  raw.write(Buffer.from([0x62, 2, 0, 7]))
  await raw.until(0x70)
  sent.writeUInt8(0x34, 0)
  raw.write(sent)
  await outbox.until(2)
  raw.end()
})

test('publishes that follow CONNECT in the same packet are all taken', async () => {
  const { port, outbox } = await start()
  const follow = Array.from({ length: 200 }, (_, index) =>
    publish(climate, event(`early-${index}`), 2, index + 1),
  )
  const raw = await rawConnection({ port, tls: await pki.device('a1'), follow })
  expect(await outbox.until(200)).toHaveLength(200)
  raw.end()
})
