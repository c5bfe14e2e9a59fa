import { expect, test } from 'vitest'
import { RetainedQueue } from '../../../edge/mqtt/subscribers/retained.ts'
import type { RetainedMessage } from '../../../edge/sessions/retained-level.ts'
import { PacketIds } from '../../../edge/sessions/packet-ids.ts'

interface Desk {
  queue: RetainedQueue
  /** In order: filters that were read, topics that were sent with their QoS. */
  done: string[]
  /** The socket takes the message that was sent last. */
  drain: () => Promise<void>
  state: { isOver: boolean }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Two messages on each filter, numbered from 1. */
function desk(): Desk {
  const done: string[] = []
  const state = { isOver: false }
  let drained: (() => void) | undefined
  const queue = new RetainedQueue({
    async *read(filter) {
      done.push(`reads ${filter}`)
      for (const brokerCounter of [1, 2])
        yield { topic: `${filter}${brokerCounter}`, qos: 1, brokerCounter } as RetainedMessage
    },
    numberOf: ({ brokerCounter }) => brokerCounter,
    send({ topic }, qos) {
      done.push(`${topic} at ${qos}`)
      return new Promise((resolve) => (drained = resolve))
    },
    begun: Promise.resolve(),
    isOver: () => state.isOver,
  })
  return {
    queue,
    done,
    state,
    drain: async () => {
      drained?.()
      await turn()
    },
  }
}

test('however often a subscriber asks, one message is on its way, and the next is read when it was taken (G7)', async () => {
  const { queue, done, drain } = desk()
  for (let index = 0; index < 1000; index += 1) queue.ask('a', 0)
  queue.ask('b', 2)
  await turn()
  expect(done).toEqual(['reads a', 'a1 at 0'])
  for (let index = 0; index < 4; index += 1) await drain()
  expect(done).toEqual(['reads a', 'a1 at 0', 'a2 at 0', 'reads b', 'b1 at 1', 'b2 at 1'])
})

test('a filter that was given up before its turn is not read, and nothing more once the connection is over', async () => {
  const { queue, done, drain, state } = desk()
  for (const filter of ['a', 'b', 'c']) queue.ask(filter, 1)
  await turn()
  queue.forget('b')
  await drain()
  await drain()
  state.isOver = true
  await drain()
  expect(done).toEqual(['reads a', 'a1 at 1', 'a2 at 1', 'reads c', 'c1 at 1'])
})

test('a message that is published while its retained copy is on the way comes once', async () => {
  const { queue, done, drain } = desk()
  queue.ask('a', 1)
  await turn()
  expect(queue.notePublished('a2', 2)).toBe(true)
  expect(queue.notePublished('a1', 1)).toBe(false)
  await drain()
  expect(done).toEqual(['reads a', 'a1 at 1'])
})

test('what was retained on a topic is not sent behind what was published to it since', async () => {
  const { queue, done, drain } = desk()
  queue.ask('a', 1)
  queue.ask('b', 1)
  await turn()
  queue.notePublished('a2', 3)
  queue.notePublished('b1', 4)
  for (let index = 0; index < 4; index += 1) await drain()
  expect(done).toEqual(['reads a', 'a1 at 1', 'reads b', 'b2 at 1'])
})

test('what was to be sent as it was published, and is dropped, comes as a retained message', async () => {
  const { queue, done, drain } = desk()
  queue.ask('a', 1)
  queue.ask('b', 0)
  await turn()
  for (const topic of ['a2', 'b1', 'b2']) queue.notePublished(topic, 3)
  // Before its turn has come, and after.
  queue.noteUnsent('b1')
  await drain()
  queue.noteUnsent('a2')
  for (let index = 0; index < 4; index += 1) await drain()
  expect(done).toEqual(['reads a', 'a1 at 1', 'reads b', 'b1 at 0', 'reads a2', 'a21 at 1', 'a22 at 1'])
})

test('who asks again is sent again what was published in between, of that filter and of no other [MQTT-3.8.4-3]', async () => {
  const { queue, done, drain } = desk()
  for (const filter of ['a', 'b', 'c']) queue.ask(filter, 1)
  await turn()
  for (const topic of ['a2', 'b2', 'c2']) queue.notePublished(topic, 3)
  queue.ask('a', 1)
  queue.ask('c', 1)
  for (let index = 0; index < 8; index += 1) await drain()
  expect(done).toEqual([
    'reads a',
    'a1 at 1',
    'reads b',
    'b1 at 1',
    'reads c',
    'c1 at 1',
    'c2 at 1',
    'reads a',
    'a1 at 1',
    'a2 at 1',
  ])
})

test('no packet ID is given out while it is in use, by whatever connection of the session [MQTT-2.3.1-2]', () => {
  const ids = new PacketIds(() => 0.9999)
  const [one, other] = [{}, {}]
  ids.take(one, [65_530, 65_533])
  const given = Array.from({ length: 6 }, () => ids.next(one))
  expect(new Set(given).size).toBe(6)
  expect(given).not.toContain(65_530)
  expect(given).not.toContain(65_533)
  for (let index = 0; index < 65_535 - 8; index += 1) ids.next(one)
  expect(ids.next(one)).toBeUndefined()
  expect(ids.next(other)).toBeDefined()
  ids.free(one, 65_530)
  expect(ids.next(one)).toBe(65_530)
})
