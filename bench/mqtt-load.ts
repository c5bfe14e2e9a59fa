import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect, type TLSSocket } from 'node:tls'

/**
 * A load generator that costs as little as it can: MQTT 3.1.1 packets are put together by hand, PUBACKs are
 * counted, nothing is parsed. Every event has a random UUID of its own, which is the hard case for deduplication.
 */
export interface LoadOptions {
  port: number
  caFile: string
  devices: readonly { commonName: string; certFile: string; keyFile: string }[]
  /** Unacknowledged publications per connection. */
  inFlight: number
  /** Publications in all. */
  messages: number
}

export interface LoadResult {
  messages: number
  seconds: number
  perSecond: number
}

export async function load(options: LoadOptions): Promise<LoadResult> {
  const sockets = await Promise.all(options.devices.map((device) => connectDevice(options, device)))
  const each = Math.ceil(options.messages / sockets.length)
  const startedMs = performance.now()
  await Promise.all(
    sockets.map((socket, index) =>
      publishAll(socket, options.devices[index]?.commonName ?? '', each, options.inFlight),
    ),
  )
  const seconds = (performance.now() - startedMs) / 1000
  for (const socket of sockets) socket.destroy()
  const messages = each * sockets.length
  return { messages, seconds, perSecond: messages / seconds }
}

/** Resolves at CONNACK. */
export async function connectDevice(
  target: { port: number; caFile: string },
  device: { commonName: string; certFile: string; keyFile: string },
): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port: target.port,
    ca: readFileSync(target.caFile),
    cert: readFileSync(device.certFile),
    key: readFileSync(device.keyFile),
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('secureConnect', () => socket.write(connectPacket(device.commonName)))
    socket.once('data', (chunk) => {
      if (chunk[0] === 0x20 && chunk[3] === 0) resolve()
      else reject(new Error(`CONNECT was refused: ${chunk.toString('hex')}`))
    })
  })
  socket.removeAllListeners('error')
  return socket
}

async function publishAll(
  socket: TLSSocket,
  deviceId: string,
  count: number,
  inFlight: number,
): Promise<void> {
  const topic = Buffer.from(`devices/${deviceId}/events/com.acme.climate`)
  let sent = 0
  let acknowledged = 0
  let rest = 0
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      const packets: Buffer[] = []
      while (sent < count && sent - acknowledged < inFlight)
        packets.push(publishPacket(topic, (sent++ % 65_535) + 1))
      if (packets.length > 0) socket.write(Buffer.concat(packets))
    }
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${deviceId} was disconnected after ${acknowledged} PUBACKs`)))
    socket.on('data', (chunk) => {
      // Everything that comes is a PUBACK, four bytes each.
      rest += chunk.length
      acknowledged += Math.floor(rest / 4)
      rest %= 4
      if (acknowledged === count) resolve()
      else more()
    })
    more()
  })
  socket.removeAllListeners('close')
}

function publishPacket(topic: Buffer, packetId: number): Buffer {
  const payload = Buffer.from(
    `{"specversion":"1.0","id":"${randomUUID()}","type":"com.acme.climate","source":"x","data":{"temperature":21.5,"humidity":40.25,"note":"${padding}"}}`,
  )
  const length = 2 + topic.length + 2 + payload.length
  const header = Buffer.from([
    0x32,
    (length & 0x7f) | 0x80,
    length >> 7,
    topic.length >> 8,
    topic.length & 0xff,
  ])
  return Buffer.concat([header, topic, Buffer.from([packetId >> 8, packetId & 0xff]), payload])
}

/** Makes a payload of 200 bytes. */
const padding = 'x'.repeat(41)

function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId)
  const body = Buffer.concat([
    Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0]),
    Buffer.from([id.length >> 8, id.length & 0xff]),
    id,
  ])
  return Buffer.concat([Buffer.from([0x10, body.length]), body])
}
