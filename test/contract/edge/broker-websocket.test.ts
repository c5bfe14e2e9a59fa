import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { ListenerOptions } from '../../../edge/mqtt/entrance/gate.ts'
import { connect, packet, publish } from '../../support/edge/mqtt-bytes.ts'
import { type TestBroker, type TestBrokerOptions, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
const webSocket = { path: '/mqtt', origins: ['https://app.example'] }
const byCertificate: ListenerOptions = {
  host: '127.0.0.1',
  port: 0,
  auth: 'certificate',
  tls: true,
  webSocket,
}
const inClear: ListenerOptions = { host: '127.0.0.1', port: 0, auth: 'password', tls: false, webSocket }

interface Place extends TestBroker {
  /** Opens a WebSocket of the device a1. */
  open: (path?: string, protocols?: string[], headers?: Record<string, string>) => Promise<WebSocket>
  clearPort: number
}

async function startBoth(given: TestBrokerOptions = {}): Promise<Place> {
  const broker = await start({ listeners: [byCertificate, inClear], ...given })
  const [, port, clearPort] = broker.broker.ports as [number, number, number]
  const tls = await pki.device('a1')
  return {
    ...broker,
    clearPort,
    async open(path = '/mqtt', protocols = ['mqtt'], headers = {}) {
      const socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, protocols, { ...tls, headers })
      socket.on('error', () => {})
      await new Promise<void>((resolve, reject) => {
        socket.once('open', resolve)
        socket.once('error', reject)
      })
      return socket
    },
  }
}

/** The packets that come, as one text. */
function received(socket: WebSocket): { text: () => string; until: (length: number) => Promise<string> } {
  let bytes = ''
  socket.on('message', (data: Buffer) => (bytes += data.toString('hex')))
  return {
    text: () => bytes,
    async until(length) {
      while (bytes.length < length) await once(socket, 'message')
      return bytes
    },
  }
}

const event = (packetId: number): Buffer =>
  publish('devices/a1/events/com.acme.flow', `{"number":${packetId}}`, 1, packetId)

test('packets are read wherever the messages that carry them begin and end [MQTT-6.0.0-2]', async () => {
  const { open, outbox } = await startBoth()
  const socket = await open()
  expect(socket.protocol).toBe('mqtt')
  const answers = received(socket)
  const all = Buffer.concat([connect({ clientId: 'one' }), event(1), event(2), event(3)])
  for (let at = 0; at < all.length; at += 7) socket.send(all.subarray(at, at + 7))
  expect(await answers.until(32)).toBe('20020000400200014002000240020003')
  socket.send(Buffer.concat([event(4), event(5)]))
  expect((await answers.until(48)).slice(32)).toBe('4002000440020005')
  expect(outbox.stored.map(({ event: { data } }) => (data as { number: number }).number)).toEqual([
    1, 2, 3, 4, 5,
  ])
  socket.terminate()
})

test('a message of text ends the connection [MQTT-6.0.0-1]', async () => {
  const { open, seen, when } = await startBoth()
  const socket = await open()
  const answers = received(socket)
  socket.send(connect({ clientId: 'one' }))
  await answers.until(8)
  socket.send('text')
  await once(socket, 'close')
  await when(({ ended }) => ended.length > 0)
  expect(seen.ended).toEqual(['text-message'])
})

test('a message that is longer than a packet may be is not read to its end, and ends the connection (G7)', async () => {
  const { open, when, seen } = await startBoth()
  const socket = await open()
  const answers = received(socket)
  socket.send(connect({ clientId: 'one' }))
  await answers.until(8)
  const [code] = (await Promise.all([
    once(socket, 'close'),
    new Promise<void>((resolve) => {
      // More than one would read by chance, and no end.
      socket.send(Buffer.alloc(8192), { fin: false, compress: false }, () => resolve())
    }),
  ]).then(([closing]) => closing)) as [number]
  expect([1009, 1006]).toContain(code)
  await when(({ connections }) => connections === 0)
  expect(seen.connections).toBe(0)
})

test.each([
  ['another path', '/other', ['mqtt'], {}, 404],
  ['another subprotocol', '/mqtt', ['chat', 'mqttv3.1'], {}, 400],
  ['no subprotocol', '/mqtt', [], {}, 400],
  ['a page of another origin', '/mqtt', ['mqtt'], { origin: 'https://evil.example' }, 403],
  ['headers beyond 8 KiB', '/mqtt', ['mqtt'], { cookie: 'x'.repeat(9000) }, 400],
] as const)(
  'a request with %s is refused, and its client told',
  async (_, path, protocols, headers, status) => {
    const { open, seen, when } = await startBoth()
    await expect(open(path, [...protocols], headers)).rejects.toThrow(`Unexpected server response: ${status}`)
    await when(({ refused }) => refused.length > 0)
    expect(seen.refused).toEqual(['websocket'])
    expect(seen.connections).toBe(0)
  },
)

