import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import {
  type Answerer,
  type Connection,
  type Connections,
  createConnections,
} from '../../../edge/mqtt/connections.ts'

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
  const attach = (): Answerer => {
    socket.on('readable', () => {
      const chunk = socket.read() as Buffer | null
      if (chunk) chunks.push(chunk.toString('hex'))
    })
    return async () => {}
  }
  const takesNothing = { topicOf: () => undefined, mayTake: () => false, take() {} }
  connections.open(socket, { deviceId, authMethod: 'certificate' }, { attach, takerOf: () => takesNothing })
  socket.write(connect)
  socket.emit('readable')
  chunks.length = 0
  const connection = connections.of({ conn: socket })
  if (!connection) throw new Error('not registered')
  return { socket, connection, chunks }
}

const publish = (payloadBytes: number, topic = 'a'): { topic: string; payload: Buffer } => ({
  topic,
  payload: Buffer.alloc(payloadBytes),
})

/** A CONNECT of MQTT 3.1.1 with an empty client ID. */
const connect = Buffer.from('100c00044d5154540402003c0000', 'hex')
const ping = Buffer.from([0xc0, 0])
const limits = {
  packetBytesMax: 1000,
  filtersPerPacketMax: 10,
  inFlightMax: 2,
  inFlightBytesMax: 20_000,
  inFlightBytesPerDeviceMax: 15_000,
  ratesOf: () => ({}),
}
const parts = { clock: systemClock, onHeld() {} }
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('at its own bound a connection is not read, and is read on when it falls below', async () => {
  const { socket, connection, chunks } = reader(createConnections(limits, parts), 'a1')
  const held = connection.hold([publish(1)])
  connection.hold([publish(1)])
  socket.write(ping)
  await settled()
  expect(chunks).toEqual([])
  held.release()
  expect(chunks).toEqual(['c000'])
})

test('the bound of all connections holds back those that have nothing in flight, and lets go again', async () => {
  const connections = createConnections(limits, parts)
  const busy = reader(connections, 'a1')
  const idle = reader(connections, 'a2')
  const held = busy.connection.hold([publish(18_000)])
  idle.socket.write(ping)
  await settled()
  expect(idle.chunks).toEqual([])
  held.release()
  expect(idle.chunks).toEqual(['c000'])
})

test('a device at its bound is not read on any of its connections, and no other is held up by it (G7)', async () => {
  const connections = createConnections(limits, parts)
  const busy = reader(connections, 'a1')
  const sister = reader(connections, 'a1')
  const other = reader(connections, 'a2')
  // With what stands around it it is over the bound.
  const held = busy.connection.hold([publish(13_200)])
  sister.socket.write(ping)
  other.socket.write(ping)
  await settled()
  expect([sister.chunks, other.chunks]).toEqual([[], ['c000']])
  held.release()
  expect(sister.chunks).toEqual(['c000'])
})

test('publishes of little payload count for what they take, too (G7)', async () => {
  const connections = createConnections({ ...limits, inFlightMax: 1000 }, parts)
  const busy = reader(connections, 'a1')
  for (let index = 0; index < 8; index += 1) busy.connection.hold([publish(0)])
  busy.socket.write(ping)
  await settled()
  expect(busy.chunks).toEqual([])
})

test('a publish counts for its topic, and for the text that was made of it, as long as it waits (G7)', async () => {
  const connections = createConnections({ ...limits, inFlightMax: 1000 }, parts)
  const { socket, connection, chunks } = reader(connections, 'a1')
  const ofTopic = connection.hold([publish(0, 'x'.repeat(6500))])
  socket.write(ping)
  await settled()
  expect(chunks).toEqual([])
  ofTopic.release()
  expect(chunks).toEqual(['c000'])
  const grown = connection.hold([publish(0)])
  grown.grow(14_000)
  socket.write(ping)
  await settled()
  expect(chunks).toEqual(['c000'])
  grown.release()
  expect(chunks).toEqual(['c000', 'c000'])
  // All of it was given back.
  connection.hold([publish(12_900)])
  socket.write(ping)
  await settled()
  expect(chunks).toHaveLength(3)
})

test('between CONNECT and CONNACK nothing more is read', async () => {
  const { socket, connection, chunks } = reader(createConnections(limits, parts), 'a1')
  connection.connecting = true
  socket.write(ping)
  await settled()
  expect(chunks).toEqual([])
  connection.connecting = false
  connection.pull()
  expect(chunks).toEqual(['c000'])
})

