import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { type DoorOptions, guardReads } from '../../../edge/mqtt/door/door.ts'
import { FrameReader } from '../../../edge/mqtt/door/frames.ts'
import type { SubscriptionRequest } from '../../../edge/mqtt/door/requests.ts'
import type { Taking } from '../../../edge/mqtt/door/taken.ts'
import {
  ack,
  connect,
  disconnect,
  packet,
  pingreq,
  publish,
  split,
  subscribe,
  text,
  u16,
  unsubscribe,
} from '../../support/edge/mqtt-bytes.ts'

interface Outcome {
  /** What went on to the broker. */
  passed: Buffer
  requests: SubscriptionRequest[]
  violation?: string
  message?: string
  refusedLevel?: number
}

const limits = { packetBytesMax: 100_000, filtersPerPacketMax: 5 }
const costOfFanOut = (): number => 0
const takesNothing: Taking<string> = { topicOf: () => undefined, mayTake: () => false }

function readAll(chunks: Buffer[], given = limits): Outcome {
  const reader = new FrameReader({ ...given, taking: takesNothing, costOfFanOut })
  const passed: Buffer[] = []
  const requests: SubscriptionRequest[] = []
  const outcome = (): Outcome => ({ passed: Buffer.concat(passed), requests })
  for (const chunk of chunks) {
    let rest: Buffer | undefined = Buffer.from(chunk)
    while (rest) {
      const reading = reader.read(rest)
      passed.push(reading.pass)
      if (reading.request) requests.push(reading.request)
      const { error, refusedLevel } = reading
      if (error) return { ...outcome(), violation: error.violation, message: error.message }
      if (refusedLevel !== undefined) return { ...outcome(), refusedLevel }
      rest = reading.rest
    }
  }
  return outcome()
}

const after = (...packets: Buffer[]): Outcome => readAll([Buffer.concat([connect(), ...packets])])

const topic = 'devices/a1/x'
const longTopic = `devices/${'é/'.repeat(500)}`

