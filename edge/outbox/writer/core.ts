import type { Checkpoint } from '../../../src/contract/checkpoint.ts'
import type { SchemasUsed } from '../../../src/contract/schemas-used.ts'
import type { Lane } from '../outbox.ts'
import type { Draft } from './draft.ts'
import type { Pending } from '../rules/arrival.ts'
import type { Holding } from '../rules/holding.ts'
import type { EngineOptions } from '../options.ts'
import type { StoredEvent } from '../layout/record.ts'
import type { Handed } from '../rules/handed.ts'
import type { State } from '../opening/state.ts'
import type { SteadyClock } from '../rules/steady-clock.ts'
import type { Loader } from '../opening/loader.ts'
import type { Pace } from '../rules/pace.ts'

/** A write under way, of which is not known yet whether it takes events out that were not delivered. */
export interface Removal {
  readonly over: Promise<void>
  end(): void
}

/** What the parts of the engine share. Only the engine's writer changes it, one write at a time (I3). */
export interface Core {
  readonly options: EngineOptions
  readonly holding: Holding
  readonly handed: Handed
  readonly steady: SteadyClock
  /** Aborted when the outbox is closed. */
  readonly closing: AbortSignal
  /** Replaced whole when the store had to be opened again. */
  state: State
  /** Events that are removed undelivered, so that a read under way does not hand them out (I8). */
  readonly removing: Set<number>
  removal: Removal | undefined
  /** Lower bounds of a read under way: read from the cursor, not yet handed out (I6). */
  reading: Record<Lane, number> | undefined
  /** What events are judged by, behind what they were judged by since the last write, in order, the newest last: each may have judged one that is in line. */
  schemas: SchemasUsed[]
  /** Positions whose release may or may not have landed before a reload. */
  doubtful: Set<number>
  /** Where the lanes began that were read again after a recount: the sum of both positions, which only grows. */
  readAgainFrom: number | undefined
  diskFreeBytes: number
  /** When undelivered events were reported last, and when the head was written last, by the monotonic clock. */
  lastReportMs: number
  lastHeadMs: number
}

/** A change asked of the engine's writer. */
export type Command =
  | { kind: 'append'; pendings: readonly Pending[] }
  | { kind: 'release'; events: StoredEvent[] }
  | { kind: 'housekeep' }
  | { kind: 'checkpoint'; checkpoint: Checkpoint }
  | { kind: 'schemas' }
  | { kind: 'recount' }
  | { kind: 'reload'; state: State; error: unknown }

/** A write's time is shared by device (G7). What is no device's waits for none: what leaves makes room. */
export function ownerOf(command: Command): string | undefined {
  return command.kind === 'append' ? command.pendings[0]?.submission.candidate.partitionkey : undefined
}

/** As how many events it counts in a write: one of many KiB is written, and hashed, in the time of as many small ones. */
export function weightOf(command: Command): number {
  if (command.kind !== 'append') return 1
  return command.pendings.reduce((sum, { submission }) => {
    return sum + 1 + Math.floor(submission.candidate.text.length / textLengthOfOne)
  }, 0)
}

const textLengthOfOne = 4096

/** Lowest position of a lane that may still be queued (I6), those that `draft` removes left out. */
export function lowestQueued(core: Core, lane: Lane, draft?: Draft): number {
  // Only the normal lane is evicted without a gap: in the high lane ledger events stay.
  const evictedTo = lane === 'normal' ? (draft?.evictedTo(lane, core.state.lanes) ?? 0) : 0
  let lowest = Math.max(lowestUnread(core, lane), evictedTo + 1)
  for (const events of [core.handed.inFlight, core.handed.releasing]) {
    for (const event of events.values()) {
      if (event.lane === lane && event.position < lowest && !draft?.removed.has(event.position))
        lowest = event.position
    }
  }
  return lowest
}

export function lowestUnread(core: Core, lane: Lane): number {
  return Math.min(core.reading?.[lane] ?? Infinity, core.state.lanes.next[lane])
}

/** What there is once the folder was loaded; the rest of the engine is made of it. */
export interface Parts {
  core: Core
  pace: Pace
  loader: Loader
  /** Aborts `core.closing`. */
  closing: AbortController
}
