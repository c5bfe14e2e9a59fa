import type { Rollup } from './rollups.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import type {
  ClockCorrection,
  EpochClosure,
  HistoryRecord,
  LedgerNote,
} from '../../../cloud/history/history.ts'
import type { DeadLetter } from '../../../cloud/letters/dead-letters.ts'
import { type ParkedDevice, RowLocks, type WaitingEvent } from '../../support/fakes/parking.ts'
import type { Chance } from '../plan/chance.ts'
import { HistoryOrder } from './history-order.ts'
import type { Journal } from './journal.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import type { Effect, LetterStanding, Lock, ReplayRecord, Tables } from './tables.ts'
import { SimulatedTransaction, unreachable } from './transaction.ts'

interface DatabaseParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  latencyMsMax: number
  /** A session that sits in a transaction for this long without asking for anything is ended, ms. */
  idleMsMax: number
}

/** PostgreSQL as far as the pipeline can tell: transactions, unique keys, waits for rivals; it may fail at any time. */
export class SimulatedDatabase implements Tables {
  up = true
  /** Faults: commits that fail, and commits that land although their answer is lost. */
  commitsToLose = 0
  commitsToHide = 0
  readonly inbox = new Set<string>()
  readonly events = new Map<string, HistoryRecord>()
  readonly identities = new Map<string, string>()
  readonly notes = new Map<string, LedgerNote>()
  readonly corrections = new Map<string, ClockCorrection>()
  readonly closures = new Map<string, EpochClosure>()
  readonly rollups = new Map<string, Rollup>()
  readonly effects: Effect[] = []
  readonly letters = new Map<number, DeadLetter>()
  readonly standings = new Map<number, LetterStanding>()
  readonly replays = new Map<number, ReplayRecord>()
  readonly replayCounts: { replay: number; resolved: number; failed: number }[] = []
  readonly order = new HistoryOrder()
  readonly locks = new Map<string, Lock>()
  readonly rowLocks = new RowLocks()
  readonly parkedDevices = new Map<string, ParkedDevice>()
  readonly parkedEvents = new Map<number, WaitingEvent>()
  lastParked = 0
  readonly parts: DatabaseParts
  private lettersNumbered = 0
  private readonly open = new Set<SimulatedTransaction>()

  constructor(parts: DatabaseParts) {
    this.parts = parts
  }

  /** As a sequence: what is rolled back leaves a gap. */
  nextLetter(): number {
    return ++this.lettersNumbered
  }

  fail(forMs: number): void {
    this.up = false
    this.parts.journal.tell('database', 'goes down')
    this.order.crashed()
    for (const tx of this.open) this.finish(tx)
    this.parts.scheduler.after(forMs, () => {
      this.up = true
      this.parts.journal.tell('database', 'is up')
    })
  }

  heal(): void {
    this.up = true
    this.commitsToLose = 0
    this.commitsToHide = 0
  }

  /** A client died; the server notices a little later. */
  abandon(process: SimulatedProcess): void {
    for (const tx of this.open) {
      if (tx.process === process)
        this.parts.scheduler.after(this.parts.random.between(0, 500), () => this.finish(tx))
    }
  }

  storageFor(process: SimulatedProcess): Storage {
    return {
      transaction: async (work, signal) => {
        signal.throwIfAborted()
        const beganAtMs = this.parts.scheduler.nowMs
        await this.request(process, 'connect')
        const tx = new SimulatedTransaction(this, process, beganAtMs)
        this.open.add(tx)
        this.watchIdle(tx)
        try {
          const result = await orAborted(work(tx), signal)
          tx.assertUsable()
          await this.commit(tx)
          return result
        } catch (error) {
          this.finish(tx)
          throw tx.outage ?? error
        }
      },
      probe: () => this.request(process, 'probe'),
      close: async () => {},
    }
  }

  async request(process: SimulatedProcess, what: string): Promise<void> {
    await process.step(`database ${what}`, this.parts.random.between(0.1, this.parts.latencyMsMax))
    if (!this.up) throw unreachable('connection refused')
  }

  /** Ends a transaction without effect, if it has not ended, and lets its rivals go on. */
  finish(tx: SimulatedTransaction): void {
    if (!this.open.delete(tx)) return
    tx.over = true
    this.order.end(tx)
    for (const [key, lock] of this.locks) {
      if (lock.holder !== tx) continue
      this.locks.delete(key)
      lock.free()
    }
    this.rowLocks.free(tx)
    tx.end()
  }

  /** idle_in_transaction_session_timeout: a frozen client gives its locks up. */
  private watchIdle(tx: SimulatedTransaction): void {
    const { scheduler, idleMsMax } = this.parts
    const leftMs = tx.askedAtMs + idleMsMax - scheduler.nowMs
    if (!this.open.has(tx)) return
    if (leftMs <= 0) this.finish(tx)
    else scheduler.after(leftMs, () => this.watchIdle(tx))
  }

  private async commit(tx: SimulatedTransaction): Promise<void> {
    const { journal, random, latencyMsMax } = this.parts
    await tx.request('commit')
    if (this.commitsToLose > 0) {
      this.commitsToLose -= 1
      journal.count('commit-lost')
      journal.tell(tx.process.name, 'commit fails')
      throw (tx.outage = unreachable('connection terminated'))
    }
    for (const apply of tx.staged) apply()
    this.finish(tx)
    if (tx.staged.length > 0) journal.tell(tx.process.name, `commits ${tx.what.join(', ')}`)
    if (this.commitsToHide > 0) {
      this.commitsToHide -= 1
      journal.count('commit-unknown')
      throw (tx.outage = unreachable('connection terminated'))
    }
    await tx.process.step('database committed', random.between(0.1, latencyMsMax))
  }
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    const done = (): void => signal.removeEventListener('abort', onAbort)
    work.finally(done).then(resolve, reject)
  })
}