test('a page of an origin that was named is let in, with a query behind the path', async () => {
  const { open } = await startBoth()
  const socket = await open('/mqtt?x=1', ['chat', 'mqtt'], { origin: 'https://app.example' })
  expect(socket.protocol).toBe('mqtt')
  socket.terminate()
})

/** Writes what is given, and gives what comes until the connection ends. */
async function ask(port: number, ...parts: string[]): Promise<string> {
  const socket: Socket = connectTcp({ port, host: '127.0.0.1' })
  let answer = ''
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
  for (const part of parts) socket.write(part)
  await once(socket, 'close')
  return answer
}

test('what is no upgrade is answered as such, and ended', async () => {
  const { clearPort, when } = await startBoth()
  expect(await ask(clearPort, 'GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1.1 426 /)
  expect(await ask(clearPort, 'nothing that is HTTP\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /)
  expect(
    await ask(
      clearPort,
      'GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: no\r\nSec-WebSocket-Version: 13\r\n\r\n',
    ),
  ).toMatch(/^HTTP\/1.1 400 /)
  await when(({ refused }) => refused.length === 3)
})

test('who sends a request that has no end is gone when its time is over, and takes nobody’s place (G7)', async () => {
  const options = { handshakeTimeoutMs: 100, connectionsMax: 1, handshakesMax: 10 }
  const { clearPort, connect: enter, seen, when } = await startBoth({ options })
  const slow = Promise.all(
    Array.from({ length: 5 }, () => ask(clearPort, 'GET /mqtt HTTP/1.1\r\nHost: x\r\n', 'X-Slow: 1\r\n')),
  )
  const client = await enter(await pki.device('a1'))
  expect(client.connected).toBe(true)
  expect(await slow).toEqual(['', '', '', '', ''])
  await when(({ refused }) => refused.length === 5)
  expect(new Set(seen.refused)).toEqual(new Set(['no-connect']))
})

test('who pings and reads nothing back makes nothing wait in memory; who reads has an answer (G7)', async () => {
  const { open } = await startBoth()
  const socket = await open()
  const pong = once(socket, 'pong')
  socket.ping('here')
  expect(String((await pong)[0])).toBe('here')

  const answers = received(socket)
  socket.send(connect({ clientId: 'one' }))
  await answers.until(8)
  let pongs = 0
  socket.on('pong', () => (pongs += 1))
  socket.pause()
  // More than two kernels hold in both ways.
  const pings = 200_000
  const content = Buffer.alloc(125)
  for (let sent = 0; sent < pings; sent += 1) {
    if (sent % 1000 < 999) socket.ping(content, true, () => {})
    else
      await new Promise<void>((resolve) => {
        socket.ping(content, true, () => resolve())
      })
  }
  socket.resume()
  // Its answer comes behind all that waited.
  socket.send(packet(0xc0))
  await answers.until(12)
  expect(pongs).toBeGreaterThan(0)
  expect(pongs).toBeLessThan(pings)
  socket.terminate()
})

test('a message that has no end is not kept of somebody whom nobody knows (G7)', async () => {
  const { clearPort, seen, when } = await startBoth({ options: { packetBytesMax: 1 << 24 } })
  const socket = new WebSocket(`ws://127.0.0.1:${clearPort}/mqtt`, 'mqtt')
  socket.on('error', () => {})
  await once(socket, 'open')
  socket.send(Buffer.alloc(1 << 20), () => {})
  await once(socket, 'close')
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual(['no-connect'])
  expect(JSON.stringify(seen.logs)).toContain('before it was known whose they are')
})

test('of the pings of somebody whom nobody knows a few are answered, and who is refused then is gone (G7)', async () => {
  const { clearPort, seen, when } = await startBoth()
  const socket = new WebSocket(`ws://127.0.0.1:${clearPort}/mqtt`, 'mqtt')
  socket.on('error', () => {})
  let pongs = 0
  socket.on('pong', () => (pongs += 1))
  const answers = received(socket)
  await once(socket, 'open')
  for (let sent = 0; sent < 1000; sent += 1) socket.ping(Buffer.alloc(125))
  socket.send(connect({ clientId: 'one' }))
  await once(socket, 'close')
  expect(answers.text()).toBe('20020004')
  expect(pongs).toBe(16)
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual(['no-password'])
})
