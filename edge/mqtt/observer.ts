import { type IngestObserver, silentIngestObserver } from '../admission/observer.ts'
import { type SessionsObserver, silentSessionsObserver } from '../sessions/observer.ts'
import { violationNames } from './door/violations.ts'
import type { ConnectionRefusal } from './entrance/identity.ts'
import { standingFaults } from './trust/judgement.ts'
import type { ReloadResult } from './trust/trust.ts'

/** Why the gateway ended a connection that it had let in; the values of the metric's `reason`. */
export const connectionEndings = [
  ...violationNames,
  'keep-alive',
  'no-connect',
  'topic-forbidden',
  'subscriber-slow',
  'unreleased-max',
  ...standingFaults,
  'other',
] as const

export type ConnectionEnding = (typeof connectionEndings)[number]

/** What the MQTT side tells whoever watches it. Must not throw. */
export interface BrokerObserver extends IngestObserver, SessionsObserver {
  connections(open: number): void
  connectionRefused(reason: ConnectionRefusal): void
  connectionEnded(reason: ConnectionEnding): void
  /** A device that is over a rate is not read for some time. */
  held(): void
  /** The files of `mqtt.tls` were read again. */
  trustReloaded(result: ReloadResult): void
}

export const silentBrokerObserver: BrokerObserver = {
  ...silentIngestObserver,
  ...silentSessionsObserver,
  connections() {},
  connectionRefused() {},
  connectionEnded() {},
  held() {},
  trustReloaded() {},
}
