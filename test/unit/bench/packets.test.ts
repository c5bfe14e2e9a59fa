import { expect, test } from 'vitest'
import {
  connectPacket,
  nextNumber,
  numberOf,
  publishPacket,
  topicOf,
} from '../../../bench/subjects/packets.ts'

test('a PUBLISH asks for a PUBACK, is as long as it says, and holds an event of 200 bytes that nobody has sent before', () => {
  const topic = topicOf('bench-1')
  const number = nextNumber()
  const packets = [publishPacket(topic, 258), publishPacket(topic, 259)] as const
  const [packet] = packets
  expect(packet[0]).toBe(0x32)
  const remaining = ((packet[1] ?? 0) & 0x7f) + (packet[2] ?? 0) * 128
  expect(packet.length).toBe(3 + remaining)
  const payloadAt = 5 + topic.length + 2
  expect(packet.subarray(5, 5 + topic.length)).toEqual(topic)
  expect([...packet.subarray(payloadAt - 2, payloadAt)]).toEqual([1, 2])
  const events = packets.map(
    (one) => JSON.parse(one.subarray(payloadAt).toString()) as { id: string; type: string },
  )
  expect(events.map(({ id }) => numberOf(id))).toEqual([number, number + 1])
  expect(events[0]?.type).toBe('com.acme.climate')
  expect(packet.length - payloadAt).toBe(200)
  expect(events[0]?.id.slice(0, 24)).not.toBe(events[1]?.id.slice(0, 24))
})

test('a CONNECT is as long as it says', () => {
  const packet = connectPacket('bench-1')
  expect(packet[0]).toBe(0x10)
  expect(packet.length).toBe(2 + (packet[1] ?? 0))
  expect(packet.subarray(-7).toString()).toBe('bench-1')
})