test('a stopping broker reads nothing more, and withdraws what waits', async () => {
  const connections = createConnections(limits, parts)
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
  const { socket, connection } = reader(createConnections(limits, parts), 'a1')
  socket.destroy()
  await settled()
  expect(connection.signal.aborted).toBe(true)
})

test('a connection that was paused is not read until it was resumed as often', async () => {
  const { socket, connection, chunks } = reader(createConnections(limits, parts), 'a1')
  connection.pause()
  connection.pause()
  socket.write(ping)
  await settled()
  connection.resume()
  expect(chunks).toEqual([])
  connection.resume()
  expect(chunks).toEqual(['c000'])
})

/** Turns of the event loop until a device has been read to its end, with what was read in each, in bytes. */
async function turnsOf(readers: Reader[]): Promise<number[]> {
  const turns: number[] = []
  const bytesOf = (): number => readers.flatMap(({ chunks }) => chunks).join('').length / 2
  while (readers.some(({ socket }) => socket.readableLength + socket.writableLength > 0)) {
    const before = bytesOf()
    await settled()
    if (bytesOf() > before) turns.push(bytesOf() - before)
  }
  return turns
}

test('a device with much to be read is read in turns, over all its connections, and another at once (G7)', async () => {
  const connections = createConnections(limits, parts)
  const greedy = [1, 2, 3, 4].map(() => reader(connections, 'a1'))
  const other = reader(connections, 'a2')
  const pings = Buffer.concat(Array.from({ length: 2000 }, () => ping))
  for (const { socket } of greedy) socket.write(pings)
  await settled()
  expect(greedy.reduce((sum, { socket }) => sum + socket.readableLength, 0)).toBeGreaterThan(3 * pings.length)
  other.socket.write(ping)
  await settled()
  expect(other.chunks).toEqual(['c000'])
  const turns = await turnsOf(greedy)
  // 32 KiB of cost, and each PINGREQ is 66 of it.
  expect(Math.max(...turns)).toBeLessThanOrEqual(2 * Math.ceil(32_768 / 66) * 2)
  expect(turns.length).toBeGreaterThan(8)
  for (const { chunks } of greedy) expect(chunks.join('')).toBe(pings.toString('hex'))
})

test('a stream that ends while its device waits for its turn is read to its end (G7)', async () => {
  const { socket, chunks } = reader(createConnections(limits, parts), 'a1')
  const pings = Buffer.concat(Array.from({ length: 2000 }, () => ping))
  const ended = new Promise((resolve) => socket.once('end', resolve))
  socket.end(pings)
  await ended
  expect(chunks.join('')).toBe(pings.toString('hex'))
})

test('publishes are expected to cost as much at their subscribers as the one before (G7)', async () => {
  const { socket, connection, chunks } = reader(
    createConnections({ ...limits, packetBytesMax: 100_000 }, parts),
    'a1',
  )
  const one = Buffer.from('30050001617878', 'hex')
  const many = Buffer.concat(Array.from({ length: 40 }, () => one))
  connection.noteFanOut(30_000)
  await settled()
  await settled()
  chunks.length = 0
  socket.write(many)
  const turns: number[] = []
  while (chunks.join('').length < 2 * many.length) {
    const before = chunks.join('').length
    await settled()
    if (chunks.join('').length > before) turns.push((chunks.join('').length - before) / 2 / one.length)
  }
  expect(Math.max(...turns)).toBeLessThanOrEqual(2)
})

test('whatever the mix and the order, a device is charged with what its publishes have cost at subscribers (G7)', async () => {
  const connections = createConnections({ ...limits, packetBytesMax: 100_000 }, parts)
  const dear = reader(connections, 'a1')
  const other = reader(connections, 'a2')
  const one = Buffer.from('30050001617878', 'hex')
  const reads = (of: Reader): number => of.chunks.join('').length / 2 / one.length
  dear.socket.write(Buffer.concat(Array.from({ length: 4000 }, () => one)))
  other.socket.write(Buffer.concat(Array.from({ length: 4000 }, () => one)))
  let settledOf = 0
  while (reads(other) < 3000) {
    await settled()
    // Every publish but the last of a read is sent to very many.
    for (const until = reads(dear); settledOf < until; settledOf += 1)
      dear.connection.noteFanOut(settledOf < until - 1 ? 30_000 : 0)
  }
  // The other's 3000 cost some 2 million of a turn's units: 70 such publishes.
  expect(reads(dear)).toBeLessThan(150)
})
