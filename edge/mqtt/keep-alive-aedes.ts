import type { Client } from 'aedes'

/**
 * aedes counts the keep alive [MQTT-3.1.2-24] from packets that it is given. A device of which nothing is read just now, since
 * an answer to it has not gone out, says all the same that it is there: what its socket receives counts.
 */
export function keepAliveByReceipt(client: Client): void {
  const { conn } = client
  const push = conn.push.bind(conn)
  conn.push = (chunk: unknown, encoding?: BufferEncoding) => {
    // Missing in its types.
    const { _keepaliveTimer: keepAlive } = client as Client & { _keepaliveTimer?: NodeJS.Timeout | null }
    keepAlive?.refresh()
    return push(chunk, encoding)
  }
}
