import type { Clock, Random } from '../../src/clock.ts'
import type { ChainHead } from '../../src/contract/checkpoint.ts'
import type { SignatureAlgorithm } from '../../src/contract/signature.ts'
import type { Logger } from '../../src/log.ts'
import type { StoreFolder } from '../store/store.ts'
import type { OutboxObserver } from './observer.ts'

export interface OutboxOptions {
  folder: StoreFolder
  gateway: string
  clock: Clock
  random: Random
  log: Logger
  observer: OutboxObserver
  quota?: Partial<QuotaOptions>
  lanes?: Partial<LanesOptions>
  dedup?: DedupOptions
  /** Absent: the chain's head is not signed. */
  checkpoints?: CheckpointSigner | undefined
  /**
   * Aborted when the gateway is about to stop. All goes on as before, but for a store that fails: it is not waited for
   * any more, and whoever waits for it, or for the outbox to open, gets `OUTBOX_CLOSED`.
   */
  signal?: AbortSignal
  /** Events in one synced write. */
  batchEventsMax?: number
  /** Submissions held back at a bound; beyond it they are turned away. */
  waitingMax?: number
  /** How often undelivered events are reported to the cloud, ms. */
  reportIntervalMs?: number
  /** How long the wall clock must stand still before time spent powered off is believed, ms. */
  clockSettleMs?: number
}

/** Who signs the head of the chain, and how often (G8). */
export interface CheckpointSigner {
  /** Fingerprint of the key. */
  key: string
  algorithm: SignatureAlgorithm
  /** The signature, base64url. Must not hold up whoever asks for it. */
  sign(gateway: string, head: ChainHead): Promise<string>
  /** Signs after so many events. */
  everyEvents: number
  /** Signs after so long, if there are events to be signed, ms. */
  everyMs: number
}

/** The outbox's options with every default filled in. */
export interface EngineOptions extends Omit<OutboxOptions, 'quota' | 'lanes'> {
  quota: QuotaOptions
  lanes: LanesOptions
  dedup: DedupOptions
  batchEventsMax: number
  waitingMax: number
  reportIntervalMs: number
  clockSettleMs: number
  newEpoch(): string
}

/** One model for every bound (G7). */
export interface QuotaOptions {
  eventsMax: number
  bytesMax: number
  /** Part of both bounds that one device may fill. */
  deviceShare: number
  /** Part of both bounds up to which a device may use what is reserved; at least one event of up to 4 KiB. */
  deviceMinimum: number
  /** Part of both bounds that only devices below their minimum may use. */
  reservedShare: number
  /** Below this much free disk nothing is admitted, so that releases can always be written. */
  diskFreeBytesMin: number
  /** What happens at `eventsMax` and `bytesMax`. `evict` takes the oldest of the lowest lane. */
  full: 'refuse' | 'evict'
}

export const defaultQuota: QuotaOptions = {
  eventsMax: 10_000_000,
  bytesMax: 4 * 2 ** 30,
  deviceShare: 0.5,
  deviceMinimum: 0.0001,
  reservedShare: 0.05,
  diskFreeBytesMin: 64 * 2 ** 20,
  full: 'refuse',
}

/** How fast the backlog may drain; absent bounds do not bind. */
export interface PaceOptions {
  eventsPerSecond?: number | undefined
  bytesPerSecond?: number | undefined
}

export interface LanesOptions extends PaceOptions {
  /** `in-order`: no live lane; everything waits behind the backlog, and devices' order is never broken. */
  catchUp: 'live-first' | 'in-order'
  /** A backlog up to this many events is sent in order; live-first only pays above it. */
  inOrderBelow: number
  /** Part of what leaves that is the normal lane's, however much is in the high one: it never starves. */
  normalShareMin: number
  /** Part of the normal lane's that is the backlog's, however much is live: it never starves. */
  backlogShareMin: number
}

export const defaultLanes: LanesOptions = {
  catchUp: 'live-first',
  inOrderBelow: 1000,
  normalShareMin: 0.2,
  backlogShareMin: 0.2,
}

/** Window of remembered `(source, id)`: at least 7/8 of both bounds, at most the bounds. */
export interface DedupOptions {
  ageMs: number
  count: number
}

export const defaultDedup: DedupOptions = { ageMs: 86_400_000, count: 1_000_000 }
