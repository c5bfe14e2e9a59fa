import type { RejectionReason } from './quarantine.ts'

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

/** What admission tells whoever watches it. Must not throw. */
export interface IngestObserver {
  published(result: PublishResult): void
  /** A rejected event took the place of a reading. */
  quarantined(reason: RejectionReason): void
  /** A PUBACK or PUBREC was given after this long. */
  acknowledged(waitMs: number): void
  implausibleClock(): void
}

export const silentIngestObserver: IngestObserver = {
  published() {},
  quarantined() {},
  acknowledged() {},
  implausibleClock() {},
}
