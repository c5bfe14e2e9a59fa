import type { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { Aedes, type Client, type PublishPacket } from 'aedes'
import { ulid } from 'ulid'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Admit } from '../admission/admission.ts'
import { refusalOf, sessionIdLengthMax } from './connect-rules.ts'
import { type Connection, createConnections } from './connections.ts'
import { holdsUpNobody, noteSent, subscriberSlow } from './fan-out-aedes.ts'
import { createIngest, type Verdict } from '../admission/ingest.ts'
import { startListener } from './listener.ts'
import type { BrokerObserver } from './observer.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { Routes } from '../admission/routes.ts'
import type { SessionLimits } from '../sessions/quota.ts'
import { tooManySubscriptions } from '../sessions/sessions-level.ts'
import { openSessions } from '../sessions/open-level.ts'
import { keepOnePerClientId } from './takeover-aedes.ts'
import { createThrottle } from '../../src/throttle.ts'
import type { TopicRules } from '../admission/topics.ts'
import { createWills } from '../sessions/wills.ts'

export interface BrokerOptions {
  host: string
  /** 0: any free port. */
  port: number
  tls: { ca: Buffer; cert: Buffer; key: Buffer }
  connectionsMax: number
  connectionsPerDeviceMax: number
  handshakeTimeoutMs: number
  packetBytesMax: number
  /** Publishes of one connection that are not yet acknowledged. */
  inFlightMax: number
  /** Payload bytes of all connections that are not yet acknowledged. */
  inFlightBytesMax: number
  sessionsFolder: string
  sessionLimits: SessionLimits
  rules: TopicRules
  routes: Routes
  admit: Admit
  outbox: Pick<Outbox, 'append'>
  observer: BrokerObserver
  clock: Clock
  random: Random
  log: Logger
}

export interface Broker {
  readonly port: number
  /** Stops accepting, settles what is being admitted, publishes wills, closes. Idempotent. */
  close(): Promise<void>
}

