import { Connection, type Channel, type ConnectionOptions } from 'rabbitmq-client'
import { diallingOf, userOf } from '../../src/amqp/address.ts'
import { receiveAsSent } from '../../src/amqp/as-sent-rabbit.ts'
import { identifyByCertificate } from '../../src/amqp/by-certificate-rabbit.ts'
import {
  type Body,
  type ConfirmChannel,
  type ConfirmEnvelope,
  openConfirmChannel,
} from '../../src/amqp/confirm-channel-rabbit.ts'
import type { Fate } from '../../src/amqp/confirms.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { shortText } from '../../src/amqp/property-block.ts'
import { type BackoffOptions, backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { ClientTls } from '../../src/settings/client-tls.ts'
import { withPassword } from '../../src/settings/password-file.ts'
import { listsBytesMax } from '../../src/contract/published-lists.ts'
import { joinBatch } from '../../src/contract/batch.ts'
import { batchHeaders, partitionOf, routingKey, wire } from '../../src/contract/wire.ts'
import type { Exchange, ExchangeSession, Outcome, SessionEnd, Shipment } from './exchange.ts'
import { followLists, type ListsFollower } from './lists-rabbit.ts'

export interface RabbitExchangeOptions {
  /** `amqps://user:password@host:port/vhost` */
  url: string
  /** Holds the password of the URL; read for each session. */
  passwordFile?: string | undefined
  /** By certificate: the URL names its common name, and holds no password. Default: by password. */
  auth?: 'password' | 'certificate'
  /** Asked by each session for what it is to show and to trust. */
  tls: { current(): ClientTls } | undefined
  exchange: string
  /** Must equal the cloud's. */
  partitions: number
  gateway: string
  /** Whether batches are. */
  compress: boolean
  /** Default: lists are not read. */
  lists?: ListsFollower | undefined
  connectTimeoutMs: number
  /** RabbitMQ gives a silent peer up after two of these, s. */
  heartbeatS: number
  reconnect: BackoffOptions
  clock: Clock
  random: Random
  log: Logger
}

/**
 * RabbitMQ's exchange. One connection a session, made anew after every loss, because the library's own
 * reconnect hides what was in flight. Proof of routing (G3): messages are persistent and `mandatory`, and their confirms are
 * counted by a channel of ours (../src/amqp/confirm-channel-rabbit.ts).
 */
export function rabbitExchange(options: RabbitExchangeOptions): Exchange {
  const { clock, random, log, reconnect } = options
  let session: ExchangeSession | undefined
  return {
    async connect(signal) {
      for (let attempt = 1; ; attempt++) {
        signal.throwIfAborted()
        try {
          session = await openSession(options, signal)
          return session
        } catch (error) {
          signal.throwIfAborted()
          const retryInMs = backoffMs(attempt, reconnect, random)
          const code = codeOf(error)
          const hint = error instanceof TidegateError ? error.hint : hints[code]
          log.warn(
            { code, detail: amqpMessageOf(error), retryInMs, ...(hint ? { hint } : {}) },
            'the uplink is down',
          )
          await clock.sleep(retryInMs, signal)
        }
      }
    },
    close: async () => session?.close(),
  }
}

const hints: Record<string, string | undefined> = {
  NOT_FOUND: 'the exchange is not there yet: the cloud side declares it when it starts',
  ACCESS_REFUSED: 'the broker knows no such user, or refuses it: see uplink.url',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the broker shows a certificate of another CA: see uplink.tls.ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the broker shows a certificate of another CA: see uplink.tls.ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'the broker shows a certificate of another CA: see uplink.tls.ca',
}

async function openSession(options: RabbitExchangeOptions, signal: AbortSignal): Promise<ExchangeSession> {
  const { connectTimeoutMs, heartbeatS, gateway } = options
  const tls = options.tls?.current()
  const url = withPassword(options.url, options.passwordFile)
  const connection = new Connection({
    url,
    socket: diallingOf(url, connectTimeoutMs) as ConnectionOptions['socket'] & object,
    ...(tls && { tls: { ca: tls.ca, cert: tls.pair?.cert, key: tls.pair?.key, minVersion: 'TLSv1.2' } }),
    connectionName: `tidegate edge ${gateway}`,
    connectionTimeout: connectTimeoutMs,
    acquireTimeout: connectTimeoutMs,
    heartbeat: heartbeatS,
    frameMax: 131_072,
  })
  if (options.auth === 'certificate') identifyByCertificate(connection)
  // Whatever somebody has put in the place of lists brings no session down.
  if (options.lists) receiveAsSent(connection, listsBytesMax)
  const end = deferred<SessionEnd>()
  const opened = new AbortController()
  const failed = new Promise<never>((_, reject) => {
    connection.on('error', (error: unknown) => {
      end.resolve({ code: codeOf(error), detail: amqpMessageOf(error) })
      reject(error)
    })
    signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: opened.signal })
  })
  failed.catch(() => {})
  try {
    const channel = await Promise.race([openChannel(connection, options.exchange), failed])
    return await Promise.race([rabbitSession(options, connection, channel, end), failed])
  } catch (error) {
    connection.unsafeDestroy()
    throw error
  } finally {
    opened.abort()
  }
}

