import type { Transaction } from '../database/storage.ts'
import type { HistorySelection, ReplayedEvent } from './replays.ts'

/** History, as a replay reads it. Port; the adapter is history/replay-pages-postgres.ts. */
export interface HistoryPages {
  /** The next of these events behind a cursor, and before `through`; up to `upTo` if that is given. Work is bounded: a page may be empty. */
  read(tx: Transaction, asked: PageAsked): Promise<HistoryPage>
  /** Everything that is stored by now is before it. */
  end(tx: Transaction): Promise<string>
}

export interface PageAsked {
  after: string
  /** Absent: as far as there is. */
  through?: string | undefined
  /** The end of a page that was read before. */
  upTo?: string | undefined
  selection: HistorySelection
  /** Whether the group takes this type. */
  wants: (type: string) => boolean
  /** What types it takes, if that is known, as patterns: what none of them means is passed over in large steps. */
  patterns?: readonly string[] | undefined
  max: number
}

export interface HistoryPage {
  events: (Omit<ReplayedEvent, 'group' | 'generation'> & {
    /** Nobody had it before: when it was recorded, or stored, whichever is said to be earlier. */
    earliestMs: number
  })[]
  /** Where to go on. */
  next: string
  /** There may be more by now. */
  more: boolean
  /** There is nothing more before `through`, and there will be nothing. */
  exhausted: boolean
}
