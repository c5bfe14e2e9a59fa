import { join } from 'node:path'
import { Level } from 'level'
import { describe, expect, test } from 'vitest'
import {
  ack,
  connect,
  packet,
  pingreq,
  publish,
  subscribe,
  text,
  u16,
  unsubscribe,
} from '../../support/edge/mqtt-bytes.ts'
import { type RawConnection, rawConnection } from '../../support/edge/raw-connection.ts'
import { useRawDevice } from '../../support/edge/raw-device.ts'
import {
  drop,
  messages,
  published,
  queued,
  readMessage,
  roundTrip,
  subscribed,
} from '../../support/edge/raw-messages.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

/** Statements of MQTT 3.1.1, by packets made by hand over mTLS. */

const { pki, start } = useTestBrokers()
const { raw, kept } = useRawDevice(pki)

describe('a packet that is none ends its connection and no other, is told of its device and counted', () => {
  const topic = 'devices/a1/x'
  test.for<[string, string, Buffer]>([
    ['ill-formed UTF-8 in a topic [MQTT-1.5.3-1]', 'utf8', publish(Buffer.from([0x61, 0xff]), '', 1)],
    ['U+0000 in a filter [MQTT-1.5.3-2]', 'nul', subscribe(1, ['devices/a1/\0', 0])],
    ['a packet ID of 0 [MQTT-2.3.1-1]', 'packet-id', subscribe(0, [topic, 0])],
    ['a wildcard that is a part of a level [MQTT-4.7.1-3]', 'filter', subscribe(1, ['devices/a1/a/+b', 0])],
    ['UNSUBSCRIBE without a filter [MQTT-3.10.3-2]', 'no-filter', packet(0xa2, u16(1))],
    ['a PUBACK of three bytes [MQTT-4.8.0-1]', 'trailing', packet(0x40, [0, 1, 0])],
    ['a PINGREQ with a body [MQTT-4.8.0-1]', 'trailing', packet(0xc0, 'ab')],
    ['a topic that reaches beyond its packet [MQTT-4.8.0-1]', 'truncated', packet(0x30, u16(200), 'abc')],
    ['a packet of another type [2.2.1]', 'type', packet(0x20, [0, 0])],
  ])('%s', async ([, reason, bytes]) => {
    const broker = await start()
    const other = await rawConnection({ port: broker.port, tls: await pki.device('a2') })
    const connection = await raw(broker, 'bad')
    connection.write(Buffer.concat([publish('devices/a1/events/com.acme.note', '1'), bytes, pingreq]))
    await connection.over
    await broker.when(
      ({ ended, logs }) => ended.length === 1 && logs.some(({ reason: told }) => told === reason),
    )
    expect(broker.seen.ended).toEqual([reason])
    const line = broker.seen.logs.find(({ reason: told }) => told === reason)
    expect(line).toMatchObject({ level: 40, device: 'a1', code: 'PACKET_MALFORMED' })
    // What came whole before it is an event.
    await broker.when(({ published }) => published.length > 0)
    expect(connection.got(0xd0)).toBe(0)
    await roundTrip(other)
    other.end()
  })

  test.for<[string, string, Buffer]>([
    ['a will of QoS 3 [MQTT-3.1.2-14]', 'will-qos', connect({ flags: 0x1e, rest: [text(topic), text('w')] })],
    [
      'a password without a user name [MQTT-3.1.2-22]',
      'password',
      connect({ flags: 0x42, rest: [text('p')] }),
    ],
    ['bytes behind its last field', 'trailing', connect({ rest: [Buffer.from('zzzz')] })],
    ['ill-formed UTF-8 in its client ID [MQTT-1.5.3-1]', 'utf8', connect({ clientId: Buffer.from([0xc0]) })],
    ['U+0000 in its will topic [MQTT-1.5.3-2]', 'nul', connect({ flags: 6, rest: [text('\0'), text('')] })],
  ])('a CONNECT with %s', async ([, reason, opening]) => {
    const broker = await start()
    const connection = await raw(broker, '', { opening })
    await connection.over
    await broker.when(({ ended }) => ended.length === 1)
    expect(broker.seen.ended).toEqual([reason])
    expect(connection.got(0x20)).toBe(0)
  })

  test('one of many alike is logged, and its text is short, whatever the device sends', async () => {
    const broker = await start({ options: { packetBytesMax: 1 << 20 } })
    for (let index = 0; index < 20; index += 1) {
      const connection = await raw(broker, `c${index}`)
      connection.write(subscribe(1, [`devices/a2/${'x'.repeat(60_000)}${index}`, 0]))
      await connection.until(0x90)
      connection.write(packet(0xc0, 'ab'))
      await connection.over
    }
    await broker.when(({ ended }) => ended.length === 20)
    const told = broker.seen.logs.filter(({ level }) => Number(level) >= 40)
    expect(told.map(({ msg }) => msg)).toEqual(['subscription refused', 'connection closed'])
    expect(JSON.stringify(told).length).toBeLessThan(1500)
  })

  test('a device that says nothing is told of, with its reason', async () => {
    const broker = await start()
    const connection = await raw(broker, '', { opening: connect({ keepAliveSeconds: 1 }) })
    await connection.over
    await broker.when(({ ended }) => ended.length === 1)
    expect(broker.seen.ended).toEqual(['keep-alive'])
    expect(broker.seen.logs.find(({ reason }) => reason === 'keep-alive')).toMatchObject({
      level: 40,
      device: 'a1',
    })
  })
})

