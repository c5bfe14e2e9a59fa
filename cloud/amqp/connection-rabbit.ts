import { Connection, type ConnectionOptions } from 'rabbitmq-client'
import { diallingOf, userOf, whereOf } from '../../src/amqp/address.ts'
import { receiveAsSent } from '../../src/amqp/as-sent-rabbit.ts'
import { identifyByCertificate } from '../../src/amqp/by-certificate-rabbit.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'

export interface AmqpOptions {
  /** `amqp://` or `amqps://user:password@host:port/vhost` */
  url: string
  tls?: AmqpTls | undefined
  /** By certificate: the URL names its common name, and holds no password. Default: by password. */
  auth?: 'password' | 'certificate'
  /** Shown in RabbitMQ's list of connections. */
  connectionName: string
  log: Logger
  /** Gives the attempt up; without effect once connected. */
  signal?: AbortSignal
}

export interface AmqpTls {
  readonly ca: Buffer
  readonly cert?: Buffer | undefined
  readonly key?: Buffer | undefined
}

/**
 * A connection to RabbitMQ that comes back by itself. Consuming and publishing each have their own: an alarm blocks both
 * directions of a socket, and acknowledgements must not wait behind blocked publishes.
 */
export interface AmqpConnection {
  /** host:port, fit for logs. */
  readonly where: string
  /** As whom it publishes. */
  readonly user: string | undefined
  readonly client: Connection
  readonly up: boolean
  /** Why the broker has told us to publish nothing (a memory or disk alarm), if it has. */
  readonly blocked: string | undefined
  close(): Promise<void>
}

/** 8192 would cap the header frame, and with it the failure story. */
const frameMaxBytes = 131_072
const heartbeatSeconds = 20
/** From the name to the end of the handshake. */
const connectTimeoutMs = 10_000
const reconnect = { retryLow: 200, retryHigh: 5_000 }
const closeTimeoutMs = 3_000

/** What no waiting mends: refused credentials, a missing vhost, a certificate that is not trusted. */
const refusals = /^(ACCESS_REFUSED|NOT_ALLOWED|INVALID_PATH)$/
const tlsFaults =
  /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_\w+|ERR_SSL_\w+|EPROTO)$/

/**
 * Connects once.
 * @throws TidegateError `BROKER_UNREACHABLE` (retryable), `BROKER_REFUSED` or `BROKER_TLS` (not).
 */
export async function connectAmqp(options: AmqpOptions): Promise<AmqpConnection> {
  const where = describe(options.url)
  const client = new Connection(connectionOptions(options))
  try {
    receiveAsSent(client)
    if (options.auth === 'certificate') identifyByCertificate(client)
    await firstConnected(client, options.signal)
  } catch (error) {
    client.on('error', () => {})
    client.unsafeDestroy()
    options.signal?.throwIfAborted()
    throw translate(where, error)
  }
  return new RabbitConnection(client, where, options)
}

async function firstConnected(client: Connection, signal: AbortSignal | undefined): Promise<void> {
  const connected = new Promise<void>((resolve, reject) => {
    client.once('error', reject)
    client.once('connection', () => {
      client.off('error', reject)
      resolve()
    })
  })
  await (signal ? orAborted(connected, signal) : connected)
}

/** From the first moment in which it is connected on: follows what the client says of it. */
class RabbitConnection implements AmqpConnection {
  readonly where: string
  readonly user: string | undefined
  readonly client: Connection
  #up = true
  #blocked: string | undefined
  #closing: Promise<void> | undefined

  constructor(client: Connection, where: string, { log, connectionName, url }: AmqpOptions) {
    this.user = userOf(url)
    this.client = client
    this.where = where
    client.on('connection', () => {
      this.#up = true
      log.info({ connection: connectionName }, 'connected to the broker again')
    })
    client.on('error', (error: unknown) => {
      this.#up = false
      this.#blocked = undefined
      if (!this.#closing) log.warn({ connection: connectionName, code: codeOf(error) }, 'lost the broker')
    })
    client.on('connection.blocked', (reason: string) => {
      this.#blocked = reason
      log.warn({ connection: connectionName, reason }, 'the broker accepts nothing: it is short of something')
    })
    client.on('connection.unblocked', () => (this.#blocked = undefined))
  }

  get up(): boolean {
    return this.#up
  }

  get blocked(): string | undefined {
    return this.#blocked
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    // The client's close() waits for ever when the socket breaks before its channels are closed.
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, closeTimeoutMs)))
    await Promise.race([this.client.close(), late])
    clearTimeout(timer)
    this.client.unsafeDestroy()
    this.#up = false
  }
}

function connectionOptions({ url, tls, connectionName }: AmqpOptions): ConnectionOptions {
  return {
    url,
    socket: diallingOf(url, connectTimeoutMs) as ConnectionOptions['socket'] & object,
    connectionTimeout: connectTimeoutMs,
    connectionName,
    frameMax: frameMaxBytes,
    heartbeat: heartbeatSeconds,
    noDelay: true,
    ...reconnect,
    ...(tls && { tls }),
  }
}

function translate(where: string, error: unknown): TidegateError {
  const code = codeOf(error)
  if (refusals.test(code)) {
    return new TidegateError('BROKER_REFUSED', {
      message: `the broker at ${where} refused us: ${amqpMessageOf(error)}`,
      retryable: false,
      hint: 'check the user, the password and the vhost in broker.url',
      cause: error,
    })
  }
  if (tlsFaults.test(code)) {
    return new TidegateError('BROKER_TLS', {
      message: `the TLS handshake with the broker at ${where} failed: ${amqpMessageOf(error)}`,
      retryable: false,
      hint: 'broker.tls.ca must hold the CA that issued the broker’s certificate',
      cause: error,
    })
  }
  return new TidegateError('BROKER_UNREACHABLE', {
    message: `the broker at ${where} cannot be reached: ${amqpMessageOf(error)}`,
    retryable: true,
    hint: 'see whether RabbitMQ runs there and broker.url is right',
    cause: error,
  })
}

function describe(url: string): string {
  try {
    return whereOf(url)
  } catch (cause) {
    throw new TidegateError('CONFIG_INVALID', {
      message: 'broker.url is not a URL',
      retryable: false,
      hint: 'amqps://user:password@host:5671/vhost',
      cause,
    })
  }
}
