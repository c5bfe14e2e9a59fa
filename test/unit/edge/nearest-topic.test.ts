import { expect, test } from 'vitest'
import { nearestTopic } from '../../../edge/admission/routes/nearest-topic.ts'
import { createRoutes } from '../../../edge/admission/routes/routes.ts'

const { all } = createRoutes([
  { topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor' },
  { topic: 'zigbee2mqtt/{subject}', type: 'io.zigbee2mqtt.state', devices: ['bridge-1'] },
  { topic: 'tele/{device}/STATE', action: 'local' },
])

test.for<[string, string]>([
  ['devices/a1/event/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['devices/a1/evnets/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['devices/a1/Events/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['Devices/a1/events/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['/devices/a1/events/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['devices/a1/events/com.acme.climate/', 'devices/a1/events/com.acme.climate'],
  ['devices/a1/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['devices/a1/events/com.acme.climate/1', 'devices/a1/events/com.acme.climate'],
  ['/devices/a1/event/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['DEVICES/A1/EVENTS/com.acme.climate', 'devices/a1/events/com.acme.climate'],
  ['tele/a1/SENSR', 'tele/a1/SENSOR'],
  ['tele/a1/sensor', 'tele/a1/SENSOR'],
])('%s is nearly a topic that carries events', ([topic, meant]) => {
  expect(nearestTopic(all, 'a1', topic)).toBe(meant)
})

test.for([
  'devices/a1/state',
  'devices/a1/telemetry/com.acme.climate',
  'devices/a1/events',
  'devices/a1/events/climate',
  'devices/b1/events/com.acme.climate',
  'tele/a1/STATE',
  'zigbee2mqtt/bridge/info',
  'x'.repeat(300),
  '/'.repeat(200),
])('%s is not nearly one', (topic) => {
  expect(nearestTopic(all, 'a1', topic)).toBeUndefined()
})

test('a route of other devices is not what a device meant', () => {
  expect(nearestTopic(all, 'a1', 'zigbe2mqtt/kitchen')).toBeUndefined()
  expect(nearestTopic(all, 'bridge-1', 'zigbe2mqtt/kitchen')).toBe('zigbee2mqtt/kitchen')
})

test('of several the nearest is what a device meant', () => {
  const routes = ['SENSORS', 'SENSOR', 'SENSOR2'].map((last) => ({ topic: `t/${last}`, type: 'com.acme.x' }))
  expect(nearestTopic(routes, 'a1', 't/sensor')).toBe('t/SENSOR')
})

test.for([
  ['levels', (count: number) => 'l/'.repeat(count), 14, 15],
  ['characters', (count: number) => 'l'.repeat(count), 252, 253],
] as const)('a topic of more %s than is looked at is nobody’s slip', ([, long, most, tooMany]) => {
  const meant = (count: number): string | undefined => {
    const routes = [{ topic: `${long(count)}/END`, type: 'com.acme.x' }]
    return nearestTopic(routes, 'a1', `${long(count)}/end`)
  }
  expect(meant(most - 1)).toBeDefined()
  expect(meant(most)).toBeDefined()
  expect(meant(tooMany)).toBeUndefined()
})
