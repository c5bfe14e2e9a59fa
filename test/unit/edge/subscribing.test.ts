import { expect, test } from 'vitest'
import { type Subscriber, Subscribing } from '../../../edge/mqtt/subscribers/subscribing.ts'

interface Desk {
  subscriber: Subscriber
  subscribing: Subscribing
  /** In order: what was done. */
  done: string[]
}

function desk(clean: boolean): Desk {
  const done: string[] = []
  const filters = new Map<string, number>()
  const subscriber: Subscriber = {
    id: 'a1/x',
    clean,
    filters,
    hasRoom: (filter) => filter.length < 100,
    subscribe(filter, qos) {
      filters.set(filter, qos)
      done.push(`wants ${filter} ${qos}`)
    },
    unsubscribe(filter) {
      filters.delete(filter)
      done.push(`leaves ${filter}`)
    },
    askRetained: (filter, qos) => void done.push(`asks ${filter} ${qos}`),
    write: async (packet) => void done.push(packet.toString('hex')),
  }
  const subscribing = new Subscribing({
    rules: { maySubscribe: (deviceId, filter) => deviceId === 'a1' && !filter.startsWith('other') },
    deviceOf: (clientId) => clientId.split('/')[0] ?? '',
    kept: {
      async subscribe(clientId, wanted) {
        done.push(`stores ${clientId} ${wanted.map(({ topic }) => topic).join()}`)
        return wanted.map((_, index) => index < 2)
      },
      unsubscribe: async (clientId, wanted) => void done.push(`drops ${clientId} ${wanted.join()}`),
    },
    subscriptionsMax: 2,
    onForbidden: (deviceId, filter) => done.push(`forbidden ${deviceId} ${filter}`),
    onTooMany: (deviceId) => done.push(`too many ${deviceId}`),
  })
  return { subscriber, subscribing, done }
}

const filters = (...given: [string, 0 | 1 | 2][]) => given.map(([filter, qos]) => ({ filter, qos }))

test('each filter has a code, in order, also one that comes twice: the last counts [MQTT-3.8.4-5, MQTT-3.9.3-1]', async () => {
  const { subscriber, subscribing, done } = desk(true)
  const wanted = filters(['a', 1], ['other', 0], ['b', 0], ['a', 2])
  await subscribing.answer(subscriber, { kind: 'subscribe', packetId: 258, filters: wanted })
  expect(done).toEqual([
    'forbidden a1 other',
    'wants a 1',
    'wants b 0',
    'wants a 2',
    '9006010201800002',
    'asks a 1',
    'asks b 0',
    'asks a 2',
  ])
})

test('what is over the bound is refused by its code, the rest is made (G7)', async () => {
  const { subscriber, subscribing, done } = desk(true)
  const wanted = filters(['a', 0], ['b', 0], ['c', 0], ['a', 1])
  await subscribing.answer(subscriber, { kind: 'subscribe', packetId: 1, filters: wanted })
  expect(done).toContain('9006000100008001')
  expect(done.filter((what) => what === 'too many a1')).toHaveLength(1)
})

test('a filter for whose length there is no room is refused by its code, the rest is made (G7)', async () => {
  const { subscriber, subscribing, done } = desk(true)
  const wanted = filters(['a'.repeat(100), 0], ['b', 0])
  await subscribing.answer(subscriber, { kind: 'subscribe', packetId: 1, filters: wanted })
  expect(done).toEqual(['wants b 0', 'too many a1', '900400018000', 'asks b 0'])
})

test('a kept session’s subscriptions are stored before they are acknowledged', async () => {
  const { subscriber, subscribing, done } = desk(false)
  const wanted = filters(['a', 1], ['b', 1], ['c', 1])
  await subscribing.answer(subscriber, { kind: 'subscribe', packetId: 1, filters: wanted })
  expect(done).toEqual([
    'stores a1/x a,b,c',
    'wants a 1',
    'wants b 1',
    'too many a1',
    '90050001010180',
    'asks a 1',
    'asks b 1',
  ])
  done.length = 0
  await subscribing.answer(subscriber, { kind: 'unsubscribe', packetId: 2, filters: filters(['a', 0]) })
  expect(done).toEqual(['leaves a', 'drops a1/x a', 'b0020002'])
})

test('a SUBACK of hundreds of codes has a length of two bytes', async () => {
  const { subscriber, subscribing, done } = desk(true)
  const wanted = Array.from({ length: 200 }, () => ({ filter: 'a', qos: 0 as const }))
  await subscribing.answer(subscriber, { kind: 'subscribe', packetId: 1, filters: wanted })
  expect(done.find((what) => what.startsWith('90'))).toBe(`90ca010001${'00'.repeat(200)}`)
})

test.for(['subscribe', 'unsubscribe'] as const)(
  'the answer to %s is given when its socket has taken it: nobody has two of them in memory (G7)',
  async (kind) => {
    const { subscriber, subscribing, done } = desk(true)
    const taking: (() => void)[] = []
    const write = (): Promise<void> => new Promise((resolve) => taking.push(resolve))
    const request = { kind, packetId: 1, filters: filters(['a', 0]) }
    const answered = subscribing.answer({ ...subscriber, write }, request).then(() => done.push('answered'))
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    expect(done).not.toContain('answered')
    for (const take of taking) take()
    await answered
  },
)
