import { constants } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls'
import { TidegateError } from '../../../src/errors.ts'
import { isEveryInterface, listen } from '../../../src/listen.ts'
import type { AuthMethod } from '../../../src/contract/event.ts'
import type { Trust } from '../trust/trust.ts'
import { Upgrades, type WebSocketOptions } from './websocket-ws.ts'

/** One place to listen at. */
export interface ListenerOptions {
  host: string
  /** 0: any free port. */
  port: number
  auth: AuthMethod
  /** Without it whoever is on the way reads passwords and readings. Never with `certificate`. */
  tls: boolean
  webSocket?: WebSocketOptions | undefined
}

/** How a listener is named wherever something is said of it. */
export function listenerName({ auth, tls, webSocket }: ListenerOptions): string {
  const over = webSocket ? (tls ? 'wss' : 'ws') : tls ? 'TLS' : 'TCP in clear'
  return `the MQTT listener (${auth} over ${over})`
}

/** With the socket under it, which its types do not have. */
export type Wrapped = TLSSocket & { _parent?: Socket }

export interface GateOptions extends ListenerOptions {
  trust: Pick<Trust, 'inForce'>
  handshakeTimeoutMs: number
  /** Of one message of a WebSocket. */
  messageBytesMax: number
  onArrived: (socket: Socket) => void
  /** A socket that can be read: after TLS, where there is TLS. */
  onOpen: (transport: Socket, arrived: Socket) => void
  onFailed: (error: Error, socket: Wrapped) => void
}

/** One listener: who comes there, TLS, and the upgrade to WebSocket. It knows nobody. */
export class Gate {
  readonly options: GateOptions
  readonly upgrades: Upgrades | undefined
  readonly #arrivals: Server
  readonly #tls: TlsServer | undefined

  constructor(options: GateOptions) {
    this.options = options
    // A device that lost its power never says goodbye, and what it leaves open counts against its connections.
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: 60_000 }
    this.#arrivals = createServer(keepAlive, options.onArrived)
    this.#tls = options.tls ? this.#createTls() : undefined
    this.upgrades = options.webSocket && new Upgrades({ ...options.webSocket, ...options })
  }

  get port(): number {
    return (this.#arrivals.address() as AddressInfo).port
  }

  /** @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` */
  async listen(): Promise<void> {
    const { port, host, tls } = this.options
    await listen(this.#arrivals, port, host, listenerName(this.options))
    // A name may stand for any address, and only now it is known for which.
    const { address } = this.#arrivals.address() as AddressInfo
    if (tls || !isEveryInterface(address)) return
    this.close()
    throw new TidegateError('LISTEN_FAILED', {
      message: `${listenerName(this.options)} must not listen on ${host}, which is ${address}: every interface of this machine`,
      retryable: false,
      hint: 'name the one address whose network may read along, such as 192.168.7.1 or 127.0.0.1, or set tls: true',
    })
  }

  /** The gateway has come to one that has arrived. */
  begin(socket: Socket): void {
    if (this.#tls) this.#tls.emit('connection', socket)
    else this.options.onOpen(socket, socket)
  }

  /** What is shown to those who come has changed. */
  renew(): void {
    this.#tls?.setSecureContext(contextOf(this.options))
  }

  /** Idempotent, and before it listens, too. */
  close(): void {
    this.#arrivals.close()
  }

  #createTls(): TlsServer {
    const server = createTlsServer({
      ...contextOf(this.options),
      requestCert: this.options.auth === 'certificate',
      // Node looks at what the check of the certificate has found when the handshake is over, and knows then whose it was, which
      // it does not tell. So it is looked at by the entrance.
      rejectUnauthorized: false,
      handshakeTimeout: this.options.handshakeTimeoutMs,
    })
    server.on('tlsClientError', this.options.onFailed)
    server.on('secureConnection', (socket: Wrapped) => this.options.onOpen(socket, socket._parent ?? socket))
    return server
  }
}

/** No session is resumed: its ticket lets in whoever has once been let in, without a look at a certificate, to save 2 ms of CPU at both ends. */
function contextOf({ trust: { inForce } }: Pick<GateOptions, 'trust'>): SecureContextOptions {
  const { cas, pair } = inForce
  const { cert, key } = pair
  return { ca: cas.ca, cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET }
}
