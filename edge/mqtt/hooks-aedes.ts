import type { Aedes, Client, PublishPacket } from 'aedes'
import { messageOf } from '../../src/errors.ts'
import type { TopicRules } from '../admission/routes/topics.ts'
import type { Sessions } from '../sessions/sessions-level.ts'
import { deviceOf, RefusedConnect, refusalOf, sessionName } from './connect-rules.ts'
import type { Connections } from './connections.ts'
import type { FanOut } from './subscribers/fan-out-aedes.ts'
import type { Publishing, PublishingSession } from './publishing.ts'
import type { Reports } from './reports.ts'

export interface HooksParts {
  rules: TopicRules
  connections: Pick<Connections, 'of'>
  publishing: Publishing
  fanOut: Pick<FanOut, 'of'>
  makeId: () => string
}

type Hooks = Pick<
  Aedes,
  'preConnect' | 'authenticate' | 'authorizePublish' | 'authorizeSubscribe' | 'authorizeForward'
>

/** What aedes asks before it acts, in the order in which it asks. */
export function createHooks(parts: HooksParts): Hooks {
  return {
    preConnect: preConnect(parts),
    authenticate: authenticate(parts),
    authorizePublish: authorizePublish(parts),
    authorizeSubscribe: authorizeSubscribe(),
    authorizeForward: authorizeForward(parts),
  }
}

function preConnect({ connections, rules, makeId }: HooksParts): Hooks['preConnect'] {
  return (client, packet, done) => {
    const connection = connections.of(client)
    if (!connection) return done(new Error('the connection is gone'), false)
    connection.connecting = true
    // Missing in its types.
    connection.isBridge = (packet as { bridgeMode?: boolean }).bridgeMode === true
    connection.refusal = connection.isTooOften
      ? new RefusedConnect('connects-rate', 3, 'the device connects more often than mqtt.limits lets it')
      : refusalOf(packet, connection.deviceId, rules)
    // The event that it becomes says so, whenever that is.
    if (packet.will) Object.assign(packet.will, { authMethod: connection.authMethod })
    packet.clientId = sessionName(connection.deviceId, packet.clientId || makeId())
    done(null, true)
  }
}

function authenticate({ connections }: HooksParts): Hooks['authenticate'] {
  return (client, _username, _password, done) => {
    const refusal = connections.of(client)?.refusal
    if (refusal) done(refusal, null)
    else done(null, true)
  }
}

/** The one hook that aedes asks before PUBACK and PUBREC (G1). Not called back for a connection that is over. */
function authorizePublish({ publishing, connections }: HooksParts): Hooks['authorizePublish'] {
  return (client, packet, done) => {
    // Nobody's: aedes asks this of wills of an earlier run, and finds none.
    if (!client) return done()
    const session: PublishingSession = client
    const acknowledge = (): void => done()
    void unlessFailed(publishing.publish(session, connections.of(client), packet, acknowledge), done)
  }
}

async function unlessFailed(published: Promise<unknown>, fail: (error: Error) => void): Promise<void> {
  try {
    await published
  } catch (error) {
    fail(error instanceof Error ? error : new Error(messageOf(error)))
  }
}

/** SUBSCRIBE does not come here, the door answers it: aedes asks when a kept session is there, and is to restore nothing. */
function authorizeSubscribe(): Hooks['authorizeSubscribe'] {
  return (_client, _subscription, done) => done(null, null)
}

function authorizeForward({ rules, fanOut }: HooksParts): Hooks['authorizeForward'] {
  return (client, packet) => {
    if (!rules.mayRead(deviceOf(client.id), packet.topic)) return null
    fanOut.of(client)?.noteSent(packet)
    return packet
  }
}

/** What a route ignores is acknowledged, and neither sent to anybody nor retained: aedes has no hook for that. */
export function distributeOnlyAllowed(
  aedes: Aedes,
  { isDistributed }: Pick<TopicRules, 'isDistributed'>,
): void {
  const publisher = aedes as unknown as { publish: PublishFor }
  const publish = publisher.publish.bind(aedes)
  publisher.publish = (packet, client, done) => {
    if (typeof client !== 'object' || client === null || isDistributed(deviceOf(client.id), packet.topic))
      publish(packet, client, done)
    else done?.()
  }
}

/** Of a client; or of nobody, when the callback may stand in its place. */
type PublishFor = (packet: PublishPacket, client?: Client | null | Done, done?: Done) => void
type Done = (error?: Error) => void

/**
 * A kept session has its subscriptions before its CONNACK, and not before the connection whose place this one takes is closed:
 * until then that may subscribe. What is published meanwhile is queued for the session. A clean session ends what was kept
 * until then, what was subscribed to on that connection included. Comes after `keepOnePerClientId`.
 */
export function restoreSubscriptions(
  aedes: Aedes,
  {
    rules,
    fanOut,
    sessions,
  }: Pick<HooksParts, 'rules' | 'fanOut'> & { sessions: Pick<Sessions, 'kept' | 'cleanSubscriptions'> },
): void {
  aedes.on('client', (client) => {
    if (client.clean) {
      if (sessions.kept.has(client.id))
        sessions.cleanSubscriptions(client).catch((error: Error) => client.conn.destroy(error))
      return
    }
    const subscriber = fanOut.of(client)
    const deviceId = deviceOf(client.id)
    for (const [filter, qos] of sessions.kept.filtersOf(client.id))
      if (rules.maySubscribe(deviceId, filter)) subscriber?.subscribe(filter, qos)
  })
}

export interface FollowerParts {
  connections: Pick<Connections, 'of'>
  reports: Reports
}

/** What aedes tells when it has acted. */
export function follow(aedes: Aedes, { connections, reports }: FollowerParts): void {
  const ended = (client: Client, error: Error): void => reports.connectionEnded(connections.of(client), error)
  aedes.on('connackSent', (_packet, client) => {
    const connection = connections.of(client)
    if (!connection) return
    connection.connecting = false
    // aedes notes that it has sent the CONNACK only after this event.
    setImmediate(() => connection.pull())
  })
  aedes.on('clientError', ended)
  aedes.on('connectionError', ended)
  // Missing in its types.
  const emitter: NodeJS.EventEmitter = aedes
  emitter.on('error', (error: unknown) => reports.brokerFailed(error))
}
