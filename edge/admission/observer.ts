import type { LoweredBy } from './admission.ts'
import type { RejectionReason } from './quarantine.ts'

/**
 * What became of a publish. `local`: its route makes it no event, or it takes a retained message back; it is for the
 * broker's subscribers only. `ignored`: its route lets it go no further. `unrouted`: no route takes it.
 */
export const publishResults = [
  'accepted',
  'duplicate',
  'rejected',
  'shed',
  'local',
  'ignored',
  'unrouted',
  'refused-topic',
  'failed',
  'withdrawn',
] as const

export type PublishResult = (typeof publishResults)[number]

/** What admission tells whoever watches it. Must not throw. */
export interface IngestObserver {
  published(result: PublishResult, publishes: number): void
  /** A rejected event took the place of a reading. */
  quarantined(reason: RejectionReason): void
  /** Publishes that came together were acknowledged together, after this long. */
  acknowledged(waitMs: number): void
  implausibleClock(): void
  /** An event went in the normal lane, and was to go in the high one. */
  lowered(by: LoweredBy): void
  /** The time that a device gave could not be read. */
  unreadableTime(): void
  /** Bytes of a payload that are not in its event, since its schema does not know them. */
  skipped(bytes: number): void
}

export const silentIngestObserver: IngestObserver = {
  published() {},
  quarantined() {},
  acknowledged() {},
  implausibleClock() {},
  lowered() {},
  unreadableTime() {},
  skipped() {},
}