async function openChannel(connection: Connection, exchange: string): Promise<Channel> {
  const channel = await connection.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  // A passive declare needs no right to configure; without the exchange a publish would close the channel.
  await channel.exchangeDeclare({ exchange, passive: true, type: 'topic' })
  return channel
}

async function rabbitSession(
  options: RabbitExchangeOptions,
  connection: Connection,
  channel: Channel,
  end: Deferred<SessionEnd>,
): Promise<ExchangeSession> {
  const { exchange } = options
  const publishing = { ...options, user: userOf(options.url) }
  let listener: ((outcomes: Outcome[]) => void) | undefined
  let blocked = false
  let closed: Promise<void> | undefined

  connection.on('connection.blocked', () => (blocked = true))
  connection.on('connection.unblocked', () => (blocked = false))
  const over = (error: unknown): void => end.resolve({ code: codeOf(error), detail: amqpMessageOf(error) })
  const confirms = await openConfirmChannel<Shipment>(channel, {
    onFates: (fates) => listener?.(fates.map(outcomeOf)),
    onUnsendable: (_, error) => over(error),
    onEnd: over,
  })

  const session = new AbortController()
  void end.promise.then(() => session.abort())
  if (options.lists) void followLists(connection, options.lists, { ...options, signal: session.signal })

  return {
    lost: end.promise,
    get blocked() {
      return blocked
    },
    publish(shipment) {
      confirms.publish(shipment, { exchange, ...envelopeOf(shipment, publishing) }, bodyOf(shipment, options))
    },
    onOutcomes(next) {
      listener = next
    },
    close() {
      closed ??= closeConnection(connection, confirms, options.clock)
      end.resolve({ code: 'CLOSED', detail: 'closed by the gateway' })
      return closed
    },
  }
}

/** docs/WIRE.md. A batch is no event, and may be another when it is sent again: it has no message ID. */
function envelopeOf(
  shipment: Shipment,
  options: RabbitExchangeOptions & { user: string | undefined },
): ConfirmEnvelope {
  const { partitions, gateway, compress, user } = options
  const [first] = shipment
  const common = {
    routingKey: routingKey(partitionOf(first.deviceId, partitions), first.type),
    appId: gateway,
    // RabbitMQ takes it from this user alone: by it the cloud knows who has published (G9).
    ...(user !== undefined && { userId: user }),
    type: first.type,
    timestamp: Math.floor(first.recordedAtMs / 1000),
  }
  if (shipment.length === 1)
    return { ...common, messageId: shortText(first.id), contentType: wire.contentType }
  return {
    ...common,
    contentType: wire.batchContentType,
    ...(compress && { contentEncoding: wire.deflate }),
    headers: {
      [batchHeaders.events]: shipment.length,
      [batchHeaders.first]: first.sequence,
      [batchHeaders.last]: shipment.at(-1)?.sequence,
    },
  }
}

function bodyOf(shipment: Shipment, { compress }: RabbitExchangeOptions): Body {
  if (shipment.length === 1) return shipment[0].text
  const texts = shipment.map(({ text }) => text)
  return () => joinBatch(texts, compress)
}

function outcomeOf({ kind, item: shipment }: Fate<Shipment>): Outcome {
  if (kind === 'routed') return { kind, shipment }
  return { kind: 'refused', shipment, code: kind === 'nacked' ? 'NACKED' : 'UNROUTABLE' }
}

/** In order where the peer answers, else by force: a half-open connection never says goodbye. */
async function closeConnection(
  connection: Connection,
  confirms: ConfirmChannel<Shipment>,
  clock: Clock,
): Promise<void> {
  const patience = new AbortController()
  const orderly = confirms.close().then(() => connection.close())
  const impatient = clock.sleep(1000, patience.signal).catch(() => {})
  await Promise.race([orderly.catch(() => {}), impatient])
  patience.abort()
  connection.unsafeDestroy()
}

interface Deferred<T> {
  promise: Promise<T>
  resolve(value: T): void
}

function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
