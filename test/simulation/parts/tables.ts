import type {
  ClockCorrection,
  EpochClosure,
  HistoryRecord,
  LedgerNote,
} from '../../../cloud/history/history.ts'
import type { Rollup } from './rollups.ts'
import type { DeadLetter } from '../../../cloud/letters/dead-letters.ts'
import type { ParkingTables, RowLocks } from '../../support/fakes/parking.ts'
import type { HistoryOrder } from './history-order.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import type { ReplayProgress, ReplayRequest } from '../../../cloud/replays/replays.ts'

/** What a handler did, as it was committed. */
export interface Effect {
  group: string
  key: string
  device: string
  epoch: string
  sequence: number
  text: string
}

/** What becomes of a letter, beside what it says. */
export interface LetterStanding {
  state: 'open' | 'replaying' | 'resolved'
  replay: number | undefined
}

export interface ReplayRecord extends Omit<ReplayProgress, 'stillMs' | 'pageOpen'> {
  replay: number
  request: ReplayRequest
  through: number
  /** The place of the letter that was taken last. */
  cursor: string
  page: readonly number[] | undefined
  claim: string | undefined
  /** Until then it is in somebody's hands, or is not due. */
  untilMs: number
  movedAtMs: number
  isOver: boolean
}

/** A key that a transaction has and its rivals wait for. */
export interface Lock {
  /** The transaction. */
  holder: object
  freed: Promise<void>
  free: () => void
}

/** What a transaction sees of the simulated database: what was committed, and who waits for whom. */
export interface Tables extends ParkingTables {
  readonly inbox: Set<string>
  readonly events: Map<string, HistoryRecord>
  readonly identities: Map<string, string>
  readonly notes: Map<string, LedgerNote>
  readonly corrections: Map<string, ClockCorrection>
  readonly closures: Map<string, EpochClosure>
  readonly rollups: Map<string, Rollup>
  readonly effects: Effect[]
  /** By number. */
  readonly letters: Map<number, DeadLetter>
  readonly standings: Map<number, LetterStanding>
  readonly replayCounts: { replay: number; resolved: number; failed: number }[]
  /** In which order history can be read. */
  readonly order: HistoryOrder
  nextLetter(): number
  readonly locks: Map<string, Lock>
  /** Of parked devices and events. */
  readonly rowLocks: RowLocks
  readonly parts: { readonly scheduler: Scheduler }
  /** A request's time on its way. Throws when the database is down. */
  request(process: SimulatedProcess, what: string): Promise<void>
}
