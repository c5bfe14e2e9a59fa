import { once } from 'node:events'
import { connect as connectTls, type TLSSocket } from 'node:tls'

export interface RawConnection {
  write(bytes: Buffer): void
  /**
   * Resolves with the first packet of this type byte, once it has come, and forgets it; rejects when the connection is
   * over.
   */
  until(type: number): Promise<Buffer>
  /** How many of this type have come and were not waited for. */
  got(type: number): number
  /** Reads nothing more. */
  pause(): void
  end(): void
}

export interface RawOptions {
  port: number
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
  clean?: boolean
  clientId?: string
  /** Packets in the same chunk as CONNECT. */
  follow?: Buffer[]
}

/** A connection on which packets are written by hand; each answer is short enough for one length byte. */
export async function rawConnection({
  port,
  tls,
  clean = true,
  clientId = 'raw',
  follow = [],
}: RawOptions): Promise<RawConnection> {
  const socket: TLSSocket = connectTls({ port, host: '127.0.0.1', ...tls })
  let bytes: Buffer = Buffer.alloc(0)
  const packets: Buffer[] = []
  const over = new AbortController()
  socket.once('close', () => over.abort())
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 2 && bytes.length >= 2 + (bytes[1] as number)) {
      const end = 2 + (bytes[1] as number)
      packets.push(bytes.subarray(0, end))
      bytes = bytes.subarray(end)
    }
    socket.emit('packets')
  })
  await once(socket, 'secureConnect')
  const id = `\u0000${String.fromCharCode(clientId.length)}${clientId}`
  const name = Buffer.from(`\u0000\u0004MQTT\u0004${clean ? '\u0002' : '\u0000'}\u0000\u003c${id}`)
  socket.write(Buffer.concat([Buffer.from([0x10, name.length]), name, ...follow]))
  const raw: RawConnection = {
    write: (packet) => void socket.write(packet),
    async until(type) {
      for (;;) {
        const index = packets.findIndex((packet) => packet[0] === type)
        if (index >= 0) return packets.splice(index, 1)[0] as Buffer
        await once(socket, 'packets', { signal: over.signal })
      }
    },
    got: (type) => packets.filter((packet) => packet[0] === type).length,
    pause: () => void socket.pause(),
    end: () => void socket.destroy(),
  }
  await raw.until(0x20)
  return raw
}

export function publishPacket(topic: string, payload: string, id: number, qos: 1 | 2 = 2): Buffer {
  const body = Buffer.concat([
    Buffer.from([0, topic.length]),
    Buffer.from(topic),
    Buffer.from([id >> 8, id & 0xff]),
    Buffer.from(payload),
  ])
  const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7]
  return Buffer.concat([Buffer.from([0x30 | (qos << 1), ...length]), body])
}

export function subscribePacket(filter: string, qos: 0 | 1 | 2): Buffer {
  const body = Buffer.concat([Buffer.from([0, 1, 0, filter.length]), Buffer.from(filter), Buffer.from([qos])])
  return Buffer.concat([Buffer.from([0x82, body.length]), body])
}

export function pubrecPacket(id: number): Buffer {
  return Buffer.from([0x50, 2, id >> 8, id & 0xff])
}

export function pubrelPacket(id: number): Buffer {
  return Buffer.from([0x62, 2, id >> 8, id & 0xff])
}

export function pubcompPacket(id: number): Buffer {
  return Buffer.from([0x70, 2, id >> 8, id & 0xff])
}

/** The packet ID of a message of QoS 1 or 2 that has come. */
export function packetIdOf(publish: Buffer): number {
  return publish.readUInt16BE(4 + publish.readUInt16BE(2))
}
