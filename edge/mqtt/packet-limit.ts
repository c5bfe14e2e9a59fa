import type { Duplex } from 'node:stream'
import { TidegateError } from '../../src/errors.ts'

/** Watches a stream of MQTT packets go by and finds the first one that is too long or has no readable length. */
export interface PacketScanner {
  /** Call with every chunk, in order, until it finds a fault. */
  scan(chunk: Uint8Array): PacketFault | undefined
}

export interface PacketFault {
  code: 'PACKET_TOO_LARGE' | 'PACKET_MALFORMED'
  detail: string
}

/**
 * Follows the fixed headers (MQTT 3.1.1, 2.2.3: a type byte, then a length of at most four bytes of seven bits)
 * and skips what is between them, so that a packet is refused at its header, before anything is buffered. The
 * cost is per packet, not per byte.
 */
export function createPacketScanner(packetBytesMax: number): PacketScanner {
  /** Bytes of the current packet still to come after its header. */
  let skip = 0
  /** Bytes of the current header seen so far: 0 none, 1 the type, more: the length. */
  let headerBytes = 0
  let length = 0

  return {
    scan(chunk) {
      let offset = 0
      while (offset < chunk.length) {
        if (skip > 0) {
          const passed = Math.min(skip, chunk.length - offset)
          skip -= passed
          offset += passed
          continue
        }
        const byte = chunk[offset] as number
        offset += 1
        headerBytes += 1
        if (headerBytes === 1) continue
        length += (byte & 0x7f) * 128 ** (headerBytes - 2)
        if (byte >= 0x80) {
          if (headerBytes < 5) continue
          return { code: 'PACKET_MALFORMED', detail: 'a packet has a length of more than four bytes' }
        }
        if (headerBytes + length > packetBytesMax) {
          const detail = `a packet of ${headerBytes + length} bytes, and ${packetBytesMax} are allowed`
          return { code: 'PACKET_TOO_LARGE', detail }
        }
        skip = length
        headerBytes = 0
        length = 0
      }
      return undefined
    },
  }
}

export interface ReadGuard {
  packetBytesMax: number
  /** Whether the connection may be read further; while it says no, TCP holds the sender back (G7). */
  mayRead(): boolean
}

/**
 * Puts the limits in front of a socket's reader, by what both have in common: `read()`. A packet over the limit
 * destroys the socket with an error whose code says so.
 */
export function guardReads(socket: Duplex, guard: ReadGuard): void {
  const scanner = createPacketScanner(guard.packetBytesMax)
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    // The stream itself calls read(0) to fill its buffer: that takes nothing.
    if (size === 0) return read(0)
    if (socket.destroyed || !guard.mayRead()) return null
    const chunk = read(size) as Buffer | null
    const fault = chunk === null ? undefined : scanner.scan(chunk)
    if (fault === undefined) return chunk
    socket.destroy(
      new TidegateError(fault.code, {
        message: fault.detail,
        retryable: false,
        hint: 'send smaller messages, or raise mqtt.packetBytesMax',
      }),
    )
    return null
  }
}
