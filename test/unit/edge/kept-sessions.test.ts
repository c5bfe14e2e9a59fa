import fc from 'fast-check'
import { expect, test } from 'vitest'
import { covers } from '../../../edge/admission/routes/topics.ts'
import { TopicTree } from '../../../edge/admission/routes/topic-tree.ts'
import { KeptSessions } from '../../../edge/sessions/kept-sessions.ts'

const level = fc.constantFrom('a', 'b', 'c', '')
/** Levels before those that differ, so that a filter is short, or long, or just as deep as the tree. */
const stem = fc.constantFrom(0, 12, 13, 14, 15, 16, 40).map((levels) => 'a/'.repeat(levels))
const topic = fc
  .tuple(stem, fc.array(level, { minLength: 1, maxLength: 4 }))
  .map(([before, levels]) => before + levels.join('/'))
const filter = fc
  .tuple(stem, fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([before, levels, open]) => before + [...levels, ...(open ? ['#'] : [])].join('/'))
const subscription = fc.record({ clientId: fc.constantFrom('x', 'y', 'z'), topic: filter, qos: fc.nat(2) })

const sessions = (perDeviceMax = 1000, present: string[] = []): KeptSessions =>
  new KeptSessions({
    isPresent: (clientId) => present.includes(clientId),
    perDeviceMax,
    deviceOf: (clientId) => clientId.split('/')[0] ?? '',
  })

test('what is found is what comparing every subscription finds, however deep, after any adding and removing', () => {
  fc.assert(
    fc.property(fc.array(subscription), fc.array(fc.nat()), topic, (given, removals, wanted) => {
      const index = sessions()
      const kept = new Map<string, (typeof given)[number]>()
      for (const one of given) {
        index.subscribe(one)
        kept.set(`${one.clientId} ${one.topic}`, one)
      }
      for (const removal of removals) {
        const one = given[removal % Math.max(1, given.length)]
        if (!one) continue
        index.unsubscribe(one.clientId, one.topic)
        kept.delete(`${one.clientId} ${one.topic}`)
      }
      const best = new Map<string, number>()
      for (const { clientId, topic, qos } of kept.values()) {
        if (covers(topic, wanted)) best.set(clientId, Math.max(best.get(clientId) ?? 0, qos))
      }
      expect(new Map(index.match(wanted).map(({ clientId, qos }) => [clientId, qos]))).toEqual(best)
    }),
    { numRuns: 500 },
  )
})

test('a filter of as many levels as its length allows costs its length, and is found (G7)', () => {
  const tree = new TopicTree<string, number>()
  const deep = `${'+/'.repeat(32_000)}end`
  const before = process.memoryUsage().heapUsed
  for (let index = 0; index < 50; index += 1) tree.set(`${index}/${deep}`, 'x', index)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(20_000_000)
  const found: number[] = []
  tree.match(`7/${'a/'.repeat(32_000)}end`, (_, value) => found.push(value))
  tree.match(`7/${'a/'.repeat(32_000)}other`, (_, value) => found.push(value))
  expect(found).toEqual([7])
})

test('a narrower subscription with another QoS leaves the wider one alone', () => {
  const index = sessions()
  index.subscribe({ clientId: 'x', topic: 'a/#', qos: 1 })
  index.subscribe({ clientId: 'x', topic: 'a/b', qos: 0 })
  expect(index.match('a/c')).toEqual([{ clientId: 'x', topic: 'a/#', qos: 1 }])
  expect(index.match('a/b')).toEqual([{ clientId: 'x', topic: 'a/#', qos: 1 }])
})

test('wildcards do not reach topics of the server', () => {
  const index = sessions()
  index.subscribe({ clientId: 'x', topic: '#', qos: 1 })
  index.subscribe({ clientId: 'y', topic: '+/z', qos: 1 })
  expect(index.match('$SYS/z')).toEqual([])
})

test('a device has as many subscriptions in its kept sessions as it may, and another for one it gave up (G7)', () => {
  const index = sessions(2)
  const subscribe = (clientId: string, topic: string): boolean => index.subscribe({ clientId, topic, qos: 1 })
  expect([subscribe('a1/x', 'a'), subscribe('a1/y', 'a'), subscribe('a1/x', 'a')]).toEqual([true, true, true])
  expect([subscribe('a1/x', 'b'), subscribe('a2/x', 'b')]).toEqual([false, true])
  index.unsubscribe('a1/y', 'a')
  index.unsubscribe('a1/y', 'none')
  expect([subscribe('a1/x', 'b'), subscribe('a1/x', 'c')]).toEqual([true, false])
})

test('a session without subscriptions is kept, as many of a device as it may have subscriptions, the latest (G7)', () => {
  const index = sessions(2)
  expect(index.begin('a1/x')).toEqual({ isNew: true, forgotten: [] })
  index.begin('a1/y')
  index.begin('a2/z')
  expect(index.begin('a1/x')).toEqual({ isNew: false, forgotten: [] })
  expect(index.begin('a1/w')).toEqual({ isNew: true, forgotten: ['a1/y'] })
  expect(['a1/x', 'a1/y', 'a1/w', 'a2/z'].map((one) => index.has(one))).toEqual([true, false, true, true])
  index.subscribe({ clientId: 'a1/x', topic: 'a', qos: 1 })
  expect(index.begin('a1/v').forgotten).toEqual([])
  expect(index.end('a1/x')).toEqual(['a'])
  expect(index.has('a1/x')).toBe(false)
})

const deep = (name: string): string => `${'+/'.repeat(32_000)}${name}`

test('what the filters of a device have beyond sixteen levels is bounded, in all its sessions, and another’s is not touched (G7)', () => {
  const index = sessions()
  const subscribe = (clientId: string, topic: string): boolean => index.subscribe({ clientId, topic, qos: 1 })
  expect([subscribe('a1/x', deep('1')), subscribe('a1/y', deep('2'))]).toEqual([true, true])
  expect([subscribe('a1/x', deep('3')), subscribe('a1/z', `${'a/'.repeat(15)}+`)]).toEqual([false, true])
  expect([subscribe('a1/x', deep('1')), subscribe('a2/x', deep('1'))]).toEqual([true, true])
  index.unsubscribe('a1/y', deep('2'))
  expect([subscribe('a1/x', deep('3')), subscribe('a1/x', deep('4'))]).toEqual([true, false])
})

test('a session that is connected is not forgotten, however many others come (G7)', () => {
  const index = sessions(2, ['a1/here'])
  for (const clientId of ['a1/here', 'a1/x', 'a1/y', 'a1/z']) index.begin(clientId)
  expect(['a1/here', 'a1/x', 'a1/y', 'a1/z'].map((one) => index.has(one))).toEqual([true, false, false, true])
})
