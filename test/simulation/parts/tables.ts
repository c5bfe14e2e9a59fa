import type {
  ClockCorrection,
  EpochClosure,
  HistoryRecord,
  LedgerNote,
} from '../../../cloud/history/history.ts'
import type { Rollup } from '../../../cloud/projections/rollup.ts'
import type { DeadLetter } from '../../../cloud/letters/dead-letters.ts'
import type { ParkingTables, RowLocks } from '../../support/fakes/parking.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'

/** What a handler did, as it was committed. */
export interface Effect {
  group: string
  key: string
  device: string
  epoch: string
  sequence: number
  text: string
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
  nextLetter(): number
  readonly locks: Map<string, Lock>
  /** Of parked devices and events. */
  readonly rowLocks: RowLocks
  readonly parts: { readonly scheduler: Scheduler }
  /** A request's time on its way. Throws when the database is down. */
  request(process: SimulatedProcess, what: string): Promise<void>
}
