import { once } from 'node:events'
import { connect as connectTls, type TLSSocket } from 'node:tls'

export interface RawConnection {
  write(bytes: Buffer): void
  /** Resolves once a packet of this type byte has come, and forgets it; rejects when the connection is over. */
  until(type: number): Promise<void>
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
  const types: number[] = []
  const over = new AbortController()
  socket.once('close', () => over.abort())
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 2 && bytes.length >= 2 + (bytes[1] as number)) {
      types.push(bytes[0] as number)
      bytes = bytes.subarray(2 + (bytes[1] as number))
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
      while (!types.includes(type)) await once(socket, 'packets', { signal: over.signal })
      types.splice(types.indexOf(type), 1)
    },
    got: (type) => types.filter((one) => one === type).length,
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

export function pubrelPacket(id: number): Buffer {
  return Buffer.from([0x62, 2, id >> 8, id & 0xff])
}
