import { Aedes, type Client } from 'aedes'
import { ulid } from 'ulid'
import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import type { Ingest } from '../admission/ingest.ts'
import type { TopicRules } from '../admission/routes/topics.ts'
import { openSessions } from '../sessions/open-level.ts'
import type { SessionLimits } from '../sessions/records/quota.ts'
import type { Sessions } from '../sessions/sessions-level.ts'
import { startWills, type Will, type Wills } from '../sessions/wills.ts'
import { deviceOf, sessionIdLengthMax } from './connect-rules.ts'
import { type Answerer, type Connections, createConnections } from './connections.ts'
import { FanOut } from './subscribers/fan-out-aedes.ts'
import { FastPath } from './fast-path.ts'
import { createHooks, distributeOnlyAllowed, follow, restoreSubscriptions } from './hooks-aedes.ts'
import { keepAliveByReceipt } from './keep-alive-aedes.ts'
import { type Entrance, type EntranceOptions, openEntrance } from './entrance/entrance.ts'
import type { BrokerObserver } from './observer.ts'
import { Publishing } from './publishing.ts'
import { Reports } from './reports.ts'
import { Subscribing } from './subscribers/subscribing.ts'
import { keepOnePerClientId } from './takeover-aedes.ts'
import type { Rates } from './turns/turns.ts'
import { unacknowledgedBy, unreadBy } from './subscribers/unsent.ts'

export interface BrokerOptions extends EntranceOptions {
  /** Publishes of one connection that are not yet acknowledged. */
  inFlightMax: number
  /** What publishes of all connections that are not yet acknowledged may take in memory; and those of one device. */
  inFlightBytesMax: number
  inFlightBytesPerDeviceMax: number
  /** Without any a device is read as far as others leave time. */
  ratesOf: (deviceId: string) => Rates
  sessionsFolder: string
  sessionLimits: SessionLimits
  rules: TopicRules
  ingest: Ingest
  observer: BrokerObserver
  random: Random
  log: Logger
}

export interface Broker {
  /** Of the first listener. */
  readonly port: number
  /** Of each listener, in their order. */
  readonly ports: readonly number[]
  /** Stops accepting, settles what is being admitted, publishes wills, closes. Idempotent. */
  close(): Promise<void>
}

/**
 * The MQTT 3.1.1 broker: aedes behind our entrance, our topic rules and our admission.
 *
 * aedes acknowledges a publish before it distributes it, so admission is in `authorizePublish`, the one hook that
 * runs before PUBACK and PUBREC: its callback is called once the event is durable (G1). An error given to that
 * callback closes the connection, which is MQTT 3.1.1's only way to refuse.
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` | `SESSIONS_UNAVAILABLE`
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { rules, sessionLimits, clock, random } = options
  const makeId = (): string => ulid(Math.max(0, clock.now()), random)
  const reports = new Reports(options)
  const limits = { ...options, filtersPerPacketMax: filtersPerPacketMax(options) }
  const connections = createConnections(limits, { clock, onHeld: (device) => reports.held(device) })
  const sessions = await openSessions({
    ...options,
    folder: options.sessionsFolder,
    limits: sessionLimits,
    deviceOf,
    isBridge: ({ conn }) => conn !== undefined && connections.of({ conn })?.isBridge === true,
  })
  const fanOut = createFanOut(options, { sessions, connections })
  const aedes = await createAedes(makeId(), sessions, fanOut)
  const wills = startBrokerWills(options, { sessions, aedes, reports })
  const publishing = new Publishing({
    ...options,
    wills,
    unreleased: sessions.unreleased,
    number: (packet) => number(aedes, packet),
    costOf: (topic) => fanOut.costOf(topic),
    async retain(clientId, packet) {
      if (rules.isDistributed(deviceOf(clientId), packet.topic)) await sessions.retained.store(packet)
    },
  })
  Object.assign(aedes, createHooks({ rules, connections, publishing, fanOut, makeId }))
  distributeOnlyAllowed(aedes, rules)
  keepOnePerClientId(aedes)
  restoreSubscriptions(aedes, { rules, fanOut, sessions })
  follow(aedes, { connections, reports })
  const subscribing = createSubscribing(options, { sessions, reports })
  const fastPath = new FastPath({ ...options, publishing, audiences: [fanOut, sessions.kept] })
  try {
    const parts = { connections, aedes, fanOut, subscribing, fastPath, reports }
    const entrance = await openBrokerEntrance(options, parts)
    return new RunningBroker({ ...options, entrance, connections, aedes, wills, sessions })
  } catch (error) {
    wills.withdraw()
    await closed(aedes)
    await sessions.close()
    throw error
  }
}

/** Nobody is connected yet: the hooks may come later. */
async function createAedes(id: string, sessions: Sessions, fanOut: FanOut): Promise<Aedes> {
  const aedes = await Aedes.createBroker({
    // Messages kept for sessions are sorted by it: a later run must not sort before an earlier one.
    id,
    persistence: sessions,
    mq: fanOut,
    maxClientsIdLength: sessionIdLengthMax,
    queueLimit: 10_000,
    // A message that waits for one of its subscribers waits in nobody else's place.
    concurrency: 0,
    // Asked when the message is an event already; ours is asked before.
    maxInflightInbound: 0,
  })
  // Its own bound of a hundred is that of the emitter and the index which we do not use; the standard has none [MQTT-4.7.3-3].
  return Object.assign(aedes, { maxTopicLevels: Infinity })
}