/**
 * The MQTT 3.1.1 broker: aedes behind our door, our topic rules and our admission.
 *
 * aedes acknowledges a publish before it distributes it, so admission is in `authorizePublish`, the one hook that
 * runs before PUBACK and PUBREC: its callback is called once the event is durable (G1). An error given to that
 * callback closes the connection, which is MQTT 3.1.1's only way to refuse.
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` | `SESSIONS_UNAVAILABLE`
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { rules, observer, clock, random, log } = options
  const throttle = createThrottle(clock, 10_000)
  const connections = createConnections(options)
  /** Of clean sessions; the others' are counted where they are kept. */
  const filtersOf = new WeakMap<Client, Set<string>>()
  const subscriptionsMax = options.sessionLimits.subscriptionsPerDeviceMax
  const makeId = (): string => ulid(Math.max(0, clock.now()), random)

  const sessions = await openSessions({
    folder: options.sessionsFolder,
    limits: options.sessionLimits,
    observer,
    clock,
    log,
    deviceOf,
    maySubscribe: rules.maySubscribe,
  })
  const ingest = createIngest(options)

  const aedes = await Aedes.createBroker({
    // Messages kept for sessions are sorted by it: a later run must not sort before an earlier one.
    id: makeId(),
    persistence: sessions,
    maxClientsIdLength: sessionIdLengthMax,
    queueLimit: 10_000,
    // A message that waits for one of its subscribers waits in nobody else's place.
    concurrency: 0,
    // Asked when the message is an event already; ours is asked before.
    maxInflightInbound: 0,
    preConnect(client, packet, done) {
      const connection = connections.of(client)
      if (!connection) return done(new Error('the connection is gone'), false)
      connection.connecting = true
      connection.refusal = refusalOf(packet, connection.deviceId, rules)
      // The identity is part of the name, so that no device can end another's session by its client ID.
      packet.clientId = `${connection.deviceId}/${packet.clientId || makeId()}`
      done(null, true)
    },
    authenticate(client, _username, _password, done) {
      const refusal = connections.of(client)?.refusal
      if (refusal) done(refusal, null)
      else done(null, true)
    },
    authorizePublish(client, packet, done) {
      // Nobody's: aedes asks this of wills of an earlier run, and finds none.
      if (client) void answer(publish(client, packet), done)
      else done()
    },
    authorizeSubscribe(client, subscription, done) {
      if (rules.maySubscribe(deviceOf(client.id), subscription.topic)) {
        if (!client.clean || hasRoomFor(client, subscription.topic)) return done(null, subscription)
        observer.subscriptionRefused()
        return done(tooManySubscriptions(deviceOf(client.id), subscriptionsMax), null)
      }
      observer.subscriptionRefused()
      const about = { code: 'TOPIC_FORBIDDEN', device: deviceOf(client.id), topic: subscription.topic }
      warn(client.id, 'subscription refused', about)
      done(null, null)
    },
    authorizeForward(client, packet) {
      if (!rules.mayRead(deviceOf(client.id), packet.topic)) return null
      noteSent(client, packet)
      return packet
    },
  })
  keepOnePerClientId(aedes)
  const wills = createWills({
    records: sessions.wills,
    ingest,
    clock,
    waitingPerDeviceMax: options.connectionsPerDeviceMax,
    deviceOf,
    distribute: ({ topic, payload, qos, retain }) =>
      aedes.publish({ cmd: 'publish', topic, payload, qos, retain, dup: false }, logFailure),
    onGivenUp(device, error) {
      observer.published('failed')
      warn(`${error.code} ${device}`, 'will given up', { code: error.code, device, detail: error.message })
    },
    onPutOff(error) {
      const code = codeOf(error)
      warn(code, 'will put off', { code, detail: messageOf(error) })
    },
  })
  aedes.on('connackSent', (_packet, client) => {
    const connection = connections.of(client)
    if (!connection) return
    connection.connecting = false
    // aedes notes that it has sent the CONNACK only after this event.
    setImmediate(() => connection.pull())
  })
  aedes.on('unsubscribe', (filters, client) => {
    for (const filter of filters) filtersOf.get(client)?.delete(filter)
  })
  aedes.on('clientError', (client, error) => logEnd(client, error))
  aedes.on('connectionError', (client, error) => logEnd(client, error))
  // Missing in its types.
  const emitter: EventEmitter = aedes
  emitter.on('error', logFailure)

  const listener = await startListener({
    ...options,
    onConnection(socket: TLSSocket, deviceId) {
      connections.open(socket, deviceId, () =>
        holdsUpNobody(aedes.handle(socket), {
          clock,
          connectionOf: (publisher) => connections.of(publisher),
          unsent(qos) {
            if (qos === 0) observer.notKept('unsent')
            else socket.destroy(subscriberSlow(deviceId))
          },
        }),
      )
    },
    onRefused(reason, about) {
      observer.connectionRefused(reason)
      warn(`${reason} ${about.address}`, 'connection refused', { reason, ...about })
    },
    onCount: (open) => observer.connections(open),
  }).catch(async (error: unknown) => {
    wills.withdraw()
    await closeAedes(aedes)
    await sessions.close()
    throw error
  })

  function hasRoomFor(client: Client, filter: string): boolean {
    const filters = filtersOf.get(client) ?? new Set()
    filtersOf.set(client, filters)
    if (filters.size >= subscriptionsMax && !filters.has(filter)) return false
    filters.add(filter)
    return true
  }

  function publish(client: Client, packet: PublishPacket): Promise<Verdict> {
    if ((client as WithWill).will === packet) return wills.publish(client.id, packet)
    const connection = connections.of(client)
    if (!connection) return Promise.resolve('withdrawn')
    if (packet.qos === 2) return publishOnce(client, connection, packet)
    packet.dup = false
    const { deviceId, signal } = connection
    return ingest.publish({ deviceId, clientId: client.id, signal, connection }, packet)
  }

  /** It counts as unacknowledged also while it waits for its turn, and for its record. */
  async function publishOnce(
    client: Client,
    connection: Connection,
    packet: PublishPacket,
  ): Promise<Verdict> {
    const { deviceId, signal } = connection
    const payloadBytes = packet.payload.length
    connection.began(payloadBytes)
    try {
      return await sessions.unreleased.take(client, packet, () =>
        ingest.publish({ deviceId, clientId: client.id, signal }, packet),
      )
    } finally {
      // Whether it is sent to a subscriber again is another matter [MQTT-3.3.1-3].
      packet.dup = false
      connection.ended(payloadBytes)
    }
  }

  async function close(): Promise<void> {
    listener.close()
    connections.hold()
    const patience = new AbortController()
    await Promise.race([ingest.settled(), clock.sleep(settleMsMax, patience.signal).catch(() => {})])
    patience.abort()
    connections.withdraw()
    wills.withdraw()
    await ingest.settled()
    await closeAedes(aedes)
    listener.end()
    await ingest.settled()
    await wills.settled()
    await sessions.close()
  }

  function logEnd(client: Client, error: Error): void {
    const connection = connections.of(client)
    const device = connection?.deviceId
    const refusal = connection?.refusal
    if (connection && refusal) {
      connection.refusal = undefined
      observer.connectionRefused(refusal.reason)
      const about = { reason: refusal.reason, device, detail: refusal.message }
      warn(`${refusal.reason} ${device}`, 'connection refused', about)
    } else if (error instanceof TidegateError) {
      const about = { code: error.code, device, detail: error.message }
      warn(`${error.code} ${device}`, 'connection closed', about)
    } else {
      log.debug({ code: codeOf(error), device, detail: error.message }, 'connection ended')
    }
  }

  function logFailure(error: unknown): void {
    if (error) log.error({ code: codeOf(error), detail: messageOf(error) }, 'broker')
  }

  function warn(key: string, message: string, about: object): void {
    const heldBack = throttle(`${message} ${key}`)
    if (heldBack === undefined) return
    log.warn(heldBack === 0 ? about : { ...about, alikeBefore: heldBack }, message)
  }

  let closing: Promise<void> | undefined
  return { port: listener.port, close: () => (closing ??= close()) }
}

/** Missing in aedes' types: what it publishes when the connection is over. */
type WithWill = Client & { will: PublishPacket | null }

/** How long a stop waits for events that wait for room, before it leaves them to their devices. */
const settleMsMax = 3000

/** aedes' callback after our promise. Not called for a connection that is over. */
async function answer(verdict: Promise<Verdict>, done: (error?: Error | null) => void): Promise<void> {
  let failure: Error | null = null
  try {
    if ((await verdict) === 'withdrawn') return
  } catch (error) {
    failure = error instanceof Error ? error : new Error(messageOf(error))
  }
  done(failure)
}

/** The identity in a session's name, `<device ID>/<client ID>`. */
function deviceOf(clientId: string): string {
  return clientId.slice(0, Math.max(0, clientId.indexOf('/')))
}

function closeAedes(aedes: Aedes): Promise<void> {
  return new Promise((resolve) => {
    aedes.close(() => resolve())
  })
}
