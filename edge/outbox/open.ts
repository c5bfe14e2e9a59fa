import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import { monotonicFactory } from 'ulid'
import type { OutboxObserver } from './observer.ts'
import type { Outbox } from './outbox.ts'
import type { Store, StoreFolder } from '../store/store.ts'
import { countedFolder } from '../store/counted-folder.ts'
import type { DedupOptions } from './rules/dedup.ts'
import { Engine } from './writer/engine.ts'
import { defaultLanes, type LanesOptions } from './rules/lanes.ts'
import { defaultQuota, type QuotaOptions } from './rules/quota.ts'

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

/** What the queue tool needs of an outbox that is at work. */
export interface Inspectable {
  /** The store as it stands, for reading; close it. */
  snapshot(): ReturnType<Store['snapshot']>
}

/**
 * Opens the outbox in a folder, whatever state it is in; see DESIGN.md for what happens to a damaged one.
 * @throws TidegateError `OUTBOX_LOCKED` | `DATA_FOLDER_UNWRITABLE` | `STORE_UNAVAILABLE`, and `OUTBOX_CLOSED` when
 *   `signal` ends the wait for a disk that fails
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox & Inspectable> {
  const ulid = monotonicFactory(options.random)
  const engine = new Engine({
    ...options,
    folder: countedFolder(options.folder, options),
    quota: { ...defaultQuota, ...options.quota },
    lanes: { ...defaultLanes, ...options.lanes },
    dedup: options.dedup ?? { ageMs: 86_400_000, count: 1_000_000 },
    batchEventsMax: options.batchEventsMax ?? 500,
    waitingMax: options.waitingMax ?? 10_000,
    reportIntervalMs: options.reportIntervalMs ?? 5000,
    clockSettleMs: options.clockSettleMs ?? 60_000,
    newEpoch: () => ulid(Math.max(0, options.clock.now())),
  })
  await engine.open()
  return engine
}
