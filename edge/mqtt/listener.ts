import { constants, X509Certificate } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import { listen } from '../../src/listen.ts'
import { Handshakes, type Place } from './handshakes.ts'
import { claimOf, type ConnectionRefusal, handshakeRefusal, identify } from './identity.ts'
import { type Credential, credentialOf, sentMax, sentWith } from './trust/credential.ts'
import { Standing } from './trust/standing.ts'
import type { ReloadResult, Trust } from './trust/trust.ts'

/** What is configured of the entrance. */
export interface EntranceOptions {
  host: string
  /** 0: any free port. */
  port: number
  trust: Pick<Trust, 'inForce' | 'stale' | 'watch'>
  connectionsMax: number
  connectionsPerDeviceMax: number
  /** Connections of which nobody knows yet whose they are, besides `connectionsMax`. */
  handshakesMax: number
  handshakeTimeoutMs: number
  clock: Clock
  random: () => number
}

/** A ClientHello is longer. */
const handshakeBytesMin = 64

export interface ListenerOptions extends EntranceOptions {
  /** A device whose certificate was verified and whose identity is known. */
  onConnection(socket: TLSSocket, deviceId: string): void
  onRefused(reason: ConnectionRefusal, about: RefusedConnection): void
  onCount(open: number): void
  onReloaded(result: ReloadResult): void
}

export interface RefusedConnection {
  detail: string
  address: string
  deviceId?: string
  /** The name in a certificate that was not accepted: anybody can write it into one. */
  claimed?: string
}

export interface Listener {
  readonly port: number
  /** No new connections; those that are open stay. */
  close(): void
  /** Ends those that are left, half made ones too. */
  end(): void
}

/**
 * The entrance: TLS 1.2 or later with a client certificate from our CA, one identity per connection, and no more
 * connections than are allowed (G7).
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED`
 */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const entrance = new Entrance(options)
  await listen(entrance.gate, options.port, options.host, 'the MQTT listener')
  return entrance
}

class Entrance implements Listener {
  /** Who comes; and TLS with those that there is a place for. */
  readonly gate: Server
  readonly #server: TlsServer
  readonly #handshakes: Handshakes
  readonly #options: ListenerOptions
  /** Those whose identity is known, by device. */
  readonly #ofDevice = new Map<string, number>()
  #established = 0
  readonly #standing: Standing
  /** Half made ones too. */
  readonly #sockets = new Set<Socket>()
  /** Of each that is in its handshake. */
  readonly #placeOf = new WeakMap<Socket, Place>()
  readonly #turnedAway = new WeakSet<Socket>()
  /** Those whose handshake has not begun yet. */
  readonly #toBegin: Socket[] = []
  #isBeginning = false

