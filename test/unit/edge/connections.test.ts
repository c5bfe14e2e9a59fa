import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { type Connection, type Connections, createConnections } from '../../../edge/mqtt/connections.ts'

interface Reader {
  socket: PassThrough
  connection: Connection
  /** What was read, by chunk. */
  chunks: string[]
}

/** Reads like aedes: once per 'readable', unless it counts more unanswered packets than it was asked. */
function reader(connections: Connections, deviceId: string): Reader {
  const socket = new PassThrough()
  const chunks: string[] = []
  connections.open(socket, deviceId, () => {
    socket.on('readable', () => {
      const chunk = socket.read() as Buffer | null
      if (chunk) chunks.push(chunk.toString('hex'))
    })
    return async () => {}
  })
  socket.write(connect)
  socket.emit('readable')
  chunks.length = 0
  const connection = connections.of({ conn: socket })
  if (!connection) throw new Error('not registered')
  return { socket, connection, chunks }
}

/** A CONNECT of MQTT 3.1.1 with an empty client ID. */
const connect = Buffer.from('100c00044d5154540402003c0000', 'hex')
const ping = Buffer.from([0xc0, 0])
const limits = { packetBytesMax: 1000, filtersPerPacketMax: 10, inFlightMax: 2, inFlightBytesMax: 500 }
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('at its own bound a connection is not read, and is read on when it falls below', async () => {
  const { socket, connection, chunks } = reader(createConnections(limits), 'a1')
  connection.began(1)
  connection.began(1)
  socket.write(ping)
  await settled()
  expect(chunks).toEqual([])
  connection.ended(1)
  expect(chunks).toEqual(['c000'])
})

test('the bound of all connections holds back those that have nothing in flight, and lets go again', async () => {
  const connections = createConnections(limits)
  const busy = reader(connections, 'a1')
  const idle = reader(connections, 'a2')
  busy.connection.began(500)
  idle.socket.write(ping)
  await settled()
  expect(idle.chunks).toEqual([])
  busy.connection.ended(500)
  expect(idle.chunks).toEqual(['c000'])
})

test('between CONNECT and CONNACK nothing more is read', async () => {
  const { socket, connection, chunks } = reader(createConnections(limits), 'a1')
  connection.connecting = true
  socket.write(ping)
  await settled()
  expect(chunks).toEqual([])
  connection.connecting = false
  connection.pull()
  expect(chunks).toEqual(['c000'])
})

test('a stopping broker reads nothing more, and withdraws what waits', async () => {
  const connections = createConnections(limits)
  const { socket, connection, chunks } = reader(connections, 'a1')
  connections.hold()
  socket.write(ping)
  await settled()
  expect(chunks).toEqual([])
  expect(connection.signal.aborted).toBe(false)
  connections.withdraw()
  expect(connection.signal.aborted).toBe(true)
})

test('what waits for room is withdrawn when its connection ends', async () => {
  const { socket, connection } = reader(createConnections(limits), 'a1')
  socket.destroy()
  await settled()
  expect(connection.signal.aborted).toBe(true)
})

test('a connection that was paused is not read until it was resumed as often', async () => {
  const { socket, connection, chunks } = reader(createConnections(limits), 'a1')
  connection.pause()
  connection.pause()
  socket.write(ping)
  await settled()
  connection.resume()
  expect(chunks).toEqual([])
  connection.resume()
  expect(chunks).toEqual(['c000'])
})
