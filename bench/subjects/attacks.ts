import { connectPacket } from './packets.ts'

/** What one device does to a broker, on so many connections at a time, as fast as it is read. */
export interface Attack {
  name: string
  connections: number
  /** Written once after the CONNACK. */
  first?: (device: string, connection: number) => Buffer
  /** Written over and over; without it the connection is made over and over. */
  block?: (device: string) => Buffer
  /** Without a certificate: it gets no further than its handshake. */
  isStranger?: true
}

function remainingLength(length: number): Buffer {
  const digits: number[] = []
  let rest = length
  do {
    digits.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.from(digits)
}

function packet(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([first]), remainingLength(body.length), body])
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])
const text = (value: string): Buffer => Buffer.concat([u16(Buffer.byteLength(value)), Buffer.from(value)])

function publish(topic: string, payload: string, flags: number, packetId = 1): Buffer {
  const id = flags & 0x06 ? [u16(packetId)] : []
  return packet(0x30 | flags, text(topic), ...id, Buffer.from(payload))
}

const subscribe = (packetId: number, ...filters: string[]): Buffer =>
  packet(0x82, u16(packetId), ...filters.flatMap((filter) => [text(filter), Buffer.from([0])]))
const unsubscribe = (packetId: number, filter: string): Buffer => packet(0xa2, u16(packetId), text(filter))
const pingreq = Buffer.from([0xc0, 0])

/** `count` packets in one block. */
const many = (count: number, make: (packetId: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index + 1)))

const events = (device: string): string => `devices/${device}/events/com.acme.attack`
const reading = (index: number): string => `{"v":${index},"note":"${'x'.repeat(40)}"}`
const large = `{"v":[${Array.from({ length: 114_000 }, () => 1).join(',')}]}`
const nested = `{"v":${'['.repeat(120_000)}${']'.repeat(120_000)}}`
const levels = 91
const filtersOfOne = 100

/** A topic of 91 levels, or a filter for it with a wildcard for each bit that is set in `which`. */
function deepTopic(device: string, which = 0): string {
  const below = Array.from({ length: levels - 2 }, (_, level) => ((which >> level) & 1 ? '+' : 'l'))
  return ['devices', device, ...below].join('/')
}

export const attacks: readonly Attack[] = [
  {
    name: 'QoS 1, 1 connection',
    connections: 1,
    block: (device) => many(500, (id) => publish(events(device), reading(id), 0x02, id)),
  },
  {
    name: 'QoS 1, 8',
    connections: 8,
    block: (device) => many(500, (id) => publish(events(device), reading(id), 0x02, id)),
  },
  {
    name: 'QoS 0, 8',
    connections: 8,
    block: (device) => many(500, (id) => publish(events(device), reading(id), 0)),
  },
  {
    name: 'not JSON, 8',
    connections: 8,
    block: (device) => many(500, (id) => publish(events(device), `no JSON ${id}`, 0x02, id)),
  },
  {
    name: 'QoS 0 to its own topic, 8',
    connections: 8,
    block: (device) => many(500, (id) => publish(`devices/${device}/own`, reading(id), 0)),
  },
  { name: 'PINGREQ, 8', connections: 8, block: () => many(16_384, () => pingreq) },
  {
    name: 'SUBSCRIBE and UNSUBSCRIBE, 8',
    connections: 8,
    block: (device) =>
      many(500, (id) => {
        const filter = `devices/${device}/s/${id % 50}`
        return Buffer.concat([subscribe(id, filter), unsubscribe(id, filter)])
      }),
  },
  { name: '228 kB of JSON, 4', connections: 4, block: (device) => publish(events(device), large, 0x02) },
  {
    name: '240 kB of nested JSON, 4',
    connections: 4,
    block: (device) => publish(events(device), nested, 0x02),
  },
  {
    name: '400 filters and 91 levels, 4',
    connections: 4,
    first: (device, connection) =>
      subscribe(
        1,
        ...Array.from({ length: filtersOfOne }, (_, index) =>
          deepTopic(device, connection * filtersOfOne + index),
        ),
      ),
    block: (device) => many(100, () => publish(deepTopic(device), 'x', 0)),
  },
  {
    name: 'QoS 2 never released, 4',
    connections: 4,
    block: (device) => many(65_535, (id) => publish(events(device), reading(id), 0x04, id)),
  },
  {
    name: 'retained, 4',
    connections: 4,
    block: (device) => many(500, (id) => publish(`devices/${device}/r/${id % 100}`, reading(id), 0x01)),
  },
  { name: 'connecting again, 4', connections: 4 },
  { name: 'handshakes without a certificate, 16', connections: 16, isStranger: true },
]

export function connectOf(device: string, connection: number): Buffer {
  return connectPacket(`${device}-${connection}`)
}
