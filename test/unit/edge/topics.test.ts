import { expect, test } from 'vitest'
import { covers, createTopicRules, filterFault } from '../../../edge/admission/routes/topics.ts'

const rules = createTopicRules({
  subscribe: ['fleet/announcements/#', 'groups/{device}/+'],
  isRouted: (deviceId, topic) => topic === `tele/${deviceId}/SENSOR` || topic === `tele/${deviceId}/NOISE`,
  isIgnored: (deviceId, topic) => topic === `tele/${deviceId}/NOISE`,
})

test('a device publishes under its own topics and where a route lets it, nowhere else', () => {
  const own = ['devices/a1/events/com.acme.climate', 'tele/a1/SENSOR', 'tele/a1/NOISE']
  const foreign = [
    'devices/a2/events/com.acme.climate',
    'devices/a10/x',
    'devices/a1',
    'devices/a1evil/x',
    '/devices/a1/x',
    'Devices/a1/x',
    'tele/a2/SENSOR',
    '$SYS/x',
    '',
  ]
  expect([...own, ...foreign].filter((topic) => rules.mayPublish('a1', topic))).toEqual(own)
})

test('a device subscribes under its own topics and to what is configured, however the wildcards stand', () => {
  const own = ['devices/a1/#', 'devices/a1/+/x', 'fleet/announcements/all', 'groups/a1/+', 'groups/a1/x']
  const foreign = [
    '#',
    '+/a1/#',
    'devices/#',
    'devices/+/events',
    'devices/a2/#',
    'fleet/#',
    'fleet/+/all',
    'groups/a2/x',
    'groups/+/x',
    'groups/a1/#',
    '$SYS/#',
    '$share/g/devices/a1/#',
  ]
  expect([...own, ...foreign].filter((filter) => rules.maySubscribe('a1', filter))).toEqual(own)
})

test('what a route ignores goes no further; everything else goes to subscribers', () => {
  const topics = ['tele/a1/SENSOR', 'tele/a1/NOISE', 'devices/a1/state']
  expect(topics.filter((topic) => !rules.isDistributed('a1', topic))).toEqual(['tele/a1/NOISE'])
})

test('a filter covers what it matches, its parent, and no topic of the server', () => {
  expect(covers('a/#', 'a')).toBe(true)
  expect(covers('a/+', 'a/+')).toBe(true)
  expect(covers('#', 'a/b/#')).toBe(true)
  expect(covers('a/+', 'a/#')).toBe(false)
  expect(covers('a/b', 'a/+')).toBe(false)
  expect(covers('a', 'a/b')).toBe(false)
  expect(covers('#', '$SYS/x')).toBe(false)
  expect(covers('+/x', '$SYS/x')).toBe(false)
  expect(covers('$SYS/#', '$SYS/x')).toBe(true)
})

test('a filter that MQTT does not know is refused with its rule', () => {
  expect(['a/#', '+/b', '#', 'a//b'].map(filterFault)).toEqual([undefined, undefined, undefined, undefined])
  expect(['', 'a+/b', 'a/#/b', 'a#', 'a/\u0000'].map(filterFault)).toEqual([
    'must not be empty',
    '+ must be a whole level',
    '# must be the last level',
    '# must be a whole level',
    'must not hold a NUL character',
  ])
})
