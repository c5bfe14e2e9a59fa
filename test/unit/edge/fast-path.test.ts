import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import type { Message } from '../../../edge/admission/admission.ts'
import type { EventMatch } from '../../../edge/admission/routes/routes.ts'
import type { Connection } from '../../../edge/mqtt/connections.ts'
import type { TakenPublish } from '../../../edge/mqtt/door/taken.ts'
import { type Audience, type EventTopic, FastPath } from '../../../edge/mqtt/fast-path.ts'
import { settled } from '../../support/fakes/clock.ts'

const match: EventMatch = {
  action: 'event',
  route: { topic: 'x', idPath: undefined, timePath: undefined, timeZone: undefined },
  type: 'com.acme.note',
}
const topic = 'devices/a1/events/com.acme.note'
const connection = { deviceId: 'a1' } as Connection

/** A socket that is full after each write until it drains. */
class FullSocket extends EventEmitter {
  readonly written: string[] = []
  destroyed = false
  endedBy: Error | undefined
  write(bytes: Buffer): boolean {
    this.written.push(bytes.toString('hex'))
    return false
  }
  destroy(error: Error): void {
    this.destroyed = true
    this.endedBy = error
    this.emit('close')
  }
}

type TakeAll = (
  connection: Connection,
  messages: readonly Message[],
  answer: (count: number) => Promise<void>,
) => Promise<void>

function taker(takeAll: TakeAll, audiences: Audience[] = []) {
  const ingest = { eventAt: (_device: string, given: string) => (given === topic ? match : undefined) }
  const socket = new FullSocket()
  const path = new FastPath({ ingest, publishing: { takeAll }, audiences })
  return { socket, taker: path.takerOf(connection, socket as unknown as Duplex) }
}

function publishes(event: EventTopic, ...qos: (0 | 1)[]): TakenPublish<EventTopic>[] {
  return qos.map((one, index) => ({
    topic: event,
    qos: one,
    packetId: one === 0 ? 0 : 0x0101 + index,
    payload: Buffer.from(`${index}`),
  }))
}

test('what came together is handed on together, and answered in one write for each time that some are durable (G1)', async () => {
  const seen: string[] = []
  const ways = taker(async (_connection, messages, answer) => {
    seen.push(...messages.map(({ payload, qos }) => `${payload.toString()} at QoS ${qos}`))
    void answer(2)
    void answer(2)
  })
  const event = ways.taker.topicOf(topic) as EventTopic
  ways.taker.take(publishes(event, 1, 1, 0, 1))
  await settled()
  expect(seen).toEqual(['0 at QoS 1', '1 at QoS 1', '2 at QoS 0', '3 at QoS 1'])
  expect(ways.socket.written).toEqual(['4002010140020102', '40020104'])
})

test('an answer that a device does not read is not over until it does, or until it is gone (G7)', async () => {
  const over: string[] = []
  const ways = taker(async (_connection, _messages, answer) => {
    await answer(1)
    over.push('drained')
    await answer(1)
    over.push('closed')
    await answer(1)
    over.push('not sent')
  })
  const event = ways.taker.topicOf(topic) as EventTopic
  ways.taker.take(publishes(event, 1, 1, 1))
  await settled()
  expect(over).toEqual([])
  ways.socket.emit('drain')
  await settled()
  expect(over).toEqual(['drained'])
  ways.socket.destroy(new Error('reset'))
  await settled()
  expect(over).toEqual(['drained', 'closed', 'not sent'])
  expect(ways.socket.written).toHaveLength(2)
  expect(ways.socket.eventNames()).toEqual([])
})

test('a payload is let go of as soon as it has been read: a part of a chunk keeps all of it (G7)', async () => {
  let waiting: readonly Message[] = []
  const ways = taker(async (_connection, messages) => {
    waiting = messages
    expect(messages[0]?.payload.toString()).toBe('0')
    await new Promise(() => {})
  })
  const taken = publishes(ways.taker.topicOf(topic) as EventTopic, 1)
  ways.taker.take(taken)
  await settled()
  expect([waiting[0]?.payload.length, taken[0]?.payload.length]).toEqual([0, 0])
})

test('a refusal ends the connection with its error', async () => {
  const ways = taker(() => Promise.reject(new Error('no room')))
  ways.taker.take(publishes(ways.taker.topicOf(topic) as EventTopic, 1))
  await settled()
  await new Promise((resolve) => setImmediate(resolve))
  expect(ways.socket.endedBy?.message).toBe('no room')
})

test('a topic is taken while nobody wants it, and it is looked up again when a subscription has changed', () => {
  let lookups = 0
  const wanted = new Set<string>()
  const audience = {
    changes: 0,
    wants(given: string) {
      lookups += 1
      return wanted.has(given)
    },
  }
  const ways = taker(async () => {}, [audience])
  expect(ways.taker.topicOf('devices/a1/state')).toBeUndefined()
  const event = ways.taker.topicOf(topic) as EventTopic
  expect([ways.taker.mayTake(event), ways.taker.mayTake(event), lookups]).toEqual([true, true, 1])
  wanted.add(topic)
  audience.changes += 1
  expect([ways.taker.mayTake(event), lookups]).toEqual([false, 2])
  wanted.clear()
  audience.changes += 1
  expect(ways.taker.mayTake(event)).toBe(true)
})
