import type { Undelivered } from '../../src/contract/event.ts'
import type { ConnectionRefusal } from './identity.ts'
import type { QuotaReason } from '../outbox/outbox.ts'
import type { RejectionReason } from '../admission/quarantine.ts'

/** What the outbox tells whoever watches it: metrics in production, a trace in simulation. Must not throw. */
export interface OutboxObserver {
  /** A write of any kind reached the disk: bytes of keys and values, and how long it took if it was synced. */
  wrote(bytes: number, syncMs: number | undefined): void
  /** One group commit made events durable. What was written against `payloadBytes` is the flash wear. */
  batch(events: number, payloadBytes: number): void
  admitted(result: 'accepted' | 'duplicate' | 'shed'): void
  /** Submissions met a bound: they wait (QoS 1, 2) or are shed (QoS 0). Told once, however often they are tried. */
  refused(reason: QuotaReason | 'waiting', submissions: number): void
  /** Numbered events that will not be delivered, by reason (G2). */
  undelivered(reason: Undelivered, count: number): void
  /** Events that damage of the store took; also reported as undelivered `lost`. */
  lost(count: number): void
}

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

export const silentOutboxObserver: OutboxObserver = {
  wrote() {},
  batch() {},
  admitted() {},
  refused() {},
  undelivered() {},
  lost() {},
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
