import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import type { MqttClient, Packet } from 'mqtt'
import { expect, test } from 'vitest'
import { createTopicRules } from '../../../edge/admission/topics.ts'
import type { Rejection } from '../../../src/contract/event.ts'
import { publishPacket, rawConnection } from '../../support/edge/raw-connection.ts'
import { createTestPki, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

/** Each way a client can learn that it was not let in. */
const turnedAway = /refused|closed|certificate|ECONNRESET|disconnected|unknown ca/i
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
        Array.from({ length: 20 }, (_, index) =>
          publishPacket(climate, event(`g1-${index}`), index + 1, qos),
        ),
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

test('a publish that could not be made durable is not acknowledged, and its connection ends', async () => {
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
  expect(seen.published).toEqual(['local'])
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
  expect(outbox.stored.map(({ candidate }) => [candidate.type, candidate.subject])).toEqual([
    ['com.tasmota.sensor', undefined],
    ['io.zigbee2mqtt.state', 'kitchen'],
  ])
})

test('a poison reading is acknowledged and takes its place as a rejected event', async () => {
  const { connect, outbox, seen } = await start()
  const client = await connect(await pki.device('a1'))
  await client.publishAsync(climate, '{bad', { qos: 1 })
  await client.publishAsync(climate, '{bad', { qos: 1 })
  await client.publishAsync(climate, 'x'.repeat(2000), { qos: 2 })
  expect(outbox.stored.map(({ candidate }) => (candidate.data as Rejection).reason)).toEqual([
    'MALFORMED_JSON',
    'PAYLOAD_TOO_LARGE',
  ])
  expect(seen.published).toEqual(['rejected', 'duplicate', 'rejected'])
  expect(JSON.stringify(seen.logs)).not.toContain('{bad')
})

test('a packet over the limit ends its connection before it is buffered', async () => {
  const { connect, outbox, when } = await start()
  const client = await connect(await pki.device('a1'))
  client.publish(climate, 'x'.repeat(5000), { qos: 1 })
  await closed(client)
  await when(({ logs }) => logs.some(({ code }) => code === 'PACKET_TOO_LARGE'))
  expect(outbox.stored).toEqual([])
})

test('who has no certificate, one of another CA, an expired one or one of another role is refused with the reason', async () => {
  const { connect, seen, when } = await start()
  const stranger = await createTestPki()
  try {
    const { ca } = await pki.device('a1')
    await expect(connect({ ca })).rejects.toThrow(turnedAway)
    await expect(connect({ ...(await stranger.device('a1')), ca })).rejects.toThrow(turnedAway)
    await expect(connect(await pki.expired('old'))).rejects.toThrow(turnedAway)
    await expect(connect(await pki.gateway('gw'))).rejects.toThrow(turnedAway)
  } finally {
    await stranger.close()
  }
  await when(({ refused }) => refused.length === 4)
  expect(seen.refused).toEqual(['no-certificate', 'unknown-ca', 'expired-certificate', 'bad-identity'])
  expect(seen.logs.map(({ reason }) => reason)).toEqual(seen.refused)
  for (const { address } of seen.logs) expect(address).toBe('127.0.0.1')
})

test('connections are bounded, for a device and for all', async () => {
  const { connect, seen, when } = await start({ options: { connectionsMax: 3, connectionsPerDeviceMax: 2 } })
  const tls = await pki.device('a1')
  await connect(tls)
  await connect(tls)
  await expect(connect(tls)).rejects.toThrow(turnedAway)
  await when(({ refused }) => refused.length === 1)
  await connect(await pki.device('a2'))
  await expect(connect(await pki.device('a3'))).rejects.toThrow(turnedAway)
  await when(({ refused }) => refused.length === 2)
  expect(seen.refused).toEqual(['connections-per-device-max', 'connections-max'])
  expect(seen.connections).toBe(3)
})

test('two devices with the same client ID do not end each other’s sessions', async () => {
  const { connect } = await start()
  const first = await connect(await pki.device('a1'), { clientId: 'sensor' })
  const second = await connect(await pki.device('a2'), { clientId: 'sensor' })
  await roundTrip(first, 'a1')
  await roundTrip(second, 'a2')
  const third = await connect(await pki.device('a1'), { clientId: 'sensor' })
  await closed(first)
  await roundTrip(third, 'a1')
  expect(second.connected).toBe(true)
})

test.for<[string, object, string]>([
  ['MQTT 5', { protocolVersion: 5 }, 'protocol-version'],
  ['a client ID without end', { clientId: 'x'.repeat(129) }, 'client-id'],
  [
    'a will on a foreign topic',
    { will: { topic: 'devices/a2/x', payload: Buffer.from('x'), qos: 0, retain: false } },
    'will-topic',
  ],
  [
    'a will on a wildcard',
    { will: { topic: 'devices/a1/#', payload: Buffer.from('x'), qos: 0, retain: false } },
    'will-topic',
  ],
])('CONNECT with %s is refused by its return code', async ([, options, reason]) => {
  const { connect, seen, when } = await start()
  await expect(connect(await pki.device('a1'), options)).rejects.toThrow(turnedAway)
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual([reason])
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

test('a device reads its own topics and what is configured; other subscriptions are answered with 0x80', async () => {
  const { connect } = await start({ subscribe: ['fleet/#'] })
  const client = await connect(await pki.device('a1'))
  const packets = received(client)
  await client.subscribeAsync(['devices/a1/#', 'fleet/news', 'devices/a2/#', '#']).catch(() => {})
  const suback = packets.find(({ cmd }) => cmd === 'suback')
  expect(suback).toMatchObject({ granted: [0, 0, 128, 128] })
})

test('retained messages and what waits for a kept session survive a restart', async () => {
  const folder = join(pki.folder, 'restart')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  const reader = await first.connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync('devices/a1/cmd/#', { qos: 1 })
  await reader.endAsync()
  const writer = await first.connect(tls)
  await writer.publishAsync('devices/a1/config', 'kept', { qos: 1, retain: true })
  await writer.publishAsync('devices/a1/cmd/1', 'one', { qos: 1 })
  await first.close()

  const second = await start({ folder })
  const again = await second.connect(tls)
  await again.publishAsync('devices/a1/cmd/2', 'two', { qos: 1 })
  const back = await second.connect(tls, { clientId: 'reader', clean: false })
  expect(await second.messages(back, 2)).toEqual(['devices/a1/cmd/1 one', 'devices/a1/cmd/2 two'])
  await again.subscribeAsync('devices/a1/config')
  expect(await second.messages(again, 1)).toEqual(['devices/a1/config kept'])
})

test('what is kept for a session that is away is bounded', async () => {
  const { connect, messages, seen, when } = await start()
  const tls = await pki.device('a1')
  const reader = await connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync('devices/a1/cmd/#', { qos: 1 })
  await reader.endAsync()
  const writer = await connect(tls)
  for (let index = 0; index < 8; index += 1)
    await writer.publishAsync(`devices/a1/cmd/${index}`, 'x', { qos: 1 })
  // aedes acknowledges before it keeps.
  await when(({ notKept }) => notKept.length === 3)
  const back = await connect(tls, { clientId: 'reader', clean: false })
  await writer.publishAsync('devices/a1/cmd/live', 'x', { qos: 0 })
  const got = await messages(back, 6)
  expect(got.toSorted()).toEqual(
    [0, 1, 2, 3, 4].map((index) => `devices/a1/cmd/${index} x`).concat('devices/a1/cmd/live x'),
  )
  expect(seen.notKept).toEqual(['queued', 'queued', 'queued'])
})

test('a kept session is sent nothing that its device may not read, even if it was asked for', async () => {
  const { connect, messages } = await start()
  const tls = await pki.device('a1')
  const reader = await connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync(['devices/a1/#', 'devices/a2/#'], { qos: 1 }).catch(() => {})
  await reader.endAsync()
  const other = await connect(await pki.device('a2'))
  await other.publishAsync('devices/a2/secret', 'x', { qos: 1 })
  const own = await connect(tls)
  await own.publishAsync('devices/a1/cmd', 'mine', { qos: 1 })
  const back = await connect(tls, { clientId: 'reader', clean: false })
  expect(await messages(back, 1)).toEqual(['devices/a1/cmd mine'])
})

test('subscriptions of kept sessions are bounded for each device, and what was refused does not count', async () => {
  const { connect, when } = await start()
  const tls = await pki.device('a1')
  const keeper = await connect(tls, { clientId: 'keeper', clean: false })
  const foreign = [1, 2, 3, 4].map((index) => `devices/a2/${index}`)
  await keeper.subscribeAsync(['devices/a1/1', ...foreign]).catch(() => {})
  await keeper.subscribeAsync(['devices/a1/1', 'devices/a1/2'])
  const other = await connect(tls, { clientId: 'other', clean: false })
  await other.subscribeAsync('devices/a1/3')
  await expect(other.subscribeAsync('devices/a1/4')).rejects.toThrow(turnedAway)
  await when(({ logs }) => logs.some(({ code }) => code === 'SUBSCRIPTIONS_MAX'))
  await keeper.unsubscribeAsync('devices/a1/2')
  const again = await connect(tls, { clientId: 'again', clean: false })
  await again.subscribeAsync('devices/a1/4')
})

test.for([
  ['kept', false],
  ['clean', true],
] as const)(
  'a SUBSCRIBE of thousands of filters in a %s session is refused, each looked at a fixed number of times (G7)',
  async ([, clean]) => {
    const rules = createTopicRules({ subscribe: [], routed: () => false })
    let looks = 0
    const maySubscribe = (deviceId: string, filter: string): boolean => {
      looks += 1
      return rules.maySubscribe(deviceId, filter)
    }
    const { connect, when } = await start({
      options: { packetBytesMax: 1 << 20, rules: { ...rules, maySubscribe } },
    })
    const client = await connect(await pki.device('a1'), { clientId: 'greedy', clean })
    const filters = Array.from({ length: 5000 }, (_, index) => `devices/a1/f/${index}`)
    await expect(client.subscribeAsync(filters)).rejects.toThrow(turnedAway)
    await when(({ logs }) => logs.some(({ code }) => code === 'SUBSCRIPTIONS_MAX'))
    expect(looks).toBeLessThanOrEqual(2 * filters.length)
  },
)

test('subscriptions of a clean session are bounded, and one that is given up makes room for another (G7)', async () => {
  const { connect, messages } = await start()
  const client = await connect(await pki.device('a1'))
  for (let index = 0; index < 10; index += 1) {
    await client.subscribeAsync([`devices/a1/${index}`, `devices/a1/${index}/#`, 'devices/a1/always'])
    await client.unsubscribeAsync([`devices/a1/${index}`, `devices/a1/${index}/#`])
  }
  await client.publishAsync('devices/a1/always', 'x')
  expect(await messages(client, 1)).toEqual(['devices/a1/always x'])
  await client.subscribeAsync(['devices/a1/1', 'devices/a1/2'])
  await expect(client.subscribeAsync('devices/a1/3')).rejects.toThrow(turnedAway)
})

test('what waits for a kept session is not sent once its device may no longer read it', async () => {
  const folder = join(pki.folder, 'withdrawn')
  const routes = [{ topic: 'fleet/{subject}', type: 'com.acme.news' }]
  const first = await start({ folder, routes, subscribe: ['fleet/#'] })
  const tls = await pki.device('a1')
  const reader = await first.connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync(['fleet/#', 'devices/a1/#'], { qos: 1 })
  await reader.endAsync()
  const writer = await first.connect(tls)
  await writer.publishAsync('fleet/news', '1', { qos: 1 })
  await writer.publishAsync('devices/a1/cmd', 'mine', { qos: 1 })
  await first.close()

  const second = await start({ folder })
  const back = await second.connect(tls, { clientId: 'reader', clean: false })
  expect(await second.messages(back, 1)).toEqual(['devices/a1/cmd mine'])
})

test('retained messages are bounded for each device', async () => {
  const { connect, retained, seen } = await start()
  const client = await connect(await pki.device('a1'))
  for (let index = 0; index < 5; index += 1)
    await client.publishAsync(`devices/a1/r/${index}`, 'x', { qos: 1, retain: true })
  await client.publishAsync('devices/a1/r/0', '', { qos: 1, retain: true })
  await client.publishAsync('devices/a1/r/5', 'x', { qos: 1, retain: true })
  await roundTrip(client)
  await client.subscribeAsync('devices/a1/r/#')
  expect((await retained(client, 3)).toSorted()).toEqual([1, 2, 5].map((index) => `devices/a1/r/${index} x`))
  expect(seen.notKept).toEqual(['retained', 'retained'])
})

test('a subscriber finds the last retained message that was acknowledged, and only that one', async () => {
  const { connect, retained } = await start()
  const client = await connect(await pki.device('a1'))
  for (let round = 0; round < 30; round += 1) {
    const text = `round ${round}`
    const topic = `devices/a1/r/${round % 3}`
    await client.publishAsync(topic, 'earlier', { qos: 1, retain: true })
    await client.publishAsync(topic, '', { qos: 1, retain: true })
    await client.publishAsync(topic, text, { qos: 1, retain: true })
    await client.subscribeAsync(topic)
    expect(await retained(client, round + 1)).toEqual(
      Array.from({ length: round + 1 }, (_, index) => `devices/a1/r/${index % 3} round ${index}`),
    )
    await client.unsubscribeAsync(topic)
  }
})

test('a session database that cannot be read is set aside whole, and the gateway starts', async () => {
  const folder = join(pki.folder, 'damaged')
  await (await start({ folder })).close()
  for (const file of await readdir(folder)) {
    if (file.startsWith('MANIFEST') || file === 'CURRENT') await writeFile(join(folder, file), 'garbage')
  }
  const { connect, seen } = await start({ folder })
  await roundTrip(await connect(await pki.device('a1')))
  expect(seen.logs[0]).toMatchObject({ code: 'SESSIONS_DAMAGED' })
  expect(await readdir(String(seen.logs[0]?.['aside']))).toContain('CURRENT')
})

test.for([
  'retained:devices/a1/x',
  'subscriptions:a1%2Fsensor:%23',
  'outgoing:a1%2Fsensor:a:1',
  'will:a1%2Fgone',
])('a damaged record of the sessions, %s, costs that record and nothing else', async (key) => {
  const folder = join(pki.folder, `record-${key.length}`)
  const first = await start({ folder })
  const before = await first.connect(await pki.device('a1'), { clientId: 'sensor', clean: false })
  await before.publishAsync('devices/a1/r/1', 'x', { qos: 1, retain: true })
  await roundTrip(before)
  await first.close()
  const database = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
  await database.put(key, Buffer.from([0xc1, 0xff]))
  await database.close()
  const { connect, retained, seen } = await start({ folder })
  const client = await connect(await pki.device('a1'), { clientId: 'sensor', clean: false })
  await client.subscribeAsync('devices/a1/r/#')
  expect(await retained(client, 1)).toEqual(['devices/a1/r/1 x'])
  await roundTrip(client)
  expect(seen.logs[0]).toMatchObject({ code: 'SESSIONS_DAMAGED', removed: 1 })
})

test('a session database that is in use is never set aside', async () => {
  const folder = join(pki.folder, 'shared')
  await start({ folder })
  await expect(start({ folder })).rejects.toMatchObject({ code: 'SESSIONS_UNAVAILABLE' })
  expect((await readdir(pki.folder)).filter((name) => name.startsWith('shared'))).toEqual(['shared'])
})

test('a taken port is said plainly, and leaves nothing open', async () => {
  const { port } = await start()
  const folder = join(pki.folder, 'port-taken')
  await expect(start({ folder, options: { port } })).rejects.toMatchObject({ code: 'PORT_TAKEN' })
  await start({ folder })
})

test('a QoS 2 message that is sent again before it was released is one event [MQTT-4.3.3-2]', async () => {
  const { port, outbox, when } = await start()
  const raw = await rawConnection({ port, tls: await pki.device('a1') })
  const publish = publishPacket(climate, '{"temperature":1}', 7)
  raw.write(publish)
  await raw.until(0x50)
  publish.writeUInt8(0x34 | 0x08, 0)
  raw.write(publish)
  await raw.until(0x50)
  await when(({ published }) => published.length === 2)
  expect(outbox.stored).toHaveLength(1)
  raw.write(Buffer.from([0x62, 2, 0, 7]))
  await raw.until(0x70)
  publish.writeUInt8(0x34, 0)
  raw.write(publish)
  await outbox.until(2)
  raw.end()
})

test('publishes that follow CONNECT in the same packet are all taken', async () => {
  const { port, outbox } = await start()
  const follow = Array.from({ length: 200 }, (_, index) =>
    publishPacket(climate, event(`early-${index}`), index + 1),
  )
  const raw = await rawConnection({ port, tls: await pki.device('a1'), follow })
  expect(await outbox.until(200)).toHaveLength(200)
  raw.end()
})
