import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../../src/clock.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import type { AuthMethod } from '../../../src/contract/event.ts'
import type { Derive } from '../../users/password.ts'
import type { Credential, PasswordCredential } from '../trust/credential.ts'
import { CertificateCheck } from './certificate-check.ts'
import { type Parting, partWith } from './farewell.ts'
import { Seats } from './seats.ts'
import { afterBytes, type Upgraded } from './websocket-ws.ts'
import { Standing } from '../trust/standing.ts'
import type { ReloadResult, Trust } from '../trust/trust.ts'
import { Gate, type ListenerOptions, type Wrapped } from './gate.ts'
import { Handshakes, type Place } from './handshakes.ts'
import { type ConnectionRefusal, handshakeRefusal, opensslReason } from './identity.ts'
import { introduce } from './introduction.ts'
import { PasswordCheck } from './password-check.ts'
import { Refusal, type RefusedConnection } from './refusal.ts'

/** What is configured of the entrance. */
export interface EntranceOptions {
  /** One at the least; all of them share what stands below. */
  listeners: readonly ListenerOptions[]
  trust: Pick<Trust, 'inForce' | 'stale' | 'watch'>
  connectionsMax: number
  connectionsPerDeviceMax: number
  /** Connections of which nobody knows yet whose they are, besides `connectionsMax`. */
  handshakesMax: number
  handshakeTimeoutMs: number
  /** Of a packet, and so of one message of a WebSocket. */
  packetBytesMax: number
  clock: Clock
  random: () => number
  /** How passwords are looked at; default: scrypt. */
  derive?: Derive
}

/** A ClientHello is longer, and so is a request for an upgrade. */
const handshakeBytesMin = 64

/** Of a WebSocket, of which nobody knows yet whose it is: what its stream holds, what one read brings, and a CONNECT. */
const unknownBytesMax = 160 * 1024
const tooMuch = `it has sent more than ${unknownBytesMax} bytes before it was known whose they are`

/** A device that was let in. */
export interface Entered {
  deviceId: string
  authMethod: AuthMethod
}

export interface EntranceParts extends EntranceOptions {
  /** A device whose certificate or password was verified, and which has a place. */
  onConnection(stream: Duplex, entered: Entered): void
  onRefused(reason: ConnectionRefusal, about: RefusedConnection): void
  onCount(open: number): void
  onReloaded(result: ReloadResult): void
}

export interface Entrance {
  /** Of each listener, in their order. */
  readonly ports: readonly number[]
  /** No new connections; those that are open stay. */
  close(): void
  /** Ends those that are left, half made ones too. */
  end(): void
}

/**
 * The entrance, with all its listeners: one identity per connection, proven by a client certificate from our CA or by a password, and no more
 * connections than are allowed (G7). Whichever way a device comes, it is the same device, and what it may have open is counted over all of them.
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED`
 */
export async function openEntrance(parts: EntranceParts): Promise<Entrance> {
  const entrance = new GuardedEntrance(parts)
  try {
    // One after the other: of two that want one port, the second is told.
    for (const gate of entrance.gates) await gate.listen()
  } catch (error) {
    entrance.end()
    throw error
  }
  return entrance
}

/** One that has arrived, until it is known whose it is. */
interface Visitor {
  gate: Gate
  place: Place
  address: string
}

class GuardedEntrance implements Entrance {
  readonly gates: readonly Gate[]
  readonly #parts: EntranceParts
  readonly #handshakes: Handshakes
  readonly #passwords: PasswordCheck
  readonly #standing: Standing
  readonly #certificates: CertificateCheck
  readonly #seats: Seats
  /** Half made ones too. */
  readonly #sockets = new Set<Socket>()
  /** Of each that is in its handshake. */
  readonly #visitors = new WeakMap<Socket, Visitor>()
  readonly #turnedAway = new WeakSet<Socket>()
  /** Those whose handshake has not begun yet. */
  readonly #toBegin: Socket[] = []
  #isBeginning = false

