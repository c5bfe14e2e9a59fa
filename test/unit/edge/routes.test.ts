import { expect, test } from 'vitest'
import { valueAt } from '../../../edge/admission/codecs/paths.ts'
import { routeFaults } from '../../../edge/admission/routes/route-faults.ts'
import { createRoutes } from '../../../edge/admission/routes/routes.ts'

const routes = createRoutes([
  { topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor', timeFrom: 'Time', timeOffset: '+01:00' },
  { topic: 'zigbee2mqtt/{subject}', type: 'io.zigbee2mqtt.state', devices: ['bridge-1'] },
  { topic: 'plant/+/{device}/{type}/#' },
  { topic: '+/{subject}/x', type: 'com.acme.any' },
])

test('the built-in route reads the event type from the topic of the device itself', () => {
  expect(routes.match('a1', 'devices/a1/events/com.acme.climate')).toMatchObject({ type: 'com.acme.climate' })
  expect(routes.match('a1', 'devices/a2/events/com.acme.climate')).toBeUndefined()
  expect(routes.match('a1', 'devices/a1/state')).toBeUndefined()
  expect(routes.match('a1', 'devices/a1/events/a/b')).toBeUndefined()
})

test('a route captures device, subject and type', () => {
  expect(routes.match('plug', 'tele/plug/SENSOR')).toMatchObject({ type: 'com.tasmota.sensor' })
  expect(routes.match('plug', 'tele/other/SENSOR')).toBeUndefined()
  expect(routes.match('bridge-1', 'zigbee2mqtt/kitchen')).toMatchObject({ subject: 'kitchen' })
  expect(routes.match('bridge-2', 'zigbee2mqtt/kitchen')).toBeUndefined()
  expect(routes.match('a1', 'plant/7/a1/com.acme.x/deep/down')).toMatchObject({ type: 'com.acme.x' })
  expect(routes.match('a1', 'plant/7/a1/com.acme.x')).toMatchObject({ type: 'com.acme.x' })
})

test('of several levels that are the subject it is all of them, and two sensors never share one', () => {
  const routes = createRoutes([{ topic: 'zigbee2mqtt/{subject}/{subject}', type: 'io.zigbee2mqtt.state' }])
  expect(routes.match('b', 'zigbee2mqtt/kitchen/lamp')).toMatchObject({ subject: 'kitchen/lamp' })
  expect(routes.match('b', 'zigbee2mqtt/bedroom/lamp')).toMatchObject({ subject: 'bedroom/lamp' })
})

test('a route says what becomes of a publish, and the first that fits decides', () => {
  const routes = createRoutes([
    { topic: 'zigbee2mqtt/bridge/#', action: 'ignore', devices: ['b'] },
    { topic: 'zigbee2mqtt/+/availability', action: 'local' },
    { topic: 'devices/{device}/debug', action: 'ignore' },
    { topic: 'zigbee2mqtt/#', type: 'io.zigbee2mqtt.state' },
  ])
  const actionOf = (topic: string, device = 'b') => routes.match(device, topic)?.action
  expect(actionOf('zigbee2mqtt/bridge/state')).toBe('ignore')
  expect(actionOf('zigbee2mqtt/bridge/state', 'c')).toBe('event')
  expect(actionOf('zigbee2mqtt/kitchen/availability')).toBe('local')
  expect(actionOf('zigbee2mqtt/kitchen')).toBe('event')
  expect(actionOf('devices/b/debug')).toBe('ignore')
  expect(actionOf('devices/c/debug')).toBeUndefined()
  expect(actionOf('$SYS/broker/connection/x/state')).toBe('ignore')
  for (const topic of ['zigbee2mqtt/bridge/state', 'devices/b/debug', '$SYS/broker/connection/x/state'])
    expect(routes.ignores('b', topic)).toBe(true)
  for (const topic of ['zigbee2mqtt/kitchen', 'devices/c/debug', 'nowhere', '$SYS/broker/uptime'])
    expect(routes.ignores('b', topic)).toBe(false)
})

test('no route, however wide, reaches into the topics of another device or of the broker', () => {
  expect(routes.match('a1', 'hall/lamp/x')).toMatchObject({ subject: 'lamp' })
  expect(routes.match('a1', 'devices/a2/x')).toBeUndefined()
  expect(routes.match('a1', '$SYS/a/x')).toBeUndefined()
})

const keys = (route: Parameters<typeof routeFaults>[0]): string[] =>
  routeFaults(route).map((fault) => fault.key)

test('every fault of a route is named with its key', () => {
  expect(
    routeFaults({ topic: 'tele/{device}/SENSOR', type: 'com.tasmota.sensor', idFrom: '/a~1b/0' }),
  ).toEqual([])
  expect(keys({ topic: 'tele/{device}/SENSOR' })).toEqual(['type'])
  expect(keys({ topic: 'x/{type}', type: 'com.acme.x' })).toEqual(['type'])
  expect(keys({ topic: 'x/pre{device}', type: 'com.acme.x' })).toEqual(['topic'])
  expect(keys({ topic: 'x/{name}', type: 'com.acme.x' })).toEqual(['topic'])
  expect(keys({ topic: 'x/{device}/{device}', type: 'com.acme.x' })).toEqual(['topic'])
  expect(keys({ topic: 'x/{type}/{type}' })).toEqual(['topic'])
  expect(keys({ topic: 'x/{device}', action: 'local' })).toEqual([])
  expect(keys({ topic: 'x/{type}/{subject}', action: 'ignore', type: 'a.b', ttl: 1, timeFrom: 'a' })).toEqual(
    ['type', 'timeFrom', 'ttl', 'topic', 'topic'],
  )
  for (const type of ['DEV.TIDEGATE.LEDGER', 'dev.tidegate'])
    expect(keys({ topic: 'a', type })).toEqual(['type'])
  expect(keys({ topic: 'devices/+/x', type: 'com.acme.x' })).toEqual(['topic'])
  expect(keys({ topic: '$SYS/x', type: 'com.acme.x' })).toEqual(['topic'])
  expect(keys({ topic: 'a/#/b', type: 'nodots' })).toEqual(['topic', 'type'])
  expect(keys({ topic: 'a', type: 'dev.tidegate.rejected' })).toEqual(['type'])
  expect(
    keys({
      topic: 'a',
      type: 'a.b',
      idFrom: 'a..b',
      timeFrom: '',
      timeOffset: 'Middle/Earth',
      devices: ['no good'],
    }),
  ).toEqual(['idFrom', 'timeFrom', 'timeOffset', 'devices'])
})

test('a path finds own members only', () => {
  expect(valueAt({ a: { b: [1, 2] } }, ['a', 'b', '1'])).toBe(2)
  expect(valueAt({ a: 1 }, ['constructor'])).toBeUndefined()
  expect(valueAt('text', ['length'])).toBeUndefined()
})