describe('whatever way a stream is cut into chunks', () => {
  const anyPacket = fc.oneof(
    fc
      .tuple(fc.constantFrom(topic, longTopic, 'ü'), fc.nat(900), fc.constantFrom(0, 1, 2))
      .map(([to, bytes, qos]) => publish(to, Buffer.alloc(bytes, 0xff), qos, 7)),
    fc.constantFrom(pingreq, ack(0x40, 1), ack(0x50, 2), ack(0x62, 3), ack(0x70, 4)),
    fc.constantFrom(subscribe(5, ['a/+', 1], ['b/#', 2]), unsubscribe(6, 'a/+', 'ü')),
    // None.
    fc.constantFrom(packet(0xc0, 'x'), publish('a/#'), subscribe(0, ['a', 0]), packet(0x30, u16(9), 'x')),
  )

  test('what goes on, what is answered and what ends it are the same', () => {
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

  test('byte by byte it is read as whole', () => {
    const bytes = Buffer.concat([
      connect({ flags: 0xc6, rest: [text('w'), text('gone'), text('user'), text('secret')] }),
      subscribe(1, ['a/+', 2]),
      publish(topic, 'payload', 2, 258),
      pingreq,
      disconnect,
    ])
    const whole = readAll([bytes])
    expect(whole.violation).toBeUndefined()
    expect(whole.requests).toEqual([{ kind: 'subscribe', packetId: 1, filters: [{ filter: 'a/+', qos: 2 }] }])
    expect(readAll([...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole)
  })

  test('one that comes in thousands of pieces is put together in one pass: each is copied a few times at most (G7)', () => {
    const reader = new FrameReader({
      packetBytesMax: 1 << 20,
      filtersPerPacketMax: 1 << 20,
      taking: takesNothing,
      costOfFanOut,
    })
    reader.read(connect())
    const bytes = packet(0xa2, u16(1), Buffer.concat(Array.from({ length: 100_000 }, () => text('f'))))
    const allocated = vi.spyOn(Buffer, 'allocUnsafe')
    let request: SubscriptionRequest | undefined
    for (let at = 0; at < bytes.length; at += 16) request = reader.read(bytes.subarray(at, at + 16)).request
    expect(allocated.mock.calls.length).toBeLessThan(20)
    allocated.mockRestore()
    expect(request?.filters).toHaveLength(100_000)
  })
})

describe('a packet that is none ends its connection, named', () => {
  const bad: Record<string, Buffer> = {
    'a continuation byte alone': Buffer.from([0x80]),
    'a slash in two bytes': Buffer.from([0xc0, 0xaf]),
    'a surrogate': Buffer.from([0xed, 0xa0, 0x80]),
    'beyond U+10FFFF': Buffer.from([0xf5, 0x80, 0x80, 0x80]),
    'a sequence that is cut': Buffer.from([0xe2, 0x82]),
  }
  test.for(Object.entries(bad))('ill-formed UTF-8, %s, in every text [MQTT-1.5.3-1]', ([, bytes]) => {
    const ill = Buffer.concat([Buffer.from('x'), bytes])
    expect(after(publish(ill, '', 1)).violation).toBe('utf8')
    expect(after(subscribe(1, [ill, 0])).violation).toBe('utf8')
    expect(after(unsubscribe(1, ill)).violation).toBe('utf8')
    expect(readAll([connect({ clientId: ill })]).violation).toBe('utf8')
    expect(readAll([connect({ flags: 0x06, rest: [text(ill), text('')] })]).violation).toBe('utf8')
    expect(readAll([connect({ flags: 0x82, rest: [text(ill)] })]).violation).toBe('utf8')
  })

  test('U+0000 in every text [MQTT-1.5.3-2]', () => {
    expect(after(publish('a\0')).violation).toBe('nul')
    expect(after(subscribe(1, ['a\0', 0])).violation).toBe('nul')
    expect(after(unsubscribe(1, '\0')).violation).toBe('nul')
    expect(readAll([connect({ clientId: 'a\0' })]).violation).toBe('nul')
    expect(readAll([connect({ flags: 0x06, rest: [text('a\0'), text('')] })]).violation).toBe('nul')
    expect(readAll([connect({ flags: 0x82, rest: [text('\0')] })]).violation).toBe('nul')
  })

  test.for<[string, string, Buffer]>([
    ['a length of five bytes', 'length', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x01])],
    ['type 0', 'type', Buffer.from([0, 0])],
    ['type 15', 'type', Buffer.from([0xf0, 0])],
    ['CONNACK', 'type', packet(0x20, [0, 0])],
    ['SUBACK', 'type', packet(0x90, [0, 1, 0])],
    ['UNSUBACK', 'type', packet(0xb0, [0, 1])],
    ['PINGRESP', 'type', packet(0xd0)],
    ['PUBACK with flags', 'flags', ack(0x41, 1)],
    ['PUBREL without its flag', 'flags', ack(0x60, 1)],
    ['PUBREL with DUP', 'flags', ack(0x6a, 1)],
    ['SUBSCRIBE without its flag', 'flags', packet(0x80, u16(1), text('a'), [0])],
    ['UNSUBSCRIBE without its flag', 'flags', packet(0xa0, u16(1), text('a'))],
    ['PINGREQ with a flag', 'flags', packet(0xc1)],
    ['DISCONNECT with a flag', 'flags', packet(0xe1)],
    ['PUBLISH of QoS 3', 'qos', packet(0x36, text(topic), u16(1))],
    ['a packet ID of 0: PUBLISH QoS 1', 'packet-id', publish(topic, 'x', 1, 0)],
    ['a packet ID of 0: PUBLISH QoS 2', 'packet-id', publish(topic, 'x', 2, 0)],
    ['a packet ID of 0: SUBSCRIBE', 'packet-id', subscribe(0, ['a', 0])],
    ['a packet ID of 0: UNSUBSCRIBE', 'packet-id', unsubscribe(0, 'a')],
    ['a packet ID of 0: PUBACK', 'packet-id', ack(0x40, 0)],
    ['a second CONNECT', 'second-connect', connect()],
    ['an empty topic', 'empty-topic', publish('', 'x')],
    ['a topic with +', 'topic', publish('a/+/b')],
    ['a topic with #', 'topic', publish('a#')],
    ['an empty filter', 'empty-topic', subscribe(1, ['', 0])],
    ['an empty filter to unsubscribe', 'empty-topic', unsubscribe(1, '')],
    ['SUBSCRIBE without a filter', 'no-filter', packet(0x82, u16(1))],
    ['UNSUBSCRIBE without a filter', 'no-filter', packet(0xa2, u16(1))],
    ['a filter for QoS 3', 'filter-qos', subscribe(1, ['a', 3])],
    ['a filter with reserved bits', 'filter-qos', subscribe(1, ['a', 0x80])],
    ['more filters than one packet may have', 'filters-max', unsubscribe(1, 'a', 'b', 'c', 'd', 'e', 'f')],
    ['PUBLISH without a topic', 'truncated', packet(0x30)],
    ['PUBLISH with a topic that reaches beyond it', 'truncated', packet(0x30, u16(200), 'abc')],
    ['PUBLISH QoS 1 without a packet ID', 'truncated', packet(0x32, text(topic))],
    ['PUBLISH QoS 1 with half a packet ID', 'truncated', packet(0x32, text(topic), [0])],
    ['SUBSCRIBE with half a packet ID', 'truncated', packet(0x82, [0])],
    ['SUBSCRIBE with a filter that reaches beyond it', 'truncated', packet(0x82, u16(5), u16(99), 'a\0')],
    ['SUBSCRIBE without a QoS', 'truncated', packet(0x82, u16(5), text('a'))],
    ['UNSUBSCRIBE with a filter that reaches beyond it', 'truncated', packet(0xa2, u16(5), u16(99), 'a')],
    ['PUBACK of one byte', 'truncated', packet(0x40, [0])],
    ['PUBACK of three bytes', 'trailing', packet(0x40, [0, 1, 0])],
    ['PUBREL of three bytes', 'trailing', packet(0x62, [0, 1, 0])],
    ['PINGREQ with a body', 'trailing', packet(0xc0, 'ab')],
    ['DISCONNECT with a body', 'trailing', packet(0xe0, [0])],
    ['a packet over the limit', 'too-large', publish(topic, Buffer.alloc(100_000))],
  ])('%s', ([, violation, bytes]) => {
    const before = publish(topic, 'before')
    expect(after(before, bytes, pingreq)).toMatchObject({
      violation,
      passed: Buffer.concat([connect(), before]),
      requests: [],
    })
  })

  test.for(['a#', 'a/b#', 'a/#/c', '#/a', '##', 'a+', '+a', 'a/b+', 'a/+b', 'a/+b/c', '++', 'é+'])(
    'the filter %s, in which a wildcard is no whole level or not the last [MQTT-4.7.1-2, MQTT-4.7.1-3]',
    (filter) => {
      expect(after(subscribe(1, [filter, 0])).violation).toBe('filter')
      expect(after(unsubscribe(1, filter)).violation).toBe('filter')
    },
  )

  test.for<[string, string, Buffer]>([
    ['a first packet that is no CONNECT', 'first-packet', pingreq],
    ['another protocol', 'protocol-name', connect({ name: 'MQTTX' })],
    ['HTTP', 'first-packet', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['the reserved flag', 'connect-flags', connect({ flags: 3 })],
    ['a will of QoS 3', 'will-qos', connect({ flags: 0x1e, rest: [text('w'), text('')] })],
    ['a QoS without a will', 'will', connect({ flags: 0x0a })],
    ['a retain flag without a will', 'will', connect({ flags: 0x22 })],
    ['a will flag without a will', 'truncated', connect({ flags: 0x06 })],
    ['a password without a user name', 'password', connect({ flags: 0x42, rest: [text('p')] })],
    ['a user name flag without one', 'truncated', connect({ flags: 0x82 })],
    ['bytes behind its last field', 'trailing', connect({ rest: [Buffer.from('zz')] })],
    ['no body', 'truncated', packet(0x10)],
  ])('a CONNECT with %s', ([, violation, bytes]) => {
    expect(readAll([bytes])).toMatchObject({ violation, passed: Buffer.alloc(0) })
  })

  test('it is refused at its header: what follows is not waited for', () => {
    expect(after(publish(topic, Buffer.alloc(1_000_000)).subarray(0, 4)).violation).toBe('too-large')
    const exact = publish('t', Buffer.alloc(limits.packetBytesMax - 7))
    expect(exact).toHaveLength(limits.packetBytesMax)
    expect(after(exact).violation).toBeUndefined()
  })

  test('what is wrong with it is told with the statement of the standard', () => {
    expect(after(publish('a/#')).message).toBe('the topic of a PUBLISH holds a wildcard [MQTT-3.3.2-2]')
  })
})

test.for([0, 2, 5, 6, 127])('the protocol level %i is told apart, to be refused [MQTT-3.1.2-2]', (level) => {
  const bytes = packet(0x10, text('MQTT'), [level, 2], 'whatever comes with that level')
  expect(readAll([bytes])).toMatchObject({ refusedLevel: level, passed: Buffer.alloc(0) })
})

test('of MQTT 3.1 and of a bridge a CONNECT is one, and what MQTT 3.1 sends again comes without DUP', () => {
  for (const level of [3, 4, 0x83, 0x84]) expect(readAll([connect({ level })]).violation).toBeUndefined()
  const again = readAll([Buffer.concat([connect({ name: 'MQIsdp', level: 3 }), ack(0x6a, 7)])])
  expect(again.passed.subarray(-4)).toEqual(ack(0x62, 7))
})

test('what follows a DISCONNECT is not read [MQTT-3.14.4-2]', () => {
  expect(after(disconnect, publish(topic), Buffer.from([0, 0]))).toEqual({
    passed: Buffer.concat([connect(), disconnect]),
    requests: [],
  })
})

test('a topic may have as many levels as its length allows [MQTT-4.7.3-3]', () => {
  const deep = '/'.repeat(65_535)
  expect(after(publish(deep)).violation).toBeUndefined()
  expect(after(subscribe(1, [deep, 0])).requests).toHaveLength(1)
})

interface Guarded {
  socket: PassThrough
  requests: SubscriptionRequest[]
  answer: () => void
  ready: () => number
}

function guarded(options: Partial<DoorOptions<string>> = {}): Guarded {
  const socket = new PassThrough()
  const requests: SubscriptionRequest[] = []
  let answer: (() => void) | undefined
  let ready = 0
  guardReads(socket, {
    ...limits,
    taking: takesNothing,
    onTaken() {},
    costOfFanOut,
    mayCost: () => Infinity,
    onRead() {},
    refusalOf: (level) => new Error(`level ${level}`),
    onRequest(request) {
      requests.push(request)
      return new Promise((resolve) => (answer = resolve))
    },
    onReady: () => (ready += 1),
    ...options,
  })
  return { socket, requests, answer: () => answer?.(), ready: () => ready }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('the door of a socket', () => {
  test('gives nothing while it may not be read', () => {
    let may = false
    const { socket } = guarded({ mayCost: () => (may ? 1 : 0) })
    socket.write(connect())
    expect(socket.read()).toBeNull()
    may = true
    expect(socket.read()).toEqual(connect())
  })

  test('reads on after a packet only if those before it cost no more than may be, and says what they cost (G7)', async () => {
    let left = Infinity
    const costs: number[] = []
    const { socket, ready } = guarded({
      mayCost: () => left,
      onRead({ cost }) {
        costs.push(cost)
        left -= cost
      },
    })
    socket.write(connect())
    socket.read()
    left = 100
    socket.write(Buffer.concat([pingreq, pingreq, pingreq]))
    expect(socket.read()).toEqual(Buffer.concat([pingreq, pingreq]))
    await turn()
    expect([left < 0, socket.read(), ready()]).toEqual([true, null, 0])
    left = 1
    expect(socket.read()).toEqual(pingreq)
    expect(costs.slice(1)).toEqual([132, 66])
  })

  test('a payload that goes by in pieces costs its bytes, piece by piece, and no more of it is read than may be (G7)', async () => {
    let left = Infinity
    const { socket, ready } = guarded({ mayCost: () => left, onRead: ({ cost }) => void (left -= cost) })
    socket.write(connect())
    socket.read()
    left = 4096
    const large = publish(topic, Buffer.alloc(20_000), 0)
    socket.write(large)
    const pieces: Buffer[] = []
    const next = (): void => void pieces.push(socket.read() as Buffer)
    next()
    expect(pieces[0]).toHaveLength(4096)
    await turn()
    expect([socket.read(), ready()]).toEqual([null, 0])
    for (let more = 1; more < 10; more += 1) {
      left = 4096
      if (socket.readableLength > 0) next()
    }
    expect(Buffer.concat(pieces)).toEqual(large)
  })

  test('hands on what came whole before a packet that is none, and ends with its fault', async () => {
    const { socket } = guarded()
    const failed = new Promise((resolve) => socket.once('error', resolve))
    socket.write(Buffer.concat([connect(), publish(topic, 'x'), publish('a/#')]))
    // What comes with the CONNECT is read when that has been handed on, and answered.
    expect(socket.read()).toEqual(connect())
    expect(socket.read()).toEqual(publish(topic, 'x'))
    expect(await failed).toMatchObject({ code: 'PACKET_MALFORMED', violation: 'topic' })
  })

  test('answers a SUBSCRIBE when the broker has what came before, and reads nothing behind it until then (G7)', async () => {
    const { socket, requests, answer, ready } = guarded()
    socket.write(Buffer.concat([connect(), subscribe(1, ['a', 0]), subscribe(2, ['b', 0]), pingreq]))
    expect(socket.read()).toEqual(connect())
    expect(requests).toEqual([])
    await turn()
    expect(ready()).toBe(1)
    expect(socket.read()).toBeNull()
    expect(socket.read()).toBeNull()
    expect(requests.map(({ packetId }) => packetId)).toEqual([1])
    answer()
    await turn()
    await turn()
    expect(socket.read()).toBeNull()
    expect(requests.map(({ packetId }) => packetId)).toEqual([1, 2])
    answer()
    await turn()
    await turn()
    expect(socket.read()).toEqual(pingreq)
  })

  test('a stream that has ended is read to its end although a SUBSCRIBE has to wait', async () => {
    const { socket, answer } = guarded()
    let isEnded = false
    socket.once('end', () => (isEnded = true))
    socket.end(Buffer.concat([connect(), subscribe(1, ['a', 0]), publish(topic, 'last')]))
    expect(socket.read()).toEqual(connect())
    expect(socket.read()).toBeNull()
    await turn()
    expect(isEnded).toBe(false)
    answer()
    await turn()
    await turn()
    expect(socket.read()).toEqual(publish(topic, 'last'))
  })

  test('answers an unknown protocol level with CONNACK 1, and ends', async () => {
    const { socket } = guarded()
    const written: Buffer[] = []
    socket.write(connect({ level: 6 }))
    const write = socket.write.bind(socket)
    socket.write = ((bytes: Buffer, done: () => void) => {
      written.push(bytes)
      return write('', done as never)
    }) as never
    const failed = new Promise<Error>((resolve) => socket.once('error', resolve))
    expect(socket.read()).toBeNull()
    expect((await failed).message).toBe('level 6')
    expect(written).toEqual([Buffer.from([0x20, 2, 0, 1])])
  })

  test('a subscription that cannot be stored ends its connection', async () => {
    const { socket } = guarded({ onRequest: () => Promise.reject(new Error('no room')) })
    const failed = new Promise<Error>((resolve) => socket.once('error', resolve))
    socket.write(connect())
    socket.read()
    socket.write(subscribe(1, ['a', 0]))
    socket.read()
    expect((await failed).message).toBe('no room')
  })
})