  constructor(parts: EntranceParts) {
    this.#parts = parts
    const { trust, clock } = parts
    this.#standing = new Standing({ trust: () => trust.inForce, stale: trust.stale, clock })
    this.#certificates = new CertificateCheck(trust, this.#standing)
    this.#seats = new Seats(parts)
    this.#passwords = new PasswordCheck({ ...parts, users: () => trust.inForce.users })
    this.#handshakes = new Handshakes({
      max: parts.handshakesMax,
      monotonicMs: () => clock.monotonicMs(),
      random: parts.random,
    })
    this.gates = parts.listeners.map((listener) => this.#gateAt(listener))
    trust.watch({
      reloaded: (result) => {
        // First of all, and whatever becomes of what is shown to those who come.
        this.#standing.review()
        parts.onReloaded(result)
        for (const gate of this.gates) gate.renew()
      },
      passed: () => this.#standing.pass(),
    })
  }

  get ports(): number[] {
    return this.gates.map(({ port }) => port)
  }

  close(): void {
    for (const gate of this.gates) gate.close()
  }

  end(): void {
    this.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #gateAt(listener: ListenerOptions): Gate {
    const { trust, handshakeTimeoutMs, packetBytesMax } = this.#parts
    const gate: Gate = new Gate({
      ...listener,
      trust,
      handshakeTimeoutMs,
      messageBytesMax: packetBytesMax,
      onArrived: (socket) => this.#arrived(socket, gate),
      onOpen: (transport, arrived) => void this.#opened(transport, arrived),
      onFailed: (error, socket) => this.#failed(error, socket),
    })
    return gate
  }

  /** A connection for which there is no place costs no handshake. */
  #arrived(socket: Socket, gate: Gate): void {
    // Once asked for, Node remembers the address: a socket that was reset no longer knows it.
    const address = socket.remoteAddress ?? 'unknown'
    socket.on('error', () => {})
    const { connectionsMax, handshakesMax } = this.#parts
    if (this.#seats.areAllTaken)
      return this.#turnAway(socket, 'connections-max', `${connectionsMax} connections are open`)
    const place = this.#handshakes.enter({
      address,
      hasSpoken: () => socket.bytesRead >= (gate.options.tls ? handshakeBytesMin : 1),
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
    this.#visitors.set(socket, { gate, place, address })
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
    const visitor = this.#visitors.get(socket)
    visitor?.place.begins()
    visitor?.gate.begin(socket)
  }

  /** One that was refused already, and whose end is due, is told of once. */
  #turnAway(socket: Socket, reason: ConnectionRefusal, detail: string): void {
    if (!this.#turnedAway.has(socket))
      this.#parts.onRefused(reason, { detail, address: socket.remoteAddress ?? 'unknown' })
    this.#turnedAway.add(socket)
    socket.destroy()
  }

  #failed(error: Error, socket: Wrapped): void {
    // It was told already why.
    if (socket._parent && this.#turnedAway.has(socket._parent)) return
    const reason = handshakeRefusal(codeOf(error))
    this.#parts.onRefused(reason, { detail: opensslReason(messageOf(error)), address: addressOf(socket) })
    socket.destroy()
  }

  /** TLS is over, where there is TLS: whose is it? Its place is its own until that is known. Never rejects. */
  async #opened(transport: Socket, arrived: Socket): Promise<void> {
    // Until the broker listens, a reset must not be an unhandled error.
    transport.on('error', () => {})
    const visitor = this.#visitors.get(arrived)
    if (!visitor) return void transport.destroy()
    const { gate, place, address } = visitor
    const over = new AbortController()
    arrived.once('close', () => over.abort())
    const deadline = gate.upgrades || gate.options.auth === 'password' ? this.#deadline(arrived) : undefined
    let stream: Duplex = transport
    let upgraded: Upgraded | undefined
    try {
      let shown: Credential | PasswordCredential | undefined
      if (gate.options.auth === 'certificate') shown = this.#certificates.shownBy(transport as TLSSocket)
      if (gate.upgrades) {
        upgraded = await gate.upgrades.upgrade(transport)
        stream = upgraded.stream
        stream.on('error', () => {})
      }
      // Of a WebSocket nothing is there to be read before a message is whole, which may be as long as a packet (G7).
      const stopCounting =
        shown || !gate.upgrades
          ? undefined
          : afterBytes(transport, unknownBytesMax, () => this.#turnAway(arrived, 'no-connect', tooMuch))
      shown ??= await introduce(stream, {
        passwords: this.#passwords,
        address,
        signal: over.signal,
        onConnect: () => deadline?.cancel(),
      })
      deadline?.cancel()
      stopCounting?.()
      if (over.signal.aborted) return
      this.#admit(transport, stream, shown)
      upgraded?.letIn()
      place.leave()
    } catch (error) {
      deadline?.cancel()
      // Its place is its own until its connection is closed: who does not read its answer is counted as long as it is there (G7).
      if (!this.#turnedAway.has(arrived)) this.#refused({ arrived, transport, stream }, address, error)
    }
  }

  /** For what stands between TLS and the broker, and is the client's to do. */
  #deadline(arrived: Socket): { cancel(): void } {
    const { clock, handshakeTimeoutMs } = this.#parts
    const timer = clock.after(handshakeTimeoutMs, () =>
      this.#turnAway(arrived, 'no-connect', `no CONNECT has come in ${handshakeTimeoutMs} ms`),
    )
    arrived.once('close', () => timer.cancel())
    return timer
  }

  #refused(
    connection: Pick<Parting, 'arrived' | 'transport' | 'stream'>,
    address: string,
    error: unknown,
  ): void {
    const refusal = error instanceof Refusal ? error : new Refusal('handshake-failed', messageOf(error))
    const { reason, message, about, returnCode } = refusal
    this.#turnedAway.add(connection.arrived)
    this.#parts.onRefused(reason, { detail: message, address, ...about })
    const answer = returnCode === undefined ? undefined : Buffer.of(0x20, 2, 0, returnCode)
    // The upgrade has answered for itself.
    partWith({ ...connection, answer, isAnswered: reason === 'websocket' }, this.#parts.clock)
  }

  /** @throws Refusal */
  #admit(transport: Socket, stream: Duplex, shown: Credential | PasswordCredential): void {
    const { deviceId } = shown
    const authMethod = 'leaf' in shown ? 'certificate' : 'password'
    // It has taken its time since it showed a password, or a certificate before an upgrade.
    const fault =
      stream === transport && authMethod === 'certificate' ? undefined : this.#standing.faultOf(shown)
    if (fault)
      throw new Refusal(fault.reason, fault.detail, {
        deviceId,
        ...(authMethod === 'password' && { returnCode: 5 }),
      })
    this.#seats.take(transport, deviceId, authMethod === 'password' ? { returnCode: 3 } : {})
    this.#standing.enter(stream, shown)
    transport.setNoDelay(true)
    this.#parts.onConnection(stream, { deviceId, authMethod })
  }
}

/** Where a failed handshake came from: the TLS socket has forgotten it, the socket under it has not. */
function addressOf(socket: Wrapped): string {
  return socket.remoteAddress ?? socket._parent?.remoteAddress ?? 'unknown'
}
