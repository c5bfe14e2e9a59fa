import { constants, X509Certificate } from 'node:crypto'
import type { AddressInfo, Socket } from 'node:net'
import {
  createServer,
  type PeerCertificate,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import { listen } from '../../src/listen.ts'
import { claimedName, type ConnectionRefusal, handshakeRefusal, identify } from './identity.ts'
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
  handshakeTimeoutMs: number
  clock: Clock
}

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
  await listen(entrance.server, options.port, options.host, 'the MQTT listener')
  return entrance
}

class Entrance implements Listener {
  readonly server: Server
  readonly #options: ListenerOptions
  /** Those whose identity is known, by device. */
  readonly #ofDevice = new Map<string, number>()
  #established = 0
  readonly #standing: Standing
  /** Half made ones too. */
  readonly #sockets = new Set<Socket>()

  constructor(options: ListenerOptions) {
    this.#options = options
    const { trust, clock } = options
    this.#standing = new Standing({ trust: () => trust.inForce, stale: trust.stale, clock })
    this.server = createServer({
      ...contextOf(trust),
      requestCert: true,
      // Node looks at what the check of the certificate has found when the handshake is over, and knows then whose it was, which
      // it does not tell. So it is looked at here: `#identified`.
      rejectUnauthorized: false,
      handshakeTimeout: options.handshakeTimeoutMs,
      // A device that lost its power never says goodbye, and what it leaves open counts against its connections.
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    })
    // Node drops what is over before the handshake: a flood of handshakes must not cost more than it may.
    this.server.maxConnections = options.connectionsMax
    this.server.on('drop', (about) => this.#dropped(about?.remoteAddress ?? 'unknown'))
    this.server.on('connection', (socket: Socket) => this.#arrived(socket))
    this.server.on('tlsClientError', (error, socket) => this.#failed(error, socket))
    this.server.on('secureConnection', (socket) => this.#identified(socket))
    trust.watch({
      reloaded: (result) => {
        // First of all, and whatever becomes of what is shown to those who come.
        this.#standing.review()
        options.onReloaded(result)
        this.server.setSecureContext(contextOf(trust))
      },
      passed: () => this.#standing.pass(),
    })
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  close(): void {
    this.server.close()
  }

  end(): void {
    this.server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #dropped(address: string): void {
    const detail = `${this.#options.connectionsMax} connections are open`
    this.#options.onRefused('connections-max', { detail, address })
  }

  #arrived(socket: Socket): void {
    // Once asked for, Node remembers the address: a socket that was reset no longer knows it.
    void socket.remoteAddress
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #failed(error: Error, socket: TLSSocket): void {
    const reason = handshakeRefusal(codeOf(error))
    this.#options.onRefused(reason, { detail: oneLine(messageOf(error)), address: addressOf(socket) })
    socket.destroy()
  }

  #identified(socket: TLSSocket): void {
    // Until the broker listens, a reset must not be an unhandled error.
    socket.on('error', () => {})
    const address = socket.remoteAddress ?? 'unknown'
    const certificate = socket.getPeerCertificate()
    const identity = identify(certificate, verificationOf(socket))
    if (!identity.ok) {
      const { reason, detail } = identity
      this.#options.onRefused(reason, { detail, address, ...claim(certificate) })
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

/**
 * No session is resumed: its ticket would let in whoever has once been let in, without a certificate that is looked at. It would
 * save a device two milliseconds of CPU at both ends, and its certificates on the wire.
 */
function contextOf({ inForce: { cas, pair } }: Pick<Trust, 'inForce'>): SecureContextOptions {
  const { cert, key } = pair
  return { ca: cas.ca, cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET }
}

/** What the check of the certificate has found; undefined: it was accepted. */
function verificationOf(socket: TLSSocket): string | undefined {
  // Typed as an Error, in fact a code such as CERT_HAS_EXPIRED.
  return socket.authorized ? undefined : String(socket.authorizationError)
}

function claim(certificate: PeerCertificate): { claimed?: string } {
  const claimed = claimedName(certificate)
  return claimed === undefined ? {} : { claimed }
}

/** Where a failed handshake came from: the TLS socket has forgotten it, the socket under it has not. */
function addressOf(socket: TLSSocket & { _parent?: Socket }): string {
  return socket.remoteAddress ?? socket._parent?.remoteAddress ?? 'unknown'
}

/** OpenSSL's errors come as `<thread>:error:<number>:<library>:<function>:<reason>:<file>:<line>:`. */
function oneLine(detail: string): string {
  return /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(detail)?.[1] ?? detail.trim()
}
