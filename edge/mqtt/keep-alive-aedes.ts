import type { Client } from 'aedes'

/**
 * aedes counts the keep alive [MQTT-3.1.2-24] from packets that it is given. A device of which nothing is read just now, since
 * an answer to it has not gone out or it is over a rate, says all the same that it is there: what its socket receives counts, and what
 * it has received and is read only now.
 */
export function keepAliveByReceipt(client: Client): void {
  const { conn } = client
  const push = conn.push.bind(conn)
  const read = conn.read.bind(conn)
  const refresh = (): void => {
    // Missing in its types.
    const { _keepaliveTimer: keepAlive } = client as Client & { _keepaliveTimer?: NodeJS.Timeout | null }
    keepAlive?.refresh()
  }
  conn.push = (chunk: unknown, encoding?: BufferEncoding) => {
    refresh()
    return push(chunk, encoding)
  }
  conn.read = (size?: number): unknown => {
    if (conn.readableLength > 0) refresh()
    return read(size)
  }
}