  constructor(options: ListenerOptions) {
    this.#options = options
    const { trust, clock } = options
    this.#standing = new Standing({ trust: () => trust.inForce, stale: trust.stale, clock })
    this.#handshakes = new Handshakes({
      max: options.handshakesMax,
      monotonicMs: () => clock.monotonicMs(),
      random: options.random,
    })
    // A device that lost its power never says goodbye, and what it leaves open counts against its connections.
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: 60_000 }
    this.gate = createServer(keepAlive, (socket) => this.#arrived(socket))
    this.#server = createTlsServer({
      ...contextOf(trust),
      requestCert: true,
      // Node looks at what the check of the certificate has found when the handshake is over, and knows then whose it was, which
      // it does not tell. So it is looked at here: `#identified`.
      rejectUnauthorized: false,
      handshakeTimeout: options.handshakeTimeoutMs,
    })
    this.#server.on('tlsClientError', (error, socket) => this.#failed(error, socket))
    this.#server.on('secureConnection', (socket) => this.#identified(socket))
    trust.watch({
      reloaded: (result) => {
        // First of all, and whatever becomes of what is shown to those who come.
        this.#standing.review()
        options.onReloaded(result)
        this.#server.setSecureContext(contextOf(trust))
      },
      passed: () => this.#standing.pass(),
    })
  }

  get port(): number {
    return (this.gate.address() as AddressInfo).port
  }

  close(): void {
    this.gate.close()
  }

  end(): void {
    this.gate.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** A connection for which there is no place costs no handshake. */
  #arrived(socket: Socket): void {
    // Once asked for, Node remembers the address: a socket that was reset no longer knows it.
    const address = socket.remoteAddress ?? 'unknown'
    socket.on('error', () => {})
    const { connectionsMax, handshakesMax } = this.#options
    if (this.#established >= connectionsMax)
      return this.#turnAway(socket, 'connections-max', `${connectionsMax} connections are open`)
    const place = this.#handshakes.enter({
      address,
      hasSpoken: () => socket.bytesRead >= handshakeBytesMin,
      displace: () => {
        const detail = `${handshakesMax} connections are in their handshake, most of them of this source, and it had not finished its own`
        this.#turnAway(socket, 'handshake-displaced', detail)
      },
    })
    if (!place) {
      const detail = `${handshakesMax} connections are in their handshake, most of them of this source`
      return this.#turnAway(socket, 'handshakes-max', detail)
    }
    this.#sockets.add(socket)
    this.#placeOf.set(socket, place)
    socket.once('close', () => {
      place.leave()
      this.#sockets.delete(socket)
    })
    this.#toBegin.push(socket)
    if (!this.#isBeginning) this.#begin()
  }

  /**
   * One handshake in a turn of the event loop: each costs a signature, and those who are let in have theirs to do between two (G7).
   */
  #begin(): void {
    let socket = this.#toBegin.shift()
    while (socket?.destroyed) socket = this.#toBegin.shift()
    this.#isBeginning = socket !== undefined
    if (!socket) return
    setImmediate(() => this.#begin())
    this.#placeOf.get(socket)?.begins()
    this.#server.emit('connection', socket)
  }

  #turnAway(socket: Socket, reason: ConnectionRefusal, detail: string): void {
    this.#turnedAway.add(socket)
    this.#options.onRefused(reason, { detail, address: socket.remoteAddress ?? 'unknown' })
    socket.destroy()
  }

  #failed(error: Error, socket: Wrapped): void {
    // It was told already why.
    if (socket._parent && this.#turnedAway.has(socket._parent)) return
    const reason = handshakeRefusal(codeOf(error))
    this.#options.onRefused(reason, { detail: oneLine(messageOf(error)), address: addressOf(socket) })
    socket.destroy()
  }

  #identified(socket: Wrapped): void {
    if (socket._parent) this.#placeOf.get(socket._parent)?.leave()
    // Until the broker listens, a reset must not be an unhandled error.
    socket.on('error', () => {})
    const address = socket.remoteAddress ?? 'unknown'
    const certificate = socket.getPeerCertificate()
    const identity = identify(certificate, verificationOf(socket))
    if (!identity.ok) {
      const { reason, detail } = identity
      this.#options.onRefused(reason, { detail, address, ...claimOf(certificate) })
      socket.destroy()
      return
    }
    const { deviceId } = identity
    const credential = this.#vouchedFor(
      socket,
      { deviceId, leaf: new X509Certificate(certificate.raw) },
      address,
    )
    if (credential === undefined) return
    const open = this.#ofDevice.get(deviceId) ?? 0
    if (open >= this.#options.connectionsPerDeviceMax) {
      const detail = `the device has ${open} connections open`
      this.#options.onRefused('connections-per-device-max', { detail, address, deviceId })
      socket.destroy()
      return
    }
    const { connectionsMax } = this.#options
    if (this.#established >= connectionsMax) {
      const detail = `${connectionsMax} connections are open`
      this.#options.onRefused('connections-max', { detail, address, deviceId })
      socket.destroy()
      return
    }
    this.#count(socket, deviceId)
    this.#standing.enter(socket, credential)
    socket.setNoDelay(true)
    this.#options.onConnection(socket, deviceId)
  }

  /**
   * OpenSSL has found nothing against the certificate; what its CA or we have taken back since is looked at here, for every
   * connection. Its own check of lists has one answer for a list out of date, whoever it is about, and that hides every other.
   * What a client sends with its certificate is looked at where nothing of ours that is valid leads up from it, since Node loses native memory with each
   * of these (300 KiB with eight of 10 KiB), and strangers write what they like into them.
   */
  #vouchedFor(
    socket: TLSSocket,
    { deviceId, leaf }: { deviceId: string; leaf: X509Certificate },
    address: string,
  ): Credential | undefined {
    const { authorities } = this.#options.trust.inForce.cas
    let credential = credentialOf({ leaf, sent: [] }, deviceId, authorities)
    let fault = this.#standing.faultOf(credential)
    if (fault?.reason === 'unknown-ca' || fault?.reason === 'expired-certificate') {
      const shown = socket.getPeerX509Certificate()
      const sent = shown ? sentWith(shown) : []
      if (sent.length > sentMax) fault.detail = `it sent more than ${sentMax} certificates with its own`
      else {
        credential = credentialOf({ leaf, sent }, deviceId, authorities)
        fault = this.#standing.faultOf(credential)
      }
    }
    if (fault === undefined) return credential
    const { reason, detail } = fault
    this.#options.onRefused(reason, { detail, address, deviceId })
    socket.destroy()
    return undefined
  }

  #count(socket: Socket, deviceId: string): void {
    this.#ofDevice.set(deviceId, (this.#ofDevice.get(deviceId) ?? 0) + 1)
    this.#options.onCount(++this.#established)
    socket.once('close', () => {
      this.#options.onCount(--this.#established)
      const left = (this.#ofDevice.get(deviceId) ?? 1) - 1
      if (left > 0) this.#ofDevice.set(deviceId, left)
      else this.#ofDevice.delete(deviceId)
    })
  }
}

/** No session is resumed: its ticket lets in whoever has once been let in, without a look at a certificate, to save 2 ms of CPU at both ends. */
function contextOf({ inForce: { cas, pair } }: Pick<Trust, 'inForce'>): SecureContextOptions {
  const { cert, key } = pair
  return { ca: cas.ca, cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET }
}

/** What the check of the certificate has found; undefined: it was accepted. */
function verificationOf(socket: TLSSocket): string | undefined {
  // Typed as an Error, in fact a code such as CERT_HAS_EXPIRED.
  return socket.authorized ? undefined : String(socket.authorizationError)
}

/** With the socket under it, which its types do not have. */
type Wrapped = TLSSocket & { _parent?: Socket }

/** Where a failed handshake came from: the TLS socket has forgotten it, the socket under it has not. */
function addressOf(socket: Wrapped): string {
  return socket.remoteAddress ?? socket._parent?.remoteAddress ?? 'unknown'
}

/** OpenSSL's errors come as `<thread>:error:<number>:<library>:<function>:<reason>:<file>:<line>:`. */
function oneLine(detail: string): string {
  return /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(detail)?.[1] ?? detail.trim()
}
