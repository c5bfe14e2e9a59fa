import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CleanSubscriptions, SubscriptionIndex } from '../../../edge/sessions/subscriptions.ts'
import { covers } from '../../../edge/admission/topics.ts'

const level = fc.constantFrom('a', 'b', 'c', '')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([levels, open]) => [...levels, ...(open ? ['#'] : [])].join('/'))
const subscription = fc.record({ clientId: fc.constantFrom('x', 'y', 'z'), topic: filter, qos: fc.nat(2) })

test('the index finds what comparing every subscription finds, after any adding and removing', () => {
  fc.assert(
    fc.property(fc.array(subscription), fc.array(fc.nat()), topic, (given, removals, wanted) => {
      const index = new SubscriptionIndex()
      const kept = new Map<string, (typeof given)[number]>()
      for (const one of given) {
        index.add(one)
        kept.set(`${one.clientId} ${one.topic}`, one)
      }
      for (const removal of removals) {
        const one = given[removal % Math.max(1, given.length)]
        if (!one) continue
        index.remove(one.clientId, one.topic)
        kept.delete(`${one.clientId} ${one.topic}`)
      }
      const best = new Map<string, number>()
      for (const { clientId, topic, qos } of kept.values()) {
        if (covers(topic, wanted)) best.set(clientId, Math.max(best.get(clientId) ?? 0, qos))
      }
      expect(new Map(index.match(wanted).map(({ clientId, qos }) => [clientId, qos]))).toEqual(best)
    }),
  )
})

test('a narrower subscription with another QoS leaves the wider one alone', () => {
  const index = new SubscriptionIndex()
  index.add({ clientId: 'x', topic: 'a/#', qos: 1 })
  index.add({ clientId: 'x', topic: 'a/b', qos: 0 })
  expect(index.match('a/c')).toEqual([{ clientId: 'x', topic: 'a/#', qos: 1 }])
  expect(index.match('a/b')).toEqual([{ clientId: 'x', topic: 'a/#', qos: 1 }])
})

test('wildcards do not reach topics of the server', () => {
  const index = new SubscriptionIndex()
  index.add({ clientId: 'x', topic: '#', qos: 1 })
  index.add({ clientId: 'y', topic: '+/z', qos: 1 })
  expect(index.match('$SYS/z')).toEqual([])
})

test('a clean session has as many subscriptions as it may, each counted once, and another for one it gave up (G7)', () => {
  const clean = new CleanSubscriptions(2)
  const [session, other] = [{}, {}]
  expect(['a', 'b', 'a'].map((filter) => clean.add(session, filter))).toEqual([true, true, true])
  expect(clean.add(session, 'c')).toBe(false)
  expect(clean.add(other, 'c')).toBe(true)
  clean.remove(session, ['a', 'z'])
  expect(clean.add(session, 'c')).toBe(true)
  expect(clean.add(session, 'a')).toBe(false)
})
