import { once } from 'node:events'
import { connect as connectTls, type TLSSocket } from 'node:tls'

export interface RawConnection {
  write(bytes: Buffer): void
  /**
   * Resolves with the first packet of this type byte, once it has come, and forgets it; rejects when the connection is
   * over.
   */
  until(type: number): Promise<Buffer>
  /** The same, whichever of these types is the first to have come. */
  untilAny(types: number[]): Promise<Buffer>
  /** How many of this type have come and were not waited for. */
  got(type: number): number
  /** All of these types that have come and were not waited for, in order. */
  all(...types: number[]): Buffer[]
  /** Reads nothing more, until `resume`. */
  pause(): void
  resume(): void
  end(): void
  /** Resolves when the connection is over, whoever ended it. */
  readonly over: Promise<void>
}

export interface RawOptions {
  port: number
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
  clean?: boolean
  clientId?: string
  /** Packets in the same chunk as CONNECT. */
  follow?: Buffer[]
  /** Sent in the place of CONNECT, and no CONNACK is waited for. */
  opening?: Buffer
}

/** Where the first packet ends; Infinity while its length is not there. Source: MQTT 3.1.1, 2.2.3. */
function endOfPacket(bytes: Buffer): number {
  let length = 0
  for (let at = 1; at < bytes.length; at++) {
    const byte = bytes[at] as number
    length += (byte & 0x7f) * 128 ** (at - 1)
    if (byte < 0x80) return at + 1 + length
  }
  return Infinity
}

/** A connection on which packets are written by hand. */
export async function rawConnection({
  port,
  tls,
  clean = true,
  clientId = 'raw',
  follow = [],
  opening,
}: RawOptions): Promise<RawConnection> {
  const socket: TLSSocket = connectTls({ port, host: '127.0.0.1', ...tls })
  let bytes: Buffer = Buffer.alloc(0)
  let chunks: Buffer[] = []
  let missing = 0
  const packets: Buffer[] = []
  const over = new AbortController()
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      over.abort()
      resolve()
    })
  })
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    missing -= chunk.length
    if (missing > 0) return
    bytes = Buffer.concat([bytes, ...chunks])
    chunks = []
    let end = endOfPacket(bytes)
    for (; end <= bytes.length; end = endOfPacket(bytes)) {
      packets.push(bytes.subarray(0, end))
      bytes = bytes.subarray(end)
    }
    missing = end === Infinity ? 0 : end - bytes.length
    socket.emit('packets')
  })
  await once(socket, 'secureConnect', { signal: over.signal })
  // A reset is for whoever waits for `over`.
  socket.on('error', () => {})
  const id = `\u0000${String.fromCharCode(clientId.length)}${clientId}`
  const name = Buffer.from(`\u0000\u0004MQTT\u0004${clean ? '\u0002' : '\u0000'}\u0000\u003c${id}`)
  socket.write(opening ?? Buffer.concat([Buffer.from([0x10, name.length]), name, ...follow]))
  const raw: RawConnection = {
    write: (packet) => void socket.write(packet),
    until: (type) => raw.untilAny([type]),
    async untilAny(types) {
      for (;;) {
        const index = packets.findIndex((packet) => types.includes(packet[0] as number))
        if (index >= 0) return packets.splice(index, 1)[0] as Buffer
        await once(socket, 'packets', { signal: over.signal })
      }
    },
    got: (type) => packets.filter((packet) => packet[0] === type).length,
    all: (...types) => packets.filter((packet) => types.includes(packet[0] as number)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.destroy(),
    over: closed,
  }
  if (opening === undefined) await raw.until(0x20)
  return raw
}

/** The packet ID of a message of QoS 1 or 2 that has come. */
export function packetIdOf(publish: Buffer): number {
  return publish.readUInt16BE(4 + publish.readUInt16BE(2))
}
