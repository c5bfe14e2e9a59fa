import { Aedes } from 'aedes'
import { ulid } from 'ulid'
import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import type { Ingest } from '../admission/ingest.ts'
import type { TopicRules } from '../admission/topics.ts'
import { openSessions } from '../sessions/open-level.ts'
import type { SessionLimits } from '../sessions/quota.ts'
import type { Sessions } from '../sessions/sessions-level.ts'
import { CleanSubscriptions } from '../sessions/subscriptions.ts'
import { startWills, type Wills } from '../sessions/wills.ts'
import { deviceOf, sessionIdLengthMax } from './connect-rules.ts'
import { type Connections, createConnections } from './connections.ts'
import { holdsUpNobody } from './fan-out-aedes.ts'
import { createHooks, distributeOnlyAllowed, follow } from './hooks-aedes.ts'
import { type EntranceOptions, type Listener, startListener } from './listener.ts'
import type { BrokerObserver } from './observer.ts'
import { Publishing } from './publishing.ts'
import { Reports } from './reports.ts'
import { keepOnePerClientId } from './takeover-aedes.ts'
import { subscriberSlow } from './unsent.ts'

export interface BrokerOptions extends EntranceOptions {
  packetBytesMax: number
  /** Publishes of one connection that are not yet acknowledged. */
  inFlightMax: number
  /** What publishes of all connections that are not yet acknowledged may take in memory; and those of one device. */
  inFlightBytesMax: number
  inFlightBytesPerDeviceMax: number
  sessionsFolder: string
  sessionLimits: SessionLimits
  rules: TopicRules
  ingest: Ingest
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
 * The MQTT 3.1.1 broker: aedes behind our entrance, our topic rules and our admission.
 *
 * aedes acknowledges a publish before it distributes it, so admission is in `authorizePublish`, the one hook that
 * runs before PUBACK and PUBREC: its callback is called once the event is durable (G1). An error given to that
 * callback closes the connection, which is MQTT 3.1.1's only way to refuse.
 * @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` | `SESSIONS_UNAVAILABLE`
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { rules, sessionLimits, observer, clock, random } = options
  const makeId = (): string => ulid(Math.max(0, clock.now()), random)
  const { subscriptionsPerDeviceMax } = sessionLimits
  const reports = new Reports(options)
  const connections = createConnections(options)
  const cleanSubscriptions = new CleanSubscriptions(subscriptionsPerDeviceMax)
  const sessions = await openSessions({
    ...options,
    folder: options.sessionsFolder,
    limits: sessionLimits,
    deviceOf,
    maySubscribe: rules.maySubscribe,
  })
  const aedes = await createAedes(makeId(), sessions)
  const wills = startBrokerWills(options, { sessions, aedes, reports })
  const publishing = new Publishing({ ...options, wills, unreleased: sessions.unreleased })
  const hooks = { rules, connections, publishing, cleanSubscriptions, subscriptionsPerDeviceMax }
  Object.assign(aedes, createHooks({ ...hooks, observer, reports, makeId }))
  distributeOnlyAllowed(aedes, rules)
  keepOnePerClientId(aedes)
  follow(aedes, { connections, cleanSubscriptions, reports })
  try {
    const listener = await startBrokerListener(options, { connections, aedes, reports })
    return new RunningBroker({ ...options, listener, connections, aedes, wills, sessions })
  } catch (error) {
    wills.withdraw()
    await closed(aedes)
    await sessions.close()
    throw error
  }
}

/** Nobody is connected yet: the hooks may come later. */
function createAedes(id: string, sessions: Sessions): Promise<Aedes> {
  return Aedes.createBroker({
    // Messages kept for sessions are sorted by it: a later run must not sort before an earlier one.
    id,
    persistence: sessions,
    maxClientsIdLength: sessionIdLengthMax,
    queueLimit: 10_000,
    // A message that waits for one of its subscribers waits in nobody else's place.
    concurrency: 0,
    // Asked when the message is an event already; ours is asked before.
    maxInflightInbound: 0,
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
      aedes.publish({ cmd: 'publish', topic, payload, qos, retain, dup: false }, (error) =>
        reports.brokerFailed(error),
      )
    },
    onGivenUp: (deviceId, error) => reports.willGivenUp(deviceId, error),
    onPutOff: (error) => reports.willPutOff(error),
  })
}

function startBrokerListener(
  options: BrokerOptions,
  { connections, aedes, reports }: { connections: Connections; aedes: Aedes; reports: Reports },
): Promise<Listener> {
  const { observer, clock } = options
  return startListener({
    ...options,
    onConnection(socket, deviceId) {
      connections.open(socket, deviceId, () =>
        holdsUpNobody(aedes.handle(socket), {
          clock,
          connectionOf: (publisher) => connections.of(publisher),
          onUnsent(qos) {
            if (qos === 0) observer.notKept('unsent')
            else socket.destroy(subscriberSlow(deviceId))
          },
        }),
      )
    },
    onRefused: (reason, about) => reports.connectionRefused(reason, about),
    onCount: (open) => observer.connections(open),
  })
}

interface RunningParts {
  listener: Listener
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
  readonly #parts: RunningParts
  #closing: Promise<void> | undefined

  constructor(parts: RunningParts) {
    this.#parts = parts
    this.port = parts.listener.port
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const { listener, connections, ingest, aedes, wills, sessions, clock } = this.#parts
    listener.close()
    connections.hold()
    const patience = new AbortController()
    await Promise.race([ingest.settled(), clock.sleep(settleMsMax, patience.signal).catch(() => {})])
    patience.abort()
    connections.withdraw()
    wills.withdraw()
    await ingest.settled()
    await closed(aedes)
    listener.end()
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
