import { monotonicFactory } from 'ulid'
import { countedFolder } from '../store/counted-folder.ts'
import type { Store } from '../store/store.ts'
import { defaultDedup, defaultLanes, defaultQuota, type OutboxOptions } from './options.ts'
import type { Outbox } from './outbox.ts'
import { Engine } from './writer/engine.ts'

/** What the queue tool needs of an outbox that is at work. */
export interface Inspectable {
  /** The store as it stands, for reading; close it. */
  snapshot(): ReturnType<Store['snapshot']>
}

/**
 * Opens the outbox in a folder, whatever state that is in; see DESIGN.md for what happens to a damaged one. Close it.
 * @throws TidegateError `OUTBOX_LOCKED` | `DATA_FOLDER_UNWRITABLE` | `STORE_UNAVAILABLE` | `STORE_NEWER`, and `OUTBOX_CLOSED` when
 *   `signal` ends the wait for a disk that fails
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox & Inspectable> {
  const ulid = monotonicFactory(options.random)
  return Engine.open({
    ...options,
    folder: countedFolder(options.folder, options),
    quota: { ...defaultQuota, ...options.quota },
    lanes: { ...defaultLanes, ...options.lanes },
    dedup: options.dedup ?? defaultDedup,
    batchEventsMax: options.batchEventsMax ?? 500,
    waitingMax: options.waitingMax ?? 10_000,
    reportIntervalMs: options.reportIntervalMs ?? 5000,
    clockSettleMs: options.clockSettleMs ?? 60_000,
    newEpoch: () => ulid(Math.max(0, options.clock.now())),
  })
}
