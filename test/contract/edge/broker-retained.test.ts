import { EventEmitter, once } from 'node:events'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { RetainedLevel } from '../../../edge/sessions/retained-level.ts'
import { Sessions } from '../../../edge/sessions/sessions-level.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { holdWrites } from '../../support/edge/held-writes.ts'
import { ack, connect, publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import type { RawConnection } from '../../support/edge/raw-connection.ts'
import { roomy, useRawDevice } from '../../support/edge/raw-device.ts'
import {
  drop,
  type Message,
  messages,
  published,
  queued,
  roundTrip,
  subscribed,
} from '../../support/edge/raw-messages.ts'
import { type TestBroker, useTestBrokers } from '../../support/edge/test-broker.ts'

/** Who is sent what is retained, when, and with which flag. */

const { pki, start } = useTestBrokers()
const { raw, kept } = useRawDevice(pki)
// Before the brokers end.
afterEach(() => vi.restoreAllMocks())

/** Of another broker: the highest bit of its level says so. */
async function bridge(broker: TestBroker, clientId: string, level: number): Promise<RawConnection> {
  const name = level === 0x83 ? 'MQIsdp' : 'MQTT'
  const connection = await raw(broker, clientId, { opening: connect({ name, level, flags: 0, clientId }) })
  await connection.until(0x20)
  return connection
}

test('what waits for a session that is away comes without RETAIN, but to a bridge [MQTT-3.3.1-9]', async () => {
  const broker = await start()
  const topic = 'devices/a1/w'
  const kinds: [
    name: string,
    again: (broker: TestBroker, name: string) => Promise<RawConnection>,
    boolean,
  ][] = [
    ['reader', kept, false],
    ['bridge', (at, name) => bridge(at, name, 0x84), true],
    ['older bridge', (at, name) => bridge(at, name, 0x83), true],
  ]
  for (const [name, again] of kinds) {
    const connection = await again(broker, name)
    await subscribed(connection, topic, 1)
    await drop(broker, connection)
  }
  const writer = await raw(broker, 'writer')
  await published(writer, topic, 'retained', 1, true)
  await published(writer, topic, 'not', 1)
  for (const [name, again, isTold] of kinds) {
    let connection = await again(broker, name)
    const sent = [
      { payload: 'retained', retain: isTold, dup: false },
      { payload: 'not', retain: false, dup: false },
    ]
    expect(await messages(connection, 2), name).toMatchObject(sent)
    connection.end()
    await broker.when(({ connections }) => connections === 1)
    // As before, when it is sent again.
    connection = await again(broker, name)
    expect(await messages(connection, 2), name).toMatchObject(sent.map((one) => ({ ...one, dup: true })))
    connection.end()
    await broker.when(({ connections }) => connections === 1)
  }
})

test('a retained message that a kept session was not sent any more comes with RETAIN when it is back [MQTT-3.3.1-8]', async () => {
  const broker = await start()
  const topic = 'devices/a1/v'
  const writer = await raw(broker, 'writer')
  await published(writer, topic, 'retained', 1, true)
  writer.end()
  await writer.over
  let reader = await kept(broker, 'reader')
  const { begun, open } = holdWrites('outgoing:')
  await subscribed(reader, topic, 1)
  await begun
  await drop(broker, reader)
  open()
  reader = await kept(broker, 'reader')
  expect(await messages(reader, 1)).toMatchObject([{ payload: 'retained', retain: true, dup: false }])
})

test.for([true, false])(
  'who reads slowly has last what was published last to each topic (clean session: %s)',
  async (clean) => {
    const broker = await start({ options: { packetBytesMax: 1 << 24, sessionLimits: roomy } })
    const writer = await raw(broker, 'writer')
    const [first, last] = ['devices/a1/s/a', 'devices/a1/s/b']
    // More than the socket takes at once.
    await published(writer, first, 'x'.repeat(8_000_000), 1, true)
    await published(writer, last, 'old', 1, true)
    const reader = await raw(broker, 'reader', { clean })
    await subscribed(reader, 'devices/a1/s/+', 1)
    reader.pause()
    await published(writer, last, 'new', 0, true)
    await published(writer, last, 'newest', 1, true)
    await published(writer, 'devices/a1/s/c', 'end', 1)
    reader.resume()
    const came = await messages(reader, 4)
    const got = came.map(({ payload, retain }) => `${payload.slice(0, 6)} ${retain}`)
    expect(got.toSorted()).toEqual(['end false', 'new false', 'newest false', 'xxxxxx true'])
  },
)

test.for([0, 1, 2] as const)(
  'who publishes at QoS %i to be retained and subscribes then has it once, also in one segment',
  async (qos) => {
    const broker = await start()
    for (let index = 0; index < 20; index += 1) {
      const connection = await raw(broker, 'both')
      const topic = `devices/a1/r${index % 3}`
      if (qos === 0) connection.write(Buffer.concat([publish(topic, 'x', 0, 0, 1), subscribe(5, [topic, 1])]))
      else {
        await published(connection, topic, 'x', qos, true)
        connection.write(subscribe(5, [topic, 1]))
      }
      await connection.until(0x90)
      await roundTrip(connection)
      // The message and the PUBLISH that ends it for the next round have gone the same way.
      await published(connection, 'devices/a1/x', 'end', 1)
      expect(await messages(connection, 1)).toHaveLength(1)
      await published(connection, topic, '', 1, true)
      await drop(broker, connection)
    }
  },
)

/** What a reader was sent; it acknowledges that, and goes. */
async function acknowledged(reader: RawConnection): Promise<Message[]> {
  const came = await messages(reader, 1)
  for (const { packetId = 0 } of came) reader.write(ack(0x40, packetId))
  await roundTrip(reader)
  reader.end()
  await reader.over
  return came
}

describe('a kept session that subscribes while a message is published to be retained has it once, also when it comes back', () => {
  const topic = 'devices/a1/z'

  test('and is sent it as retained before it is queued and distributed', async () => {
    const broker = await start({ options: { sessionLimits: roomy } })
    const reader = await kept(broker, 'reader')
    const writer = await raw(broker, 'writer')
    const gate = new EventEmitter()
    const [stored, opened] = [once(gate, 'stored'), once(gate, 'opened')]
    const prototype: { subscriptionsByTopic: (...given: unknown[]) => unknown } = Sessions.prototype as never
    const { subscriptionsByTopic } = prototype
    vi.spyOn(prototype, 'subscriptionsByTopic').mockImplementation(async function (
      this: unknown,
      ...given: unknown[]
    ) {
      gate.emit('stored')
      await opened
      return await Reflect.apply(subscriptionsByTopic, this, given)
    })
    const distributed = published(writer, topic, 'once', 2, true)
    await stored
    await subscribed(reader, topic, 1)
    expect(await messages(reader, 1)).toMatchObject([{ payload: 'once', retain: true }])
    gate.emit('opened')
    await distributed
    expect(await acknowledged(reader)).toMatchObject([{ payload: 'once' }])
    expect(await queued(await kept(broker, 'reader'))).toEqual([])
  })

  test('and was distributed before the subscription was in force', async () => {
    const broker = await start({ options: { sessionLimits: roomy } })
    const reader = await kept(broker, 'reader')
    const writer = await raw(broker, 'writer')
    const subscription = holdWrites('subscriptions:')
    reader.write(subscribe(1, [topic, 1]))
    await subscription.begun
    await published(writer, topic, 'once', 2, true)
    subscription.open()
    await reader.until(0x90)
    expect(await acknowledged(reader)).toMatchObject([{ payload: 'once' }])
    expect(await queued(await kept(broker, 'reader'))).toEqual([])
  })
})

test('a subscriber that does not read and asks for a retained message hundreds of times costs one of it (G7)', async () => {
  const broker = await start({ options: { packetBytesMax: 1 << 20 } })
  const writer = await raw(broker, 'writer')
  writer.write(publish('devices/a1/big', Buffer.alloc(500_000, 'z'), 1, 1, 1))
  await writer.until(0x40)
  const slow = await raw(broker, 'slow', { clean: true })
  slow.pause()
  const before = process.memoryUsage().arrayBuffers
  slow.write(
    Buffer.concat(Array.from({ length: 300 }, (_, index) => subscribe(index + 1, ['devices/a1/big', 0]))),
  )
  let highest = 0
  for (let index = 0; index < 50; index += 1) {
    await roundTrip(writer)
    highest = Math.max(highest, process.memoryUsage().arrayBuffers - before)
  }
  expect(highest).toBeLessThan(20_000_000)
  slow.end()
})

test('a message that a subscriber who does not read is not sent as it is published, comes to it as a retained one', async () => {
  const patienceMs = 5000
  const after: Clock['after'] = (delayMs, task) =>
    systemClock.after(delayMs === patienceMs ? 0 : delayMs, task)
  const options = { sessionLimits: roomy, packetBytesMax: 1 << 20, clock: { ...systemClock, after } }
  const broker = await start({ options })
  const writer = await raw(broker, 'writer')
  for (const name of [1, 2]) await published(writer, `devices/a1/r/${name}`, `old ${name}`, 1, true)
  const slow = await raw(broker, 'slow')
  await subscribed(slow, 'devices/a1/cmd', 0)
  slow.pause()
  // More than the buffers of two kernels take.
  while (!broker.seen.notKept.includes('unsent'))
    await published(writer, 'devices/a1/cmd', 'x'.repeat(200_000), 0)
  const read = vi.spyOn(RetainedLevel.prototype, 'read')
  slow.write(subscribe(2, ['devices/a1/r/+', 0]))
  await vi.waitFor(() => expect(read).toHaveBeenCalled(), 5000)
  await published(writer, 'devices/a1/r/2', 'new 2', 0, true)
  slow.resume()
  await slow.until(0x90)
  let came: Message[] = []
  while (came.filter(({ retain }) => retain).length < 2) came = await messages(slow, came.length + 1)
  expect(came.filter(({ retain }) => retain).map(({ payload }) => payload)).toEqual(['old 1', 'new 2'])
})
