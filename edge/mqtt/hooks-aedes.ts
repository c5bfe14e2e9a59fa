import type { Aedes, Client, PublishPacket } from 'aedes'
import { messageOf } from '../../src/errors.ts'
import type { Verdict } from '../admission/ingest.ts'
import type { TopicRules } from '../admission/topics.ts'
import { type CleanSubscriptions, tooManySubscriptions } from '../sessions/subscriptions.ts'
import { deviceOf, refusalOf, sessionName } from './connect-rules.ts'
import type { Connections } from './connections.ts'
import { noteSent } from './fan-out-aedes.ts'
import type { BrokerObserver } from './observer.ts'
import type { Publishing, PublishingSession } from './publishing.ts'
import type { Reports } from './reports.ts'

export interface HooksParts {
  rules: TopicRules
  connections: Pick<Connections, 'of'>
  publishing: Publishing
  cleanSubscriptions: CleanSubscriptions
  subscriptionsPerDeviceMax: number
  observer: Pick<BrokerObserver, 'subscriptionRefused'>
  reports: Reports
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
    authorizeSubscribe: authorizeSubscribe(parts),
    authorizeForward: authorizeForward(parts),
  }
}

function preConnect({ connections, rules, makeId }: HooksParts): Hooks['preConnect'] {
  return (client, packet, done) => {
    const connection = connections.of(client)
    if (!connection) return done(new Error('the connection is gone'), false)
    connection.connecting = true
    connection.refusal = refusalOf(packet, connection.deviceId, rules)
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

/** The one hook that aedes asks before PUBACK and PUBREC (G1). */
function authorizePublish({ publishing, connections }: HooksParts): Hooks['authorizePublish'] {
  return (client, packet, done) => {
    // Nobody's: aedes asks this of wills of an earlier run, and finds none.
    if (!client) return done()
    const session: PublishingSession = client
    void answer(publishing.publish(session, connections.of(client), packet), done)
  }
}

function authorizeSubscribe(parts: HooksParts): Hooks['authorizeSubscribe'] {
  const { rules, cleanSubscriptions, subscriptionsPerDeviceMax, observer, reports } = parts
  return (client, subscription, done) => {
    const deviceId = deviceOf(client.id)
    const { topic } = subscription
    if (!rules.maySubscribe(deviceId, topic)) {
      reports.subscriptionForbidden(client.id, deviceId, topic)
      return done(null, null)
    }
    // Of a session that is kept, what keeps it counts.
    if (!client.clean || cleanSubscriptions.add(client, topic)) return done(null, subscription)
    observer.subscriptionRefused()
    done(tooManySubscriptions(deviceId, subscriptionsPerDeviceMax), null)
  }
}

function authorizeForward({ rules }: HooksParts): Hooks['authorizeForward'] {
  return (client, packet) => {
    if (!rules.mayRead(deviceOf(client.id), packet.topic)) return null
    noteSent(client, packet)
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

export interface FollowerParts {
  connections: Pick<Connections, 'of'>
  cleanSubscriptions: CleanSubscriptions
  reports: Reports
}

/** What aedes tells when it has acted. */
export function follow(aedes: Aedes, { connections, cleanSubscriptions, reports }: FollowerParts): void {
  const ended = (client: Client, error: Error): void => reports.connectionEnded(connections.of(client), error)
  aedes.on('connackSent', (_packet, client) => {
    const connection = connections.of(client)
    if (!connection) return
    connection.connecting = false
    // aedes notes that it has sent the CONNACK only after this event.
    setImmediate(() => connection.pull())
  })
  aedes.on('unsubscribe', (filters, client) => cleanSubscriptions.remove(client, filters))
  aedes.on('clientError', ended)
  aedes.on('connectionError', ended)
  // Missing in its types.
  const emitter: NodeJS.EventEmitter = aedes
  emitter.on('error', (error: unknown) => reports.brokerFailed(error))
}
