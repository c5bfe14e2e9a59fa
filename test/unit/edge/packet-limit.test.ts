import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createPacketScanner, guardReads, type PacketFault } from '../../../edge/mqtt/packet-limit.ts'

/** The header of an MQTT packet: its type and the length of its body. */
function header(type: number, bodyBytes: number): Buffer {
  const length: number[] = []
  for (let rest = bodyBytes; length.length === 0 || rest > 0; rest = Math.floor(rest / 128))
    length.push((rest % 128) | (rest >= 128 ? 0x80 : 0))
  return Buffer.from([type << 4, ...length])
}

/** An MQTT packet of any type with a body of zeros. */
function packet(type: number, bodyBytes: number): Buffer {
  return Buffer.concat([header(type, bodyBytes), Buffer.alloc(bodyBytes)])
}

function scanAll(limit: number, chunks: Buffer[]): PacketFault['code'] | undefined {
  const scanner = createPacketScanner(limit)
  for (const chunk of chunks) {
    const fault = scanner.scan(chunk)
    if (fault) return fault.code
  }
  return undefined
}

function split(bytes: Buffer, cuts: number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

const anyPackets = fc.array(fc.tuple(fc.integer({ min: 1, max: 14 }), fc.nat(20_000)), {
  minLength: 1,
  maxLength: 8,
})

test('however a stream of packets is cut into chunks, the verdict is the same', () => {
  fc.assert(
    fc.property(
      anyPackets,
      fc.integer({ min: 2, max: 25_000 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (given, limit, cuts) => {
        const packets = given.map(([type, bytes]) => packet(type, bytes))
        const expected = packets.some(({ length }) => length > limit) ? 'PACKET_TOO_LARGE' : undefined
        expect(scanAll(limit, split(Buffer.concat(packets), cuts))).toBe(expected)
      },
    ),
  )
})

test('a header that comes byte by byte is read like one that comes whole', () => {
  fc.assert(
    fc.property(fc.nat(3_000_000), (bytes) => {
      // As long as a header may be; a short one is followed by the first bytes of its body.
      const begin = Buffer.concat([header(3, bytes), Buffer.alloc(Math.min(bytes, 4))]).subarray(0, 5)
      const chunks = [...begin].map((byte) => Buffer.from([byte]))
      expect(scanAll(1_000_000, chunks)).toBe(scanAll(1_000_000, [begin]))
    }),
  )
})

test('a packet of exactly the limit passes, one byte more does not', () => {
  expect(scanAll(100, [packet(3, 98)])).toBeUndefined()
  expect(scanAll(100, [packet(3, 99)])).toBe('PACKET_TOO_LARGE')
})

test('a length that never ends is malformed', () => {
  expect(scanAll(1e9, [Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])])).toBe('PACKET_MALFORMED')
})

test('it is refused at its header: what follows is not waited for', () => {
  expect(scanAll(100, [packet(3, 1_000_000).subarray(0, 4)])).toBe('PACKET_TOO_LARGE')
})

test('a guarded stream gives nothing while it may not be read, and ends with the code of the fault', async () => {
  const socket = new PassThrough()
  let may = false
  guardReads(socket, { packetBytesMax: 100, mayRead: () => may })
  socket.write(packet(3, 50))
  expect(socket.read()).toBeNull()
  may = true
  expect(socket.read()).toHaveLength(52)
  const failed = new Promise((resolve) => socket.once('error', resolve))
  socket.write(packet(3, 200))
  expect(socket.read()).toBeNull()
  expect(await failed).toMatchObject({ code: 'PACKET_TOO_LARGE' })
})
