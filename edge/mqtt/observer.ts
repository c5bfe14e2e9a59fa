import type { ConnectionRefusal } from './identity.ts'
import type { RejectionReason } from '../admission/quarantine.ts'

/** What the forwarder tells whoever watches it. Must not throw. */
export interface ForwarderObserver {
  uplink(up: boolean): void
  /** Events confirmed, routed and released (G3); `lagMs` is the oldest one's time from admission to proof. */
  forwarded(events: number, lagMs: number): void
  /** Published and not confirmed yet: how many, and when the oldest was sent, by the monotonic clock. */
  unconfirmed(events: number, oldestSentAtMs: number | undefined): void
  /** From publish to the publisher confirm of one event. */
  confirmed(latencyMs: number): void
  /** The exchange took an event but did not route it, or refused it. */
  refused(code: string): void
}

export const silentForwarderObserver: ForwarderObserver = {
  uplink() {},
  forwarded() {},
  unconfirmed() {},
  confirmed() {},
  refused() {},
}

/** What became of a publish. `local`: no route takes it, so it is for the broker's subscribers only. */
export const publishResults = [
  'accepted',
  'duplicate',
  'rejected',
  'shed',
  'local',
  'refused-topic',
  'failed',
  'withdrawn',
] as const

export type PublishResult = (typeof publishResults)[number]

/**
 * What was not kept or sent because a bound was met: for a session, on a topic, a message of QoS 0 for a subscriber that
 * does not read, one of QoS 2 that its device would have to release.
 */
export const notKeptKinds = ['queued', 'retained', 'unsent', 'unreleased'] as const

type NotKept = (typeof notKeptKinds)[number]

/** What the MQTT side tells whoever watches it. Must not throw. */
export interface BrokerObserver {
  connections(open: number): void
  connectionRefused(reason: ConnectionRefusal): void
  published(result: PublishResult): void
  /** A rejected event took the place of a reading. */
  quarantined(reason: RejectionReason): void
  /** A PUBACK or PUBREC was given after this long. */
  acknowledged(waitMs: number): void
  implausibleClock(): void
  subscriptionRefused(): void
  notKept(what: NotKept): void
}

export const silentBrokerObserver: BrokerObserver = {
  connections() {},
  connectionRefused() {},
  published() {},
  quarantined() {},
  acknowledged() {},
  implausibleClock() {},
  subscriptionRefused() {},
  notKept() {},
}
