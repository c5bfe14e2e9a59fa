import { TidegateError } from '../../../src/errors.ts'
import {
  mergeRollup,
  type Rollup,
  rollupKey,
  type Rollups,
} from '../../../cloud/projections/rollups/rollup.ts'
import type { Added, DeadLetter, DeadLetters } from '../../../cloud/letters/dead-letters.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import { saysTheSame } from '../../../cloud/history/record.ts'
import {
  claimKey,
  type Inbox,
  type QueryResult,
  type Storage,
  type Transaction,
} from '../../../cloud/database/storage.ts'
import type {
  Appended,
  ClockCorrection,
  EpochClosure,
  History,
  HistoryRecord,
  LedgerNote,
} from '../../../cloud/history/history.ts'

/** Where a fault can be put. `after-commit`: committed, and nobody learns of it. */
export type StoragePoint =
  | 'begin'
  | 'claim'
  | 'release'
  | 'append'
  | 'merge'
  | 'letters'
  | 'query'
  | 'commit'
  | 'after-commit'
  | 'probe'

export interface FakeStorageOptions {
  /** Called at each point; may wait (a slow disk) or throw (a fault). Default: nothing. */
  at?: (point: StoragePoint) => Promise<void> | void
}

interface State {
  inbox: Map<string, true>
  /** By `(source, id)`. */
  events: Map<string, HistoryRecord>
  /** By ledger place. */
  places: Map<string, HistoryRecord>
  notes: Map<string, LedgerNote>
  corrections: Map<string, ClockCorrection>
  closures: Map<string, EpochClosure>
  rollups: Map<string, Rollup>
  /** By group and key, those that are open. */
  letters: Map<string, DeadLetter & { letter: number }>
  /** What `tx.query` was asked, for handlers of tests. */
  queries: { sql: string; params: readonly unknown[] }[]
}

export interface FakeStorage extends Storage {
  /** What is committed. */
  readonly committed: Readonly<State>
  /** While true, everything throws `DATABASE_UNREACHABLE`. */
  down: boolean
  readonly transactions: { committed: number; rolledBack: number }
  /** The committed events, by ledger place. */
  events(): HistoryRecord[]
  /** The committed dead letters, in their order. */
  dead(): (DeadLetter & { letter: number })[]
  /** The committed statements of user handlers. */
  effects(): { sql: string; params: readonly unknown[] }[]
}

/**
 * A storage in memory: transactions run one after another and roll back as a whole. Everything waits for promises
 * only, so that a simulation decides the order.
 */
export function createFakeStorage(options: FakeStorageOptions = {}): FakeStorage {
  let committed = emptyState()
  let last: Promise<unknown> = Promise.resolve()
  const transactions = { committed: 0, rolledBack: 0 }

  async function reach(point: StoragePoint): Promise<void> {
    if (storage.down) throw unreachable()
    await options.at?.(point)
  }

  async function run<T>(work: (tx: Transaction) => Promise<T>, signal: AbortSignal): Promise<T> {
    await reach('begin')
    signal.throwIfAborted()
    const draft = copy(committed)
    const tx = new FakeTransaction(draft, reach)
    try {
      const result = await orAborted(work(tx), signal)
      tx.assertUsable()
      await reach('commit')
      committed = draft
      transactions.committed++
      await reach('after-commit')
      return result
    } catch (error) {
      if (committed !== draft) transactions.rolledBack++
      throw tx.outage ?? error
    } finally {
      tx.over = true
    }
  }

  const storage: FakeStorage = {
    down: false,
    transactions,
    get committed() {
      return committed
    },
    transaction(work, signal) {
      const mine = last.then(() => {
        signal.throwIfAborted()
        return run(work, signal)
      })
      last = mine.catch(() => {})
      return mine
    },
    probe: () => reach('probe'),
    close: async () => {
      await last
    },
    events: () =>
      [...committed.places.values()].toSorted(
        (a, b) => compare(a.gateway, b.gateway) || compare(a.epoch, b.epoch) || a.sequence - b.sequence,
      ),
    dead: () => [...committed.letters.values()],
    effects: () => [...committed.queries],
  }
  return storage
}

class FakeTransaction implements Transaction {
  over = false
  outage: TidegateError | undefined
  readonly #draft: State
  readonly #reach: (point: StoragePoint) => Promise<void>
  #spoilt = false

  constructor(draft: State, reach: (point: StoragePoint) => Promise<void>) {
    this.#draft = draft
    this.#reach = reach
  }

