import type { Undelivered } from '../../src/contract/event.ts'
import type { QuotaReason } from './outbox.ts'

/** What the outbox tells whoever watches it: metrics in production, a trace in simulation. Must not throw. */
export interface OutboxObserver {
  /** A write of any kind reached the disk: bytes of keys and values, and how long it took if it was synced. */
  wrote(bytes: number, syncMs: number | undefined): void
  /** One group commit made events durable. What was written against `payloadBytes` is the flash wear. */
  batch(events: number, payloadBytes: number): void
  admitted(result: 'accepted' | 'duplicate' | 'shed', submissions: number): void
  /** Submissions met a bound: they wait (QoS 1, 2) or are shed (QoS 0). Told once, however often they are tried. */
  refused(reason: QuotaReason | 'waiting', submissions: number): void
  /** Numbered events that will not be delivered, by reason (G2). */
  undelivered(reason: Undelivered, count: number): void
  /** Events that damage of the store took; also reported as undelivered `lost`. */
  lost(count: number): void
}

export const silentOutboxObserver: OutboxObserver = {
  wrote() {},
  batch() {},
  admitted() {},
  refused() {},
  undelivered() {},
  lost() {},
}
