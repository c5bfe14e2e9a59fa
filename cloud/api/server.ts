import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import type { Clock } from '../../src/clock.ts'
import { atMost } from '../../src/lifecycle.ts'
import { listen } from '../../src/listen.ts'
import type { KeyPair } from '../../src/tls-files.ts'
import type { Origin } from './app.ts'
import { listenOnSocket } from './socket.ts'

/** Everything is bounded (G7): time and bytes of a request, and how many there are. */
const bounds = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 10_000,
  maxHeaderSize: 16_384,
  connectionsCheckingInterval: 5_000,
} as const
const headersMax = 100
const requestsPerConnectionMax = 10_000
/** What is under way at the end gets so long. */
const graceMs = 5_000
/** And then so long to be told that it was cut off. */
const farewellMs = 1_000

export interface Listening {
  readonly server: Server | TlsServer
  /** Takes nothing new, answers what is under way, then ends every connection. Idempotent. */
  close(): Promise<void>
}

interface Common {
  app: Hono
  connectionsMax: number
  cutOff: AbortController
  clock: Clock
}

/** @throws TidegateError `PORT_TAKEN`, `LISTEN_FAILED` */
export async function listenOnPort({
  app,
  connectionsMax,
  cutOff,
  clock,
  pair,
  host,
  port,
}: Common & { pair: KeyPair | undefined; host: string; port: number }): Promise<
  Listening & { port: number }
> {
  const listener = listenerOf(app)
  const server = pair
    ? createTlsServer(
        { ...bounds, handshakeTimeout: 10_000, cert: pair.cert, key: pair.key, minVersion: 'TLSv1.2' },
        listener,
      )
    : createServer(bounds, listener)
  bound(server, connectionsMax)
  await listen(server, port, host, 'the API')
  return { server, port: (server.address() as AddressInfo).port, close: closing(server, cutOff, clock) }
}

/** @throws TidegateError `API_SOCKET_REFUSED`, `API_SOCKET_TAKEN` */
export async function listenLocally({
  app,
  connectionsMax,
  cutOff,
  clock,
  path,
}: Common & { path: string }): Promise<Listening> {
  const server = createServer(bounds, listenerOf(app))
  bound(server, connectionsMax)
  await listenOnSocket(server, path)
  return { server, close: closing(server, cutOff, clock) }
}

function listenerOf(app: Hono): RequestListener {
  // Request and Response of this process stay those of Node.
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false })
  return (request, response) => void listener(request, response)
}

/** What the listener hands to the app of where a request comes from. */
export function addressOf(bindings: unknown): Origin['address'] {
  const { incoming } = bindings as { incoming?: { socket?: { remoteAddress?: string } } }
  return incoming?.socket?.remoteAddress ?? ''
}

function bound(server: Server | TlsServer, connectionsMax: number): void {
  server.maxConnections = connectionsMax
  server.maxHeadersCount = headersMax
  server.maxRequestsPerSocket = requestsPerConnectionMax
  // A connection that breaks is nothing that anybody here could mend.
  server.on('clientError', (_, socket) => socket.destroy())
}

function closing(server: Server | TlsServer, cutOff: AbortController, clock: Clock): () => Promise<void> {
  let closed: Promise<void> | undefined
  return () =>
    (closed ??= (async () => {
      const ended = new Promise<void>((done) => server.close(() => done()))
      server.closeIdleConnections()
      await atMost(ended, graceMs, clock)
      cutOff.abort()
      await atMost(ended, farewellMs, clock)
      server.closeAllConnections()
      await ended
    })())
}
