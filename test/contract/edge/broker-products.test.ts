import { expect, test } from 'vitest'
import { loadEdgeConfig } from '../../../edge/config.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

/**
 * What products publish that know nothing of Tidegate, with their default topics, wills and payloads, against the routes of
 * config/edge.example.yaml. Sources: Tasmota's docs (MQTT) and xdrv_02_mqtt.ino; zigbee2mqtt's docs and lib/mqtt.ts; Shelly's
 * Gen2 API (Mqtt); mosquitto.conf(5), notifications.
 */
const { pki, start } = useTestBrokers()
const { routes } = loadEdgeConfig(new URL('../../../config/edge.example.yaml', import.meta.url).pathname, {})

interface Product {
  name: string
  device: string
  will: [topic: string, payload: string]
  /** With the result that each has. */
  publishes: [topic: string, payload: string, retain: boolean, result: string][]
  events: object[]
}

const products: Product[] = [
  {
    name: 'a stock Tasmota',
    device: 'tasmota_3D5E26',
    will: ['tele/tasmota_3D5E26/LWT', 'Offline'],
    publishes: [
      ['tele/tasmota_3D5E26/LWT', 'Online', true, 'local'],
      ['cmnd/tasmota_3D5E26/POWER', '', false, 'local'],
      ['tele/tasmota_3D5E26/INFO1', '{"Info1":{"Module":"Sonoff Basic"}}', false, 'local'],
      ['stat/tasmota_3D5E26/RESULT', '{"POWER":"ON"}', false, 'local'],
      ['stat/tasmota_3D5E26/POWER', 'ON', false, 'local'],
      ['tele/tasmota_3D5E26/STATE', '{"Time":"2026-07-15T12:00:00","POWER":"ON"}', false, 'local'],
      ['tasmota/discovery/5CCF7F3D5E26/config', '{"dn":"Tasmota"}', true, 'ignored'],
      ['tele/tasmota_3D5E26/SENSOR', '{"Time":"2026-07-15T12:00:00","TempUnit":"C"}', false, 'accepted'],
      ['tele/tasmota_3D5E26/SENSOR', '{"Time":"2026-01-15T12:00:00","TempUnit":"C"}', false, 'accepted'],
    ],
    events: [
      { type: 'com.tasmota.sensor', time: '2026-07-15T12:00:00+02:00' },
      { type: 'com.tasmota.sensor', time: '2026-01-15T12:00:00+01:00' },
    ],
  },
  {
    name: 'a stock zigbee2mqtt',
    device: 'bridge-1',
    will: ['zigbee2mqtt/bridge/state', '{"state":"offline"}'],
    publishes: [
      ['zigbee2mqtt/bridge/state', '{"state":"online"}', true, 'ignored'],
      ['zigbee2mqtt/bridge/devices', `[${'{"type":"Router"},'.repeat(100)}{}]`, true, 'ignored'],
      ['zigbee2mqtt/bridge/response/permit_join', '{"status":"ok"}', false, 'ignored'],
      ['zigbee2mqtt/hall/availability', '{"state":"online"}', true, 'local'],
      ['zigbee2mqtt/kitchen/lamp/availability', '{"state":"online"}', true, 'local'],
      ['zigbee2mqtt/hall', '{"linkquality":96,"last_seen":"2026-07-15T12:00:00+02:00"}', false, 'accepted'],
      ['zigbee2mqtt/kitchen/lamp', '{"state":"ON","last_seen":1784109600000}', false, 'accepted'],
      ['zigbee2mqtt/bedroom/lamp', '{"state":"ON"}', false, 'accepted'],
    ],
    events: [
      { subject: 'hall', time: '2026-07-15T12:00:00+02:00' },
      { subject: 'kitchen/lamp', time: '2026-07-15T10:00:00.000Z' },
      { subject: 'bedroom/lamp' },
    ],
  },
  {
    name: 'a Shelly with its prefix set',
    device: 'shellyplus1pm-a8032abe54dc',
    will: ['devices/shellyplus1pm-a8032abe54dc/online', 'false'],
    publishes: [
      ['devices/shellyplus1pm-a8032abe54dc/online', 'true', true, 'local'],
      [
        'devices/shellyplus1pm-a8032abe54dc/events/rpc',
        '{"method":"NotifyStatus","params":{"ts":1784109600.25,"switch:0":{"output":true}}}',
        false,
        'accepted',
      ],
    ],
    events: [{ type: 'cloud.shelly.notify', time: '2026-07-15T10:00:00.250Z' }],
  },
  {
    name: 'a stock Mosquitto bridge',
    device: 'bridge-1',
    will: ['$SYS/broker/connection/bridge-1/state', '0'],
    publishes: [
      ['$SYS/broker/connection/bridge-1/state', '1', true, 'ignored'],
      ['zigbee2mqtt/hall', '{"linkquality":96}', false, 'accepted'],
    ],
    events: [{ subject: 'hall' }],
  },
]

