import { Connection, type ConnectionOptions } from 'rabbitmq-client'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'

export interface BrokerOptions {
  /** `amqp://` or `amqps://user:password@host:port/vhost` */
  url: string
  tls?: BrokerTls | undefined
  /** Shown in RabbitMQ's list of connections. */
  connectionName: string
  log: Logger
  /** Gives the attempt up; without effect once connected. */
  signal?: AbortSignal
}

export interface BrokerTls {
  ca: Buffer
  cert?: Buffer
  key?: Buffer
}

/** One connection that comes back by itself. Consuming and publishing each have their own: an alarm blocks both
 * directions of a socket, and acknowledgements must not wait behind blocked publishes. */
export interface Broker {
  /** host:port, fit for logs. */
  readonly where: string
  readonly connection: Connection
  readonly up: boolean
  /** Why the broker has told us to publish nothing (a memory or disk alarm), if it has. */
  readonly blocked: string | undefined
  close(): Promise<void>
}

/** 8192 would cap the header frame, and with it the failure story. */
const frameMaxBytes = 131_072
const heartbeatSeconds = 20
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
export async function connectBroker(options: BrokerOptions): Promise<Broker> {
  const { log } = options
  const where = describe(options.url)
  const connection = new Connection(connectionOptions(options))
  let up = false
  let blocked: string | undefined
  let closing: Promise<void> | undefined
  try {
    const connected = new Promise<void>((resolve, reject) => {
      connection.once('error', reject)
      connection.once('connection', () => {
        connection.off('error', reject)
        resolve()
      })
    })
    await (options.signal ? orAborted(connected, options.signal) : connected)
  } catch (error) {
    connection.on('error', () => {})
    connection.unsafeDestroy()
    options.signal?.throwIfAborted()
    throw translate(where, error)
  }
  up = true
  connection.on('connection', () => {
    up = true
    log.info({ connection: options.connectionName }, 'connected to the broker again')
  })
  connection.on('error', (error: unknown) => {
    up = false
    blocked = undefined
    if (!closing) log.warn({ connection: options.connectionName, code: codeOf(error) }, 'lost the broker')
  })
  connection.on('connection.blocked', (reason: string) => {
    blocked = reason
    log.warn(
      { connection: options.connectionName, reason },
      'the broker accepts nothing: it is short of something',
    )
  })
  connection.on('connection.unblocked', () => (blocked = undefined))

  async function close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    // The client's close() waits for ever when the socket breaks before its channels are closed.
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, closeTimeoutMs)))
    await Promise.race([connection.close(), late])
    clearTimeout(timer)
    connection.unsafeDestroy()
    up = false
  }

  return {
    where,
    connection,
    get up() {
      return up
    },
    get blocked() {
      return blocked
    },
    close: () => (closing ??= close()),
  }
}

function connectionOptions({ url, tls, connectionName }: BrokerOptions): ConnectionOptions {
  return {
    url,
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
      message: `the broker at ${where} refused us: ${messageOf(error).replace(/^undefined: /, '')}`,
      retryable: false,
      hint: 'check the user, the password and the vhost in broker.url',
      cause: error,
    })
  }
  if (tlsFaults.test(code)) {
    return new TidegateError('BROKER_TLS', {
      message: `the TLS handshake with the broker at ${where} failed: ${messageOf(error)}`,
      retryable: false,
      hint: 'broker.tls.ca must hold the CA that issued the broker’s certificate',
      cause: error,
    })
  }
  return new TidegateError('BROKER_UNREACHABLE', {
    message: `the broker at ${where} cannot be reached: ${messageOf(error)}`,
    retryable: true,
    hint: 'see whether RabbitMQ runs there and broker.url is right',
    cause: error,
  })
}

function describe(text: string): string {
  try {
    const url = new URL(text)
    return `${url.hostname}:${url.port || (url.protocol === 'amqps:' ? '5671' : '5672')}`
  } catch (cause) {
    throw new TidegateError('CONFIG_INVALID', {
      message: 'broker.url is not a URL',
      retryable: false,
      hint: 'amqps://user:password@host:5671/vhost',
      cause,
    })
  }
}
