import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startLink, type Link } from '../../../dev/stack/link.ts'

let echo: Server
let link: Link
let clients: Socket[]

beforeEach(async () => {
  clients = []
  echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket))
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  link = await startLink({ target: { host: '127.0.0.1', port: (echo.address() as AddressInfo).port } })
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await link.close()
  await new Promise((resolve) => echo.close(resolve))
})

function dialling(through = link): Socket {
  const socket = connect({ host: through.host, port: through.port })
  clients.push(socket)
  socket.on('error', () => undefined)
  return socket
}

async function dial(through = link): Promise<Socket> {
  const socket = dialling(through)
  await once(socket, 'connect')
  return socket
}

/** Resolves with the code of the error that ended the connection. */
async function reset(socket: Socket): Promise<string | undefined> {
  let code: string | undefined
  socket.once('error', (error: NodeJS.ErrnoException) => (code = error.code))
  await new Promise((resolve) => socket.once('close', resolve))
  return code
}

async function receive(socket: Socket, bytes: number): Promise<string> {
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk)
    if (text.length >= bytes) break
  }
  return text
}

test('passes bytes both ways while it is up', async () => {
  const socket = await dial()
  socket.write('over and back')
  expect(await receive(socket, 13)).toBe('over and back')
})

test('passes the end of a connection on, after its last byte', async () => {
  const socket = await dial()
  socket.end('the last words')
  expect(await receive(socket, 14)).toBe('the last words')
  await once(socket, 'close')
})

test('resets connections and new ones while it is down, and serves again when it is up', async () => {
  const before = await dial()
  before.write('x')
  await receive(before, 1)
  const cut = reset(before)
  link.set({ kind: 'down' })
  expect(await cut).toBe('ECONNRESET')
  expect(await reset(dialling())).toBe('ECONNRESET')

  link.set({ kind: 'up' })
  const after = await dial()
  after.write('again')
  expect(await receive(after, 5)).toBe('again')
})

test('a stalled link passes nothing, keeps its connections, and delivers what it held back afterwards', async () => {
  const socket = await dial()
  socket.write('a')
  await receive(socket, 1)
  link.set({ kind: 'stalled' })
  let early = ''
  const listener = (chunk: Buffer): void => void (early += String(chunk))
  socket.on('data', listener)
  socket.write('held back')
  // A round trip on another link: had the first passed anything, it would be here by now.
  const target = { host: '127.0.0.1', port: (echo.address() as AddressInfo).port }
  const witness = await startLink({ target })
  const other = await dial(witness)
  other.write('y')
  await receive(other, 1)
  await witness.close()
  expect(socket.destroyed).toBe(false)
  expect(early).toBe('')
  socket.off('data', listener)
  socket.pause()

  link.set({ kind: 'up' })
  expect(await receive(socket, 9)).toBe('held back')
})

test('a slow link delays by its latency each way and holds its rate, in order', async () => {
  link.set({ kind: 'slow', latencyMs: 50, bytesPerSecond: 100_000 })
  const socket = await dial()
  const startedAt = performance.now()
  const sent = Array.from({ length: 2000 }, (_, index) => String(index).padStart(10, '.')).join('')
  socket.write(sent)
  expect(await receive(socket, sent.length)).toBe(sent)
  // 20,000 bytes at 100 kB/s are 200 ms, the second direction works while the first does; twice 50 ms latency.
  expect(performance.now() - startedAt).toBeGreaterThan(280)
})

test('a broker that is gone is a reset, not a silence', async () => {
  await new Promise((resolve) => echo.close(resolve))
  expect(await reset(dialling())).toBe('ECONNRESET')
  echo = createServer().listen()
})