test.for(products)('$name connects with its will, and all that it publishes is taken', async (product) => {
  const { device, publishes, events } = product
  const { connect, outbox, seen, when } = await start({ routes, options: { packetBytesMax: 1 << 16 } })
  const [topic, payload] = product.will
  const will = { topic, payload: Buffer.from(payload), qos: 1 as const, retain: true }
  const client = await connect(await pki.device(device), { will })
  for (const [topic, payload, retain] of publishes) {
    for (const qos of [0, 1] as const) {
      if (qos === 1 || !topic.includes('/SENSOR')) await client.publishAsync(topic, payload, { qos, retain })
    }
  }
  const wanted = publishes.flatMap(([topic, , , result]) =>
    topic.includes('/SENSOR') ? [result] : [result, result],
  )
  expect(seen.published).toEqual(wanted)
  expect(outbox.stored.filter(({ qos }) => qos === 1).map(({ event }) => event)).toEqual(
    events.map((event) => expect.objectContaining(event) as object),
  )
  client.stream.destroy()
  // The will comes last, and is what its topic says.
  await when(({ published }) => published.length === wanted.length + 1)
  expect(seen.published.at(-1)).toBe(publishes[0]?.[3])
  expect(seen.refused).toEqual([])
})

test('what a route ignores is neither sent to a subscriber nor retained; what it makes local is', async () => {
  const { connect, messages, retained, when } = await start({
    routes: [
      { topic: 'noise/#', action: 'ignore' },
      { topic: 'talk/#', action: 'local' },
    ],
    subscribe: ['noise/#', 'talk/#', '$SYS/broker/#'],
  })
  const listener = await connect(await pki.device('a1'))
  await listener.subscribeAsync(['noise/#', 'talk/#', '$SYS/broker/#'], { qos: 1 })
  const will = { topic: 'noise/will', payload: Buffer.from('gone'), qos: 2 as const, retain: true }
  const speaker = await connect(await pki.device('a2'), { will })
  for (const qos of [0, 1, 2] as const) {
    await speaker.publishAsync('noise/x', 'nobody hears this', { qos, retain: true })
    await speaker.publishAsync('$SYS/broker/connection/a2/state', '1', { qos, retain: true })
    await speaker.publishAsync('talk/x', `heard ${qos}`, { qos, retain: true })
  }
  speaker.stream.destroy()
  // The will is the last.
  await when(({ published }) => published.filter((result) => result === 'ignored').length === 7)
  const late = await connect(await pki.device('a3'))
  await late.subscribeAsync(['noise/#', 'talk/#', '$SYS/broker/#'], { qos: 1 })
  expect(await retained(late, 1)).toEqual(['talk/x heard 2'])
  await late.publishAsync('talk/last', 'end', { qos: 1 })
  expect(await messages(listener, 4)).toEqual([
    'talk/x heard 0',
    'talk/x heard 1',
    'talk/x heard 2',
    'talk/last end',
  ])
  expect(await messages(late, 2)).toEqual(['talk/x heard 2', 'talk/last end'])
})