test.for([0, 2, 5, 6, 127])(
  'the protocol level %i is answered with CONNACK 1, and closed [MQTT-3.1.2-2]',
  async (level) => {
    const broker = await start()
    const connection = await raw(broker, '', { opening: connect({ level }) })
    await connection.over
    expect(connection.all(0x20)).toEqual([Buffer.from([0x20, 2, 0, 1])])
    await broker.when(({ refused }) => refused.length === 1)
    expect(broker.seen.refused).toEqual(['protocol-version'])
  },
)

describe('sessions', () => {
  test('one without subscriptions is present, also after a restart, until a clean one ends it [MQTT-3.2.2-2]', async () => {
    const folder = join(pki.folder, 'bare')
    let broker = await start({ folder })
    const present = async (): Promise<number> => {
      const opening = connect({ clientId: 'bare', flags: 0 })
      const connection = await raw(broker, '', { opening })
      const connack = await connection.until(0x20)
      await drop(broker, connection)
      return connack[2] as number
    }
    expect(await present()).toBe(0)
    expect(await present()).toBe(1)
    await broker.close()
    broker = await start({ folder })
    expect(await present()).toBe(1)
    await drop(broker, await raw(broker, 'bare'))
    expect(await present()).toBe(0)
  })

  test('one of which nothing is left but a QoS 2 message to release is present [MQTT-3.2.2-2]', async () => {
    const folder = join(pki.folder, 'half')
    let broker = await start({ folder })
    const connection = await kept(broker, 'half')
    connection.write(publish('devices/a1/x', 'x', 2))
    await connection.until(0x50)
    await drop(broker, connection)
    await broker.close()
    // A former version wrote no record of a session.
    const records = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
    await records.del('session:a1%2Fhalf:')
    await records.close()
    broker = await start({ folder })
    const opening = connect({ clientId: 'half', flags: 0 })
    expect((await (await raw(broker, '', { opening })).until(0x20))[2]).toBe(1)
  })

  test.for([1, 2] as const)(
    'what is sent again at QoS %i has DUP, and its packet ID [MQTT-3.3.1-1]',
    async (qos) => {
      const broker = await start()
      let reader = await kept(broker, 'reader')
      await subscribed(reader, 'devices/a1/cmd', qos)
      const writer = await raw(broker, 'writer')
      await published(writer, 'devices/a1/cmd', 'x', qos)
      writer.end()
      const [first] = await messages(reader, 1)
      await drop(broker, reader)
      reader = await kept(broker, 'reader')
      const [again] = await messages(reader, 1)
      expect(first).toMatchObject({ qos, dup: false })
      expect(again).toEqual({ ...first, dup: true })
    },
  )

  test('a retained message that a kept session did not acknowledge is sent again [MQTT-4.4.0-1]', async () => {
    const broker = await start()
    const writer = await raw(broker, 'writer')
    await published(writer, 'devices/a1/r', 'kept', 1, true)
    writer.end()
    let reader = await kept(broker, 'reader')
    await subscribed(reader, 'devices/a1/r', 1)
    const first = readMessage(await reader.until(0x33))
    await drop(broker, reader)
    reader = await kept(broker, 'reader')
    const again = readMessage(await reader.until(0x3b))
    expect(again).toEqual({ ...first, dup: true })
    reader.write(ack(0x40, again.packetId as number))
    await roundTrip(reader)
    await drop(broker, reader)
    expect(await queued(await kept(broker, 'reader'))).toEqual([])
  })
})

