import { expect, test } from 'vitest'
import { ack, connect, pingreq, publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import type { RawConnection } from '../../support/edge/raw-connection.ts'
import { roomy, useRawDevice } from '../../support/edge/raw-device.ts'
import { type TestBroker, useTestBrokers } from '../../support/edge/test-broker.ts'

/** What one device sends in one segment: whatever each costs, the next does not overtake it. */

const { pki, start } = useTestBrokers()
const { raw } = useRawDevice(pki)

/** Of another broker, which is told what is retained (level 0x84), in a session that is kept. */
async function bridge(broker: TestBroker, clientId: string): Promise<RawConnection> {
  const connection = await raw(broker, clientId, { opening: connect({ level: 0x84, flags: 0, clientId }) })
  await connection.until(0x20)
  return connection
}

/** Payloads of messages of QoS 1, with RETAIN or without, in the order in which they come; each is acknowledged. */
async function payloads(connection: RawConnection, count: number): Promise<string[]> {
  const got: string[] = []
  while (got.length < count) {
    const bytes = await connection.untilAny([0x32, 0x33])
    const topicEnd = 4 + bytes.readUInt16BE(2)
    got.push(bytes.toString('utf8', topicEnd + 2))
    connection.write(ack(0x40, bytes.readUInt16BE(topicEnd)))
  }
  return got
}

/** Ten times one with RETAIN and one without, or the other way round. */
const mixed = (retainFirst: boolean): { bytes: Buffer; sent: string[] } => {
  const sent = Array.from({ length: 20 }, (_, index) => `${index}`)
  const packets = sent.map((payload, index) =>
    publish('devices/a1/t', payload, 1, index + 1, Number(retainFirst === (index % 2 === 0))),
  )
  return { bytes: Buffer.concat(packets), sent }
}

test.for([true, false])(
  'what is retained and what is not comes in the order in which it was sent, and so is it answered [MQTT-4.6.0-2, MQTT-4.6.0-6] (retained first: %s)',
  async (retainFirst) => {
    const broker = await start({ options: { sessionLimits: roomy, connectionsPerDeviceMax: 8 } })
    const readers = [
      await raw(broker, 'live'),
      await raw(broker, 'kept', { clean: false }),
      await bridge(broker, 'bridge'),
    ]
    const away = await raw(broker, 'away', { clean: false })
    for (const reader of [...readers, away]) {
      reader.write(subscribe(1, ['devices/a1/t', 1]))
      await reader.until(0x90)
    }
    away.end()
    await away.over
    const writer = await raw(broker, 'writer')
    const { bytes, sent } = mixed(retainFirst)
    writer.write(bytes)
    const answered: number[] = []
    while (answered.length < sent.length) answered.push((await writer.until(0x40)).readUInt16BE(2))
    expect(answered).toEqual(sent.map((_, index) => index + 1))
    for (const reader of [...readers, await raw(broker, 'away', { clean: false })])
      expect(await payloads(reader, sent.length)).toEqual(sent)
  },
)

test('a retained event that is taken back in the same segment stays taken back [MQTT-3.3.1-10]', async () => {
  const topic = 'devices/a1/ev/s'
  const broker = await start({ routes: [{ topic: 'devices/{device}/ev/{subject}', type: 'com.acme.x' }] })
  broker.outbox.shut()
  const writer = await raw(broker, 'writer')
  writer.write(Buffer.concat([publish(topic, '"full"', 1, 1, 1), publish(topic, '', 1, 2, 1)]))
  await broker.outbox.untilWaiting(1)
  broker.outbox.open()
  expect((await writer.until(0x40)).readUInt16BE(2)).toBe(1)
  expect((await writer.until(0x40)).readUInt16BE(2)).toBe(2)
  writer.write(Buffer.concat([publish(topic, '"last"', 1, 3), subscribe(4, ['devices/a1/ev/#', 1])]))
  await writer.until(0x90)
  writer.write(publish(topic, '"end"', 1, 5))
  expect((await payloads(writer, 1)).filter((payload) => payload === '"full"')).toEqual([])
})

test('a bridge with a kept session is not sent what it has published itself, also when it comes back', async () => {
  const broker = await start({ options: { sessionLimits: roomy } })
  const first = await bridge(broker, 'bridge')
  first.write(subscribe(1, ['devices/a1/#', 1]))
  await first.until(0x90)
  for (const id of [1, 2, 3]) {
    first.write(publish('devices/a1/own', `${id}`, 1, id))
    await first.until(0x40)
    first.write(pingreq)
    await first.until(0xd0)
  }
  expect(first.all(0x32, 0x33)).toEqual([])
  first.end()
  await first.over
  await broker.when(({ connections }) => connections === 0)
  const other = await raw(broker, 'other')
  other.write(publish('devices/a1/own', 'of another', 1, 1))
  await other.until(0x40)
  expect(await payloads(await bridge(broker, 'bridge'), 1)).toEqual(['of another'])
})