/** What one packet may cost: each filter is looked at, answered, and in a kept session stored (G7). */
function filtersPerPacketMax({ sessionLimits }: BrokerOptions): number {
  return Math.max(1000, sessionLimits.subscriptionsPerDeviceMax)
}

/**
 * aedes retains a message when it has answered its sender already, and numbers it then: one that comes next could overtake it.
 * `counter` is missing in its types.
 */
function number(aedes: Aedes, packet: Will): void {
  const brokerCounter = ++(aedes as Aedes & { counter: number }).counter
  Object.assign(packet, { brokerId: aedes.id, brokerCounter })
}

function createFanOut(
  { rules, clock, observer }: BrokerOptions,
  { sessions, connections }: { sessions: Sessions; connections: Connections },
): FanOut {
  return new FanOut({
    clock,
    sessions,
    deviceOf,
    connectionOf: (client) => connections.of(client),
    mayRead: ({ id }, topic) => rules.mayRead(deviceOf(id), topic),
    onUnsent({ id, conn }, qos) {
      if (qos === 0) observer.notKept('unsent')
      else conn.destroy(unreadBy(deviceOf(id)))
    },
    onUnacknowledged: ({ id, conn }) => conn.destroy(unacknowledgedBy(deviceOf(id))),
  })
}

function createSubscribing(
  { rules, sessionLimits }: BrokerOptions,
  { sessions, reports }: { sessions: Sessions; reports: Reports },
): Subscribing {
  const { subscriptionsPerDeviceMax } = sessionLimits
  return new Subscribing({
    rules,
    deviceOf,
    kept: sessions,
    subscriptionsMax: subscriptionsPerDeviceMax,
    onForbidden: (deviceId, filter) => reports.subscriptionForbidden(deviceId, filter),
    onTooMany: (deviceId) => reports.subscriptionOneTooMany(deviceId, subscriptionsPerDeviceMax),
  })
}

function startBrokerWills(
  { ingest, rules, clock, connectionsPerDeviceMax }: BrokerOptions,
  { sessions, aedes, reports }: { sessions: Sessions; aedes: Aedes; reports: Reports },
): Wills {
  return startWills({
    records: sessions.wills,
    ingest,
    clock,
    waitingPerDeviceMax: connectionsPerDeviceMax,
    deviceOf,
    distribute(clientId, { topic, payload, qos, retain }) {
      if (!rules.isDistributed(deviceOf(clientId), topic)) return
      const packet = { cmd: 'publish', topic, payload, qos, retain, dup: false } as const
      number(aedes, packet)
      const retained = retain ? sessions.retained.store(packet) : Promise.resolve()
      retained.then(
        () => aedes.publish(packet, (error) => reports.brokerFailed(error)),
        (error: unknown) => reports.brokerFailed(error),
      )
    },
    onGivenUp: (deviceId, error) => reports.willGivenUp(deviceId, error),
    onPutOff: (error) => reports.willPutOff(error),
  })
}

function openBrokerEntrance(
  options: BrokerOptions,
  parts: {
    connections: Connections
    aedes: Aedes
    fanOut: FanOut
    subscribing: Subscribing
    fastPath: FastPath
    reports: Reports
  },
): Promise<Entrance> {
  const { connections, aedes, fanOut, subscribing, fastPath, reports } = parts
  return openEntrance({
    ...options,
    onConnection(stream, entered) {
      connections.open(stream, entered, {
        attach: () => answerer(aedes.handle(stream), fanOut, subscribing),
        takerOf: (connection) => fastPath.takerOf(connection, stream),
      })
    },
    onRefused: (reason, about) => reports.connectionRefused(reason, about),
    onCount: (open) => options.observer.connections(open),
    onReloaded: (result) => options.observer.trustReloaded(result),
  })
}

function answerer(client: Client, fanOut: FanOut, subscribing: Subscribing): Answerer {
  const subscriber = fanOut.attach(client)
  keepAliveByReceipt(client)
  return (request) => subscribing.answer(subscriber, request)
}

interface RunningParts {
  entrance: Entrance
  connections: Connections
  ingest: Pick<Ingest, 'settled'>
  aedes: Aedes
  wills: Wills
  sessions: Sessions
  clock: Clock
}

/** How long a stop waits for events that wait for room, before it leaves them to their devices. */
const settleMsMax = 3000

class RunningBroker implements Broker {
  readonly port: number
  readonly ports: readonly number[]
  readonly #parts: RunningParts
  #closing: Promise<void> | undefined

  constructor(parts: RunningParts) {
    this.#parts = parts
    this.ports = parts.entrance.ports
    this.port = this.ports[0] ?? 0
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const { entrance, connections, ingest, aedes, wills, sessions, clock } = this.#parts
    entrance.close()
    connections.hold()
    const patience = new AbortController()
    await Promise.race([ingest.settled(), clock.sleep(settleMsMax, patience.signal).catch(() => {})])
    patience.abort()
    connections.withdraw()
    wills.withdraw()
    await ingest.settled()
    await closed(aedes)
    entrance.end()
    await ingest.settled()
    await wills.settled()
    await sessions.close()
  }
}

function closed(aedes: Aedes): Promise<void> {
  return new Promise((resolve) => {
    aedes.close(() => resolve())
  })
}
