import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'
import { codeOf } from '../../../src/errors.ts'
import { PacketError } from '../door/violations.ts'
import { Refusal } from './refusal.ts'

export interface WebSocketOptions {
  /** Of the request, without a query. */
  path: string
  /** Pages that may connect, as `https://app.example`; a program sends no `Origin`. */
  origins: readonly string[]
}

export interface UpgradeOptions extends WebSocketOptions {
  /** Of one message; a packet may lie in several, and several in one [MQTT-6.0.0-2]. */
  messageBytesMax: number
}

/** The subprotocol of MQTT 3.1.1 [MQTT-6.0.0-3, MQTT-6.0.0-4]. */
const subprotocol = 'mqtt'

/** A request for an upgrade has some ten headers. */
const headerBytesMax = 8 * 1024
const headersMax = 50
/** What waits in the stream before the socket is paused, and in the socket before a pong is left out. */
const waitingBytesMax = 64 * 1024
/** Of pings of one that is not let in yet: what answers them goes into the kernel's buffers, whether it is read or not. */
const strangersPongsMax = 16

export interface Upgraded {
  stream: Duplex
  /** It is known whose it is: its pings are answered as long as it reads the answers. */
  letIn(): void
}

interface Awaited {
  resolve: (upgraded: Upgraded) => void
  reject: (refusal: Refusal) => void
}

/**
 * MQTT over WebSocket (MQTT 3.1.1, section 6; RFC 6455): makes a stream of bytes of a connection's binary messages, which the door then reads as
 * any other. Nothing is compressed, so that nothing grows; what is not read is not taken from the socket (G7).
 */
export class Upgrades {
  readonly #options: UpgradeOptions
  readonly #http: Server
  readonly #webSockets: WebSocketServer
  readonly #awaited = new WeakMap<Duplex, Awaited>()

  constructor(options: UpgradeOptions) {
    this.#options = options
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.messageBytesMax,
      // Each would wait in memory for a client that reads none.
      autoPong: false,
      handleProtocols: () => subprotocol,
    })
    this.#webSockets.on('wsClientError', (error, socket) => this.#refuse(socket, 400, error.message))
    this.#http = createServer({ maxHeaderSize: headerBytesMax, keepAlive: false })
    this.#http.maxHeadersCount = headersMax
    this.#http.on('request', ({ socket }) => this.#refuse(socket, 426, 'it asks for no WebSocket'))
    this.#http.on('clientError', (error, socket) =>
      this.#refuse(socket, 400, `no request of HTTP (${codeOf(error)})`),
    )
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** Never settles when the connection ends before. Rejects with a Refusal, which its client has been told. */
  upgrade(socket: Socket): Promise<Upgraded> {
    return new Promise((resolve, reject) => {
      this.#awaited.set(socket, { resolve, reject })
      this.#http.emit('connection', socket)
    })
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { path, origins } = this.#options
    const { origin } = request.headers
    if ((request.url ?? '').split('?')[0] !== path)
      return this.#refuse(socket, 404, `it asks for another path than ${path}`)
    // A browser shows its user's certificate for any page; only one that was named may use it.
    if (origin !== undefined && !origins.includes(origin))
      return this.#refuse(socket, 403, 'it is of a page that is not one of the origins of this listener')
    if (!offered(request).includes(subprotocol))
      return this.#refuse(socket, 400, `it does not offer the subprotocol ${subprotocol}`)
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#awaited.get(socket)?.resolve(upgradedOf(webSocket, socket))
    })
  }

  #refuse(socket: Duplex, status: number, detail: string): void {
    socket.on('error', () => {})
    const text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
    if (socket.writable) socket.end(text, () => socket.destroy())
    else socket.destroy()
    this.#awaited.get(socket)?.reject(new Refusal('websocket', detail))
  }
}

function offered({ headers }: IncomingMessage): string[] {
  return (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
}

function upgradedOf(webSocket: WebSocket, socket: Duplex): Upgraded {
  const stream = createWebSocketStream(webSocket, { readableHighWaterMark: waitingBytesMax })
  webSocket.prependListener('message', (_data, isBinary) => {
    if (!isBinary) stream.destroy(new PacketError('text-message', 'a message of text, and MQTT is binary'))
  })
  let pongsLeft = strangersPongsMax
  webSocket.on('ping', (data) => {
    // The last one alone has to be answered (RFC 6455, 5.5.3).
    if (pongsLeft > 0 && socket.writableLength < waitingBytesMax) webSocket.pong(data)
    pongsLeft -= 1
  })
  // The end is read when its socket is closed: there is nobody left who could be written to.
  stream.once('end', () => stream.destroy())
  return { stream, letIn: () => void (pongsLeft = Infinity) }
}

/** Calls back once more than so many bytes have come; gives what ends the counting. */
export function afterBytes(socket: Socket, bytesMax: number, onMore: () => void): () => void {
  let bytes = 0
  const count = (chunk: Buffer): void => {
    bytes += chunk.length
    if (bytes <= bytesMax) return
    stop()
    onMore()
  }
  const stop = (): void => void socket.off('data', count)
  socket.on('data', count)
  return stop
}
