import { TidegateError } from '../../src/errors.ts'
import { type Rollup, mergeRollup, rollupKey } from '../../cloud/rollup.ts'
import type {
  Appended,
  ClockCorrection,
  EpochClosure,
  EventIdentity,
  History,
  HistoryRecord,
  Inbox,
  LedgerNote,
  LedgerPlace,
  QueryResult,
  Rollups,
  Storage,
  Transaction,
} from '../../cloud/storage.ts'
import type { Chance } from './chance.ts'
import type { Journal } from './journal.ts'
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

interface DatabaseParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  latencyMsMax: number
  /** A session that sits in a transaction for this long without asking for anything is ended, ms. */
  idleMsMax: number
}

/** As PostgreSQL's adapter gives a statement up. */
const lockWaitMsMax = 30_000

/** PostgreSQL as far as the pipeline can tell: transactions, unique keys, waits for rivals; it may fail at any time. */
export class SimulatedDatabase {
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
  readonly locks = new Map<string, { holder: SimulatedTransaction; freed: Promise<void>; free: () => void }>()
  readonly parts: DatabaseParts
  private readonly open = new Set<SimulatedTransaction>()

  constructor(parts: DatabaseParts) {
    this.parts = parts
  }

  fail(forMs: number): void {
    this.up = false
    this.parts.journal.tell('database', 'goes down')
    for (const tx of [...this.open]) this.finish(tx)
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
    for (const tx of [...this.open]) {
      if (tx.process === process)
        this.parts.scheduler.after(this.parts.random.between(0, 500), () => this.finish(tx))
    }
  }

  storageFor(process: SimulatedProcess): Storage {
    return {
      transaction: async (work, signal) => {
        signal.throwIfAborted()
        await this.request(process, 'connect')
        const tx = new SimulatedTransaction(this, process)
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
    for (const [key, lock] of this.locks) {
      if (lock.holder !== tx) continue
      this.locks.delete(key)
      lock.free()
    }
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

export class SimulatedTransaction implements Transaction {
  readonly inbox: Inbox
  readonly history: History
  readonly rollups: Rollups
  readonly process: SimulatedProcess
  readonly staged: (() => void)[] = []
  readonly what: string[] = []
  over = false
  askedAtMs: number
  outage: TidegateError | undefined
  private readonly database: SimulatedDatabase
  private readonly own = new Map<string, string>()

  constructor(database: SimulatedDatabase, process: SimulatedProcess) {
    this.database = database
    this.process = process
    this.askedAtMs = database.parts.scheduler.nowMs
    this.inbox = { claim: (group, identities) => this.claim(group, identities) }
    this.history = {
      append: (records) => this.append(records),
      note: (notes) =>
        this.keep(database.notes, notes, (n) => `${n.gateway}\n${n.epoch}\n${n.from}\n${n.to}\n${n.reason}`),
      correctClock: (corrections) =>
        this.keep(database.corrections, corrections, (c) => `${c.gateway}\n${c.epoch}\n${c.eventSequence}`),
      closeEpochs: (closures) => this.keep(database.closures, closures, (c) => `${c.gateway}\n${c.epoch}`),
    }
    this.rollups = {
      merge: async (rollups) => {
        await this.request('merge')
        this.staged.push(() => {
          for (const rollup of rollups) {
            const known = database.rollups.get(rollupKey(rollup))
            if (known) mergeRollup(known, rollup)
            else database.rollups.set(rollupKey(rollup), { ...rollup })
          }
        })
      },
    }
  }

  /** The one statement that the simulated handler makes. */
  async query<Row>(_sql: string, params: readonly unknown[] = []): Promise<QueryResult<Row>> {
    await this.request('query')
    const [effect] = params as [Effect]
    this.what.push(`${effect.group} ${effect.sequence}`)
    this.staged.push(() => this.database.effects.push(effect))
    return { rows: [], rowCount: 1 }
  }

  assertUsable(): void {
    if (this.outage) throw this.outage
  }

  async request(what: string): Promise<void> {
    if (this.outage) throw this.outage
    try {
      await this.database.request(this.process, what)
    } catch (error) {
      throw (this.outage = error as TidegateError)
    }
    if (this.over) throw (this.outage = unreachable('terminating connection'))
    this.askedAtMs = this.database.parts.scheduler.nowMs
  }

  private async claim(group: string, identities: readonly EventIdentity[]): Promise<boolean[]> {
    await this.request('claim')
    const { inbox } = this.database
    const keys = identities.map(({ source, id }) => `${group}\n${source}\n${id}`)
    for (const key of keys.toSorted()) await this.lock(`inbox ${key}`)
    return keys.map((key) => {
      if (inbox.has(key) || this.own.has(key)) return false
      this.own.set(key, '')
      this.staged.push(() => inbox.add(key))
      return true
    })
  }

  private async append(records: readonly HistoryRecord[]): Promise<Appended[]> {
    await this.request('append')
    const { events, identities } = this.database
    const byPlace = records.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
    for (const record of byPlace) {
      await this.lock(`place ${placeOf(record)}`)
      await this.lock(`identity ${identityOf(record)}`)
    }
    return records.map((record) => {
      const place = placeOf(record)
      const identity = identityOf(record)
      const known = identities.get(identity) ?? this.own.get(identity)
      if (known !== undefined) return known === place ? 'again' : 'repeat'
      if (events.has(place) || this.own.has(place)) return 'place-taken'
      this.own.set(identity, place)
      this.own.set(place, identity)
      this.what.push(`history ${record.sequence}`)
      this.staged.push(() => {
        events.set(place, record)
        identities.set(identity, place)
      })
      return 'stored'
    })
  }

  private async keep<T>(table: Map<string, T>, rows: readonly T[], keyOf: (row: T) => string): Promise<void> {
    if (rows.length === 0) return
    await this.request('note')
    this.staged.push(() => {
      for (const row of rows) if (!table.has(keyOf(row))) table.set(keyOf(row), row)
    })
  }

  /** Waits for whoever holds the key to commit or roll back. */
  private async lock(key: string): Promise<void> {
    const { locks, parts } = this.database
    const untilMs = parts.scheduler.nowMs + lockWaitMsMax
    for (let held = locks.get(key); held && held.holder !== this; held = locks.get(key)) {
      const leftMs = untilMs - parts.scheduler.nowMs
      if (leftMs <= 0) throw (this.outage = unreachable('query read timeout'))
      await Promise.race([held.freed, this.process.step('lock', leftMs)])
      await this.process.step('locked', 0)
      this.askedAtMs = parts.scheduler.nowMs
      if (this.over) throw (this.outage = unreachable('connection terminated'))
    }
    if (locks.has(key)) return
    let free = (): void => {}
    const freed = new Promise<void>((resolve) => {
      free = resolve
    })
    locks.set(key, { holder: this, freed, free })
  }
}

export function placeOf({ gateway, epoch, sequence }: LedgerPlace): string {
  return `${gateway}\n${epoch}\n${String(sequence).padStart(12, '0')}`
}

function identityOf({ source, id }: EventIdentity): string {
  return `${source}\n${id}`
}

function unreachable(detail: string): TidegateError {
  return new TidegateError('DATABASE_UNREACHABLE', { message: detail, retryable: true, hint: '' })
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    work.then(resolve, reject)
  })
}
