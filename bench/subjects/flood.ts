import type { TLSSocket } from 'node:tls'
import { connectDevice, type Fleet } from './device.ts'
import { publishPacket, topicOf } from './packets.ts'

/** Publications of one connection that have no PUBACK yet. */
const inFlight = 50

export interface Flood {
  messages: number
  perSecond: number
}

/** Every device publishes as fast as it is acknowledged, until there were so many, or for so long. */
export async function flood(
  port: number,
  fleet: Fleet,
  { messages, forMs = Infinity }: { messages: number; forMs?: number },
): Promise<Flood> {
  const target = { port, caFile: fleet.caFile }
  const sockets = await Promise.all(fleet.devices.map((device) => connectDevice(target, device)))
  const each = Math.ceil(messages / sockets.length)
  const startedMs = performance.now()
  const counts = await Promise.all(
    sockets.map((socket, index) =>
      publishAll(socket, fleet.devices[index]?.commonName ?? '', each, startedMs + forMs),
    ),
  )
  const seconds = (performance.now() - startedMs) / 1000
  for (const socket of sockets) socket.destroy()
  const acknowledged = counts.reduce((sum, count) => sum + count, 0)
  return { messages: acknowledged, perSecond: acknowledged / seconds }
}

/** Resolves with how many were acknowledged: all that were sent. */
async function publishAll(
  socket: TLSSocket,
  deviceId: string,
  count: number,
  untilMs: number,
): Promise<number> {
  const topic = topicOf(deviceId)
  let sent = 0
  let acknowledged = 0
  let rest = 0
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      const packets: Buffer[] = []
      const room = performance.now() < untilMs ? Math.min(count - sent, inFlight - sent + acknowledged) : 0
      while (packets.length < room) packets.push(publishPacket(topic, (sent++ % 65_535) + 1))
      if (packets.length > 0) socket.write(Buffer.concat(packets))
      else if (sent === acknowledged) resolve()
    }
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${deviceId} was disconnected after ${acknowledged} PUBACKs`)))
    socket.on('data', (chunk) => {
      // Everything that comes is a PUBACK, four bytes each.
      rest += chunk.length
      acknowledged += Math.floor(rest / 4)
      rest %= 4
      more()
    })
    more()
  })
  socket.removeAllListeners('close')
  return acknowledged
}