const qosOf = async (connection: RawConnection, count = 1): Promise<number[]> =>
  (await messages(connection, count)).map((message) => message.qos)

describe('a message comes at the lower of the QoS it has and the QoS that was granted [MQTT-3.8.4-6]', () => {
  const levels = [0, 1, 2] as const
  const each = levels.flatMap((granted) => levels.map((qos) => [granted, qos] as const))

  test.for(['devices/a1/q/a', 'devices/a1/q/+', 'devices/a1/#'])('to %s', async (filter) => {
    const broker = await start()
    const writer = await raw(broker, 'writer')
    for (const [granted, qos] of each) {
      const topic = 'devices/a1/q/a'
      const live = await raw(broker, 'live')
      await subscribed(live, filter, granted)
      const away = await kept(broker, 'away')
      await subscribed(away, filter, granted)
      away.end()
      await broker.when(({ connections }) => connections === 2)
      await published(writer, topic, 'x', qos, true)
      const late = await raw(broker, 'late')
      await subscribed(late, filter, granted)
      const back = await kept(broker, 'away')
      const expected = Math.min(granted, qos)
      expect([granted, qos, await qosOf(live)]).toEqual([granted, qos, [expected]])
      expect([granted, qos, await qosOf(late)]).toEqual([granted, qos, [expected]])
      expect([granted, qos, await qosOf(back, Math.min(1, expected))]).toEqual([
        granted,
        qos,
        expected > 0 ? [expected] : [],
      ])
      await published(writer, topic, '', 1, true)
      for (const connection of [live, late, back]) connection.end()
      // A clean one ends what was kept.
      ;(await raw(broker, 'away')).end()
      await broker.when(({ connections }) => connections === 1)
    }
  })

  test('of several subscriptions that match the highest counts, in whatever order they were made [MQTT-3.3.5-1]', async () => {
    const broker = await start()
    const writer = await raw(broker, 'writer')
    const filters = ['devices/a1/o', 'devices/a1/+', 'devices/a1/#']
    for (const [one, other] of filters.flatMap((a) => filters.map((b) => [a, b] as const))) {
      if (one === other) continue
      for (const [first, second] of each) {
        const reader = await raw(broker, 'reader')
        reader.write(subscribe(1, [one, first], [other, second]))
        await reader.until(0x90)
        await published(writer, 'devices/a1/o', 'x', 2)
        const got = await messages(reader, 1)
        expect([one, first, other, second, got.map(({ qos }) => qos)]).toEqual([
          one,
          first,
          other,
          second,
          [Math.max(first, second)],
        ])
        reader.end()
      }
    }
  })
})

test('a filter that comes twice in one SUBSCRIBE has two codes, and what is retained comes [MQTT-3.8.4-5]', async () => {
  const broker = await start()
  const connection = await raw(broker, 'twice')
  connection.write(subscribe(5, ['devices/a1/a', 1], ['devices/a1/b', 0], ['devices/a1/a', 2]))
  expect(await connection.until(0x90)).toEqual(Buffer.from([0x90, 5, 0, 5, 1, 0, 2]))
  await published(connection, 'devices/a1/a', 'x', 2)
  expect(await messages(connection, 1)).toMatchObject([{ qos: 2 }])
})

test('a topic of as many levels as its length allows is published and subscribed to [MQTT-4.7.3-3]', async () => {
  const folder = join(pki.folder, 'deep')
  const options = { packetBytesMax: 1 << 20 }
  let broker = await start({ folder, options })
  const deep = `devices/a1${'/a'.repeat(30_000)}`
  let reader = await kept(broker, 'reader')
  await subscribed(reader, deep, 1)
  await subscribed(reader, `${deep}/#`, 1)
  await broker.close()
  broker = await start({ folder, options })
  reader = await kept(broker, 'reader')
  const writer = await raw(broker, 'writer')
  await published(writer, deep, 'deep', 1, true)
  expect(await messages(reader, 1)).toMatchObject([{ payload: 'deep' }])
  writer.write(unsubscribe(3, deep))
  await writer.until(0xb0)
})
