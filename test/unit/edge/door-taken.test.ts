import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameReader } from '../../../edge/mqtt/door/frames.ts'
import { takenBytesMax, type Taking } from '../../../edge/mqtt/door/taken.ts'
import {
  ack,
  connect,
  disconnect,
  packet,
  pingreq,
  publish,
  split,
  subscribe,
} from '../../support/edge/mqtt-bytes.ts'

const topic = 'devices/a1/events/com.acme.note'
const other = 'devices/a1/state'
const limits = { packetBytesMax: 1 << 20, filtersPerPacketMax: 5 }
const costOfFanOut = (): number => 0
const takesEvents: Taking<string> = {
  topicOf: (given) => (given.startsWith(topic) ? given : undefined),
  mayTake: () => true,
}

const hex = (text: string): string => Buffer.from(text).toString('hex')

/** Everything in the order in which it is handed over: taken one by one, what goes on joined. */
function readAll(chunks: readonly Buffer[], taking = takesEvents): string[] {
  const reader = new FrameReader({ ...limits, taking, costOfFanOut })
  const order: string[] = []
  let passed = ''
  const flush = (): void => {
    if (passed !== '') order.push(`on ${passed}`)
    passed = ''
  }
  for (const chunk of chunks) {
    let rest: Buffer | undefined = Buffer.from(chunk)
    while (rest) {
      const reading = reader.read(rest)
      for (const { topic: to, qos, packetId, payload } of reading.taken) {
        flush()
        order.push(`taken ${to} ${qos} ${packetId} ${payload.toString('hex')}`)
      }
      passed += reading.pass.toString('hex')
      if (reading.request) {
        flush()
        order.push(`${reading.request.kind} ${reading.request.packetId}`)
      }
      rest = reading.rest
      if (reading.error) {
        flush()
        return [...order, reading.error.violation]
      }
    }
  }
  flush()
  return order
}

describe('what the door takes out of a stream', () => {
  test('is PUBLISH packets of events at QoS 0 and 1, each in its place among all others', () => {
    const packets = [
      publish(topic, 'one', 1, 7),
      publish(topic, 'two', 0),
      publish(other, 'x', 1, 8),
      publish(topic, 'three', 1, 9),
      pingreq,
      subscribe(5, ['a', 0]),
      publish(topic, 'four', 1, 10),
      disconnect,
    ]
    expect(readAll([Buffer.concat([connect(), ...packets])])).toEqual([
      `on ${connect().toString('hex')}`,
      `taken ${topic} 1 7 ${hex('one')}`,
      `taken ${topic} 0 0 ${hex('two')}`,
      `on ${publish(other, 'x', 1, 8).toString('hex')}`,
      `taken ${topic} 1 9 ${hex('three')}`,
      `on ${pingreq.toString('hex')}`,
      'subscribe 5',
      `taken ${topic} 1 10 ${hex('four')}`,
      `on ${disconnect.toString('hex')}`,
    ])
  })

  test('is the same and in the same order whatever way the stream is cut', () => {
    const anyPacket = fc.oneof(
      fc
        .tuple(fc.constantFrom(topic, `${topic}.ü`, other), fc.nat(300), fc.constantFrom(0, 1, 2))
        .map(([to, bytes, qos]) => publish(to, Buffer.alloc(bytes, 0xfe), qos, 7)),
      fc.constantFrom(pingreq, ack(0x40, 1), subscribe(5, ['a/+', 1])),
      // Of MQTT nothing may come behind it, or after it.
      fc.constantFrom(publish(topic, 'x', 1, 0), packet(0xc0, 'x'), disconnect),
    )
    fc.assert(
      fc.property(
        fc.array(anyPacket, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (given, cuts) => {
          const bytes = Buffer.concat([connect(), ...given])
          expect(readAll(split(bytes, cuts))).toEqual(readAll([bytes]))
        },
      ),
    )
  })

  test('is never a retained one, one of QoS 2 or one that is too long to be held whole (G7)', () => {
    const retained = publish(topic, 'x', 1, 7)
    retained[0] = 0x33
    const long = publish(topic, Buffer.alloc(takenBytesMax, 0x20), 1, 7)
    for (const bytes of [retained, publish(topic, 'x', 2, 7), long])
      expect(readAll([connect(), bytes])).toEqual([`on ${connect().toString('hex')}${bytes.toString('hex')}`])
  })

  test('goes on whole when it may not be taken any more before it is there whole', () => {
    for (let cut = 1; cut < publish(topic, 'payload', 1, 7).length; cut += 1) {
      let may = true
      const reader = new FrameReader({
        ...limits,
        taking: { ...takesEvents, mayTake: () => may },
        costOfFanOut,
      })
      const bytes = publish(topic, 'payload', 1, 7)
      reader.read(connect())
      const passed = [reader.read(bytes.subarray(0, cut)).pass]
      may = false
      let rest: Buffer | undefined = Buffer.concat([bytes.subarray(cut), pingreq])
      while (rest) {
        const reading = reader.read(rest)
        expect(reading.taken).toEqual([])
        passed.push(reading.pass)
        rest = reading.rest
      }
      expect(Buffer.concat(passed)).toEqual(Buffer.concat([bytes, pingreq]))
    }
  })

  test('is checked as it would be on its way to the broker, the first time and again', () => {
    const bad = publish('devices/a1/events/com.acme.n+te', 'x', 1, 7)
    const anything: Taking<string> = { topicOf: (given) => given, mayTake: () => true }
    expect(readAll([connect(), bad], anything).at(-1)).toBe('topic')
    expect(readAll([connect(), publish(topic, 'x', 1, 7), bad], anything).at(-1)).toBe('topic')
    expect(readAll([connect(), publish(topic, 'x', 1, 0)]).at(-1)).toBe('packet-id')
  })

  test('is asked of each topic once, and of so many topics that a device makes up as there is room for (G7)', () => {
    const asked: string[] = []
    const taking: Taking<string> = {
      topicOf: (given) => {
        asked.push(given)
        return given
      },
      mayTake: () => true,
    }
    const reader = new FrameReader({ ...limits, taking, costOfFanOut })
    reader.read(connect())
    for (let again = 0; again < 5; again += 1) reader.read(publish(topic, 'x', 1, 7))
    expect(asked).toEqual([topic])
    const many = Array.from({ length: 1000 }, (_, index) => publish(`${topic}${index}`, 'x', 1, 7))
    for (const one of many) reader.read(one)
    expect(asked).toHaveLength(1001)
    reader.read(publish(`${topic}999`, 'x', 1, 7))
    expect(asked).toHaveLength(1001)
    reader.read(publish(topic, 'x', 1, 7))
    expect(asked).toHaveLength(1002)
  })
})
