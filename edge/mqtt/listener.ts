import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { codeOf, messageOf } from '../../src/errors.ts'
import { listen } from '../../src/listen.ts'
import { type ConnectionRefusal, handshakeRefusal, identify } from './identity.ts'

export interface ListenerOptions {
  host: string
  /** 0: any free port. */
  port: number
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
  connectionsMax: number
  connectionsPerDeviceMax: number
  handshakeTimeoutMs: number
  /** A device whose certificate was verified and whose identity is known. */
  onConnection(socket: TLSSocket, deviceId: string): void
  onRefused(reason: ConnectionRefusal, about: { detail: string; address: string; deviceId?: string }): void
  onCount(open: number): void
}

export interface Listener {
  readonly port: number
  /** No new connections; those that are open stay. */
  close(): void
  /** Ends those that are left, half made ones too. */
  end(): void
}

/**
 * The door: TLS 1.2 or later with a client certificate from our CA, one identity per connection, and no more
 * connections than are allowed (G7).
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED`
 */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const perDevice = new Map<string, number>()
  const sockets = new Set<Socket>()
  let established = 0

  const server = createServer({
    ...options.tls,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: options.handshakeTimeoutMs,
    // A device that lost its power never says goodbye, and what it leaves open counts against its connections.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  })

  // Node drops what is over before the handshake: a flood of handshakes must not cost more than it may.
  server.maxConnections = options.connectionsMax
  server.on('drop', (about) => {
    const address = about?.remoteAddress ?? 'unknown'
    options.onRefused('connections-max', {
      detail: `${options.connectionsMax} connections are open`,
      address,
    })
  })
  server.on('connection', (socket: Socket) => {
    // Asked for now, it is remembered: a socket that was reset no longer knows.
    void socket.remoteAddress
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })

  server.on('tlsClientError', (error, socket) => {
    // Typed as an Error, in fact a code such as CERT_HAS_EXPIRED, or null.
    const verification = socket.authorizationError as unknown as string | null
    const reason = handshakeRefusal(codeOf(error), verification)
    const detail = verification ? `certificate not accepted: ${verification}` : messageOf(error)
    options.onRefused(reason, { detail: oneLine(detail), address: addressOf(socket) })
    socket.destroy()
  })

  server.on('secureConnection', (socket) => {
    // Until the broker listens, a reset must not be an unhandled error.
    socket.on('error', () => {})
    const address = socket.remoteAddress ?? 'unknown'
    const identity = identify(socket.getPeerCertificate())
    if (!identity.ok) {
      options.onRefused(identity.reason, { detail: identity.detail, address })
      socket.destroy()
      return
    }
    const { deviceId } = identity
    const open = perDevice.get(deviceId) ?? 0
    if (open >= options.connectionsPerDeviceMax) {
      const detail = `the device has ${open} connections open`
      options.onRefused('connections-per-device-max', { detail, address, deviceId })
      socket.destroy()
      return
    }
    perDevice.set(deviceId, open + 1)
    options.onCount(++established)
    socket.once('close', () => {
      options.onCount(--established)
      const left = (perDevice.get(deviceId) ?? 1) - 1
      if (left > 0) perDevice.set(deviceId, left)
      else perDevice.delete(deviceId)
    })
    socket.setNoDelay(true)
    options.onConnection(socket, deviceId)
  })

  await listen(server, options.port, options.host, 'the MQTT listener')
  return {
    port: (server.address() as AddressInfo).port,
    close: () => void server.close(),
    end() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Where a failed handshake came from: the TLS socket has forgotten it, the socket under it has not. */
function addressOf(socket: TLSSocket & { _parent?: Socket }): string {
  return socket.remoteAddress ?? socket._parent?.remoteAddress ?? 'unknown'
}

/** OpenSSL's errors come as `<thread>:error:<number>:<library>:<function>:<reason>:<file>:<line>:`. */
function oneLine(detail: string): string {
  return /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(detail)?.[1] ?? detail.trim()
}
