import { type IngestObserver, silentIngestObserver } from '../admission/observer.ts'
import { type SessionsObserver, silentSessionsObserver } from '../sessions/observer.ts'
import type { ConnectionRefusal } from './identity.ts'

/** What the MQTT side tells whoever watches it. Must not throw. */
export interface BrokerObserver extends IngestObserver, SessionsObserver {
  connections(open: number): void
  connectionRefused(reason: ConnectionRefusal): void
}

export const silentBrokerObserver: BrokerObserver = {
  ...silentIngestObserver,
  ...silentSessionsObserver,
  connections() {},
  connectionRefused() {},
}