  async query<Row>(sql: string, params: readonly unknown[] = []): Promise<QueryResult<Row>> {
    await this.#step('query')
    if (this.#spoilt) throw Object.assign(new Error('current transaction is aborted'), { code: '25P02' })
    if (sql.includes('FAIL')) {
      this.#spoilt = true
      throw Object.assign(new Error('syntax error at or near "FAIL"'), { code: '42601' })
    }
    this.#draft.queries.push({ sql, params })
    return { rows: [], rowCount: 0 }
  }

  async run(name: string): Promise<never> {
    throw new Error(`${name}: in memory there are no statements; see fakeHistory and fakeRollups`)
  }

  assertUsable(): void {
    if (this.outage) throw this.outage
    if (!this.#spoilt) return
    throw new TidegateError('TRANSACTION_SPOILT', {
      message: 'the handler swallowed a failed query',
      retryable: true,
      hint: 'let it pass',
    })
  }

  readonly inbox: Inbox = {
    claim: async (group, claims) => {
      await this.#step('claim')
      return claims.map((claim) => {
        const key = `${group}\n${claimKey(claim)}`
        if (this.#draft.inbox.has(key)) return false
        this.#draft.inbox.set(key, true)
        return true
      })
    },
    release: async (group, claims) => {
      await this.#step('release')
      for (const claim of claims) this.#draft.inbox.delete(`${group}\n${claimKey(claim)}`)
    },
  }

  readonly history: History = {
    append: async (records) => {
      await this.#step('append')
      return records.map((record) => this.#append(record))
    },
    note: (notes) =>
      this.#add(this.#draft.notes, notes, (note) =>
        [note.gateway, note.epoch, note.from, note.to, note.reason].join('\n'),
      ),
    correctClock: (corrections) =>
      this.#add(this.#draft.corrections, corrections, (it) =>
        [it.gateway, it.epoch, it.from, it.to, it.eventSequence].join('\n'),
      ),
    closeEpochs: (closures) =>
      this.#add(this.#draft.closures, closures, (closure) =>
        [closure.gateway, closure.epoch, closure.lastSequence].join('\n'),
      ),
  }

  readonly rollups: Rollups = {
    merge: async (rollups) => {
      await this.#step('merge')
      for (const rollup of rollups) {
        const known = this.#draft.rollups.get(rollupKey(rollup))
        const merged = { ...(known ?? rollup) }
        if (known) mergeRollup(merged, rollup)
        this.#draft.rollups.set(rollupKey(rollup), merged)
      }
    },
  }

  readonly letters: DeadLetters = {
    add: async (letters) => {
      await this.#step('letters')
      return letters.map((letter) => this.#addLetter(letter))
    },
    failedAgain: async (letters) => {
      await this.#step('letters')
      return letters.map((letter) => this.#failedAgain(letter)?.letter)
    },
  }

  #addLetter(letter: DeadLetter): Added {
    const { letters } = this.#draft
    const name = `${letter.group} ${letter.key.toString('hex')}`
    const there = this.#failedAgain(letter)
    if (there) return { letter: there.letter, isNew: false }
    letters.set(name, { ...letter, letter: letters.size + 1 })
    return { letter: letters.size, isNew: true }
  }

  #failedAgain({ group, key, failures, lastFailedAt }: DeadLetter): { letter: number } | undefined {
    const { letters } = this.#draft
    const name = `${group} ${key.toString('hex')}`
    const there = letters.get(name)
    if (there === undefined) return undefined
    const told = new Set(there.failures.map((failure) => JSON.stringify(failure)))
    const more = failures.filter((failure) => !told.has(JSON.stringify(failure)))
    const all = [...there.failures, ...more].slice(-10)
    letters.set(name, { ...there, failures: all, lastFailedAt })
    return there
  }

  #append(record: HistoryRecord): Appended {
    const identity = `${record.source}\n${record.id}`
    const place = `${record.gateway}\n${record.epoch}\n${record.sequence}`
    const known = this.#draft.events.get(identity)
    if (known === undefined) {
      if (this.#draft.places.has(place)) return 'place-taken'
      this.#draft.events.set(identity, record)
      this.#draft.places.set(place, record)
      return 'stored'
    }
    if (this.#draft.places.get(place) === known) return 'again'
    return saysTheSame(known.body, record.body) ? 'repeat' : 'rival'
  }

  async #add<T>(into: Map<string, T>, items: readonly T[], key: (item: T) => string): Promise<void> {
    await this.#step('append')
    for (const item of items) if (!into.has(key(item))) into.set(key(item), item)
  }

  async #step(point: StoragePoint): Promise<void> {
    if (this.over) {
      throw new TidegateError('TRANSACTION_OVER', {
        message: 'it is over',
        retryable: false,
        hint: 'await it',
      })
    }
    try {
      await this.#reach(point)
    } catch (error) {
      if (error instanceof TidegateError && error.code === 'DATABASE_UNREACHABLE') this.outage = error
      throw error
    }
  }
}

/** In place of `postgresHistory`. */
export function fakeHistory(transaction: Statements): History {
  return fakeOf(transaction).history
}

/** In place of `postgresRollups`. */
export function fakeRollups(transaction: Statements): Rollups {
  return fakeOf(transaction).rollups
}

/** In place of `postgresDeadLetters`. */
export function fakeDeadLetters(transaction: Statements): DeadLetters {
  return fakeOf(transaction).letters
}

function fakeOf(transaction: Statements): FakeTransaction {
  if (transaction instanceof FakeTransaction) return transaction
  throw new Error('not a transaction of the fake storage')
}

export function unreachable(): TidegateError {
  return new TidegateError('DATABASE_UNREACHABLE', {
    message: 'the database is down',
    retryable: true,
    hint: 'start it',
  })
}

function emptyState(): State {
  return {
    inbox: new Map(),
    events: new Map(),
    places: new Map(),
    notes: new Map(),
    corrections: new Map(),
    closures: new Map(),
    rollups: new Map(),
    letters: new Map(),
    queries: [],
  }
}

function copy(state: State): State {
  return {
    inbox: new Map(state.inbox),
    events: new Map(state.events),
    places: new Map(state.places),
    notes: new Map(state.notes),
    corrections: new Map(state.corrections),
    closures: new Map(state.closures),
    rollups: new Map(state.rollups),
    letters: new Map(state.letters),
    queries: [...state.queries],
  }
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const settled = new AbortController()
  try {
    return await new Promise<T>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), {
        once: true,
        signal: settled.signal,
      })
      work.then(resolve, reject)
    })
  } finally {
    settled.abort()
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
