import { TidegateError } from '../../../src/errors.ts'
import type { Added, DeadLetter, DeadLetters } from '../../../cloud/letters/dead-letters.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import { listedFailuresMax } from '../../../cloud/letters/story.ts'
import { saysTheSame } from '../../../cloud/history/record.ts'
import type { Parking } from '../../../cloud/parking/parking.ts'
import { type LockMode, memoryParking, type ParkingTables, RowLocks } from './parking.ts'
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
  | 'parking'
  | 'letters'
  | 'open-letters'
  | 'query'
  | 'commit'
  | 'after-commit'
  | 'probe'

export interface FakeStorageOptions {
  /** Called at each point; may wait (a slow disk) or throw (a fault). Default: nothing. */
  at?: (point: StoragePoint, what?: string) => Promise<void> | void
  /** The database's clock. Default: it stands still. */
  nowMs?: () => number
}

interface State extends ParkingTables {
  inbox: Map<string, true>
  /** By `(source, id)`. */
  events: Map<string, HistoryRecord>
  /** By ledger place. */
  places: Map<string, HistoryRecord>
  notes: Map<string, LedgerNote>
  corrections: Map<string, ClockCorrection>
  closures: Map<string, EpochClosure>
  /** By group and key, those that are open. */
  letters: Map<string, DeadLetter & { letter: number }>
  /** Numbers are given out whether or not they are committed. */
  lastLetter: number
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
 * A storage in memory: transactions run beside each other, wait for whoever has a key that they want, and roll back as a whole.
 * Everything waits for promises only, so that a test decides the order.
 */
export function createFakeStorage(options: FakeStorageOptions = {}): FakeStorage {
  const committed = emptyState()
  const locks = new RowLocks()
  const open = new Set<Promise<unknown>>()
  const transactions = { committed: 0, rolledBack: 0 }
  const nowMs = options.nowMs ?? (() => 0)

  async function reach(point: StoragePoint, what?: string): Promise<void> {
    if (storage.down) throw unreachable()
    await options.at?.(point, what)
  }

  async function run<T>(work: (tx: Transaction) => Promise<T>, signal: AbortSignal): Promise<T> {
    await reach('begin')
    signal.throwIfAborted()
    const tx = new FakeTransaction({ committed, locks, reach, nowMs })
    let isCommitted = false
    try {
      const result = await orAborted(work(tx), signal)
      tx.assertUsable()
      await reach('commit')
      isCommitted = true
      tx.commit()
      transactions.committed++
      await reach('after-commit')
      return result
    } catch (error) {
      if (!isCommitted) transactions.rolledBack++
      throw tx.outage ?? error
    } finally {
      tx.end()
    }
  }

  const storage: FakeStorage = {
    down: false,
    transactions,
    get committed() {
      return committed
    },
    async transaction(work, signal) {
      signal.throwIfAborted()
      const mine = run(work, signal)
      open.add(mine)
      try {
        return await mine
      } finally {
        open.delete(mine)
      }
    },
    probe: () => reach('probe'),
    close: async () => {
      await Promise.allSettled(open)
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

interface FakeTransactionParts {
  committed: State
  locks: RowLocks
  reach: (point: StoragePoint, what?: string) => Promise<void>
  nowMs: () => number
}

/** The tables that it reads as it has changed them. */
type Table = 'inbox' | 'events' | 'places' | 'notes' | 'corrections' | 'closures' | 'letters'
type ValueOf<Name extends Table> = State[Name] extends Map<string, infer Value> ? Value : never

class FakeTransaction implements Transaction {
  over = false
  outage: TidegateError | undefined
  readonly parking: Parking
  readonly #parts: FakeTransactionParts
  /** By table and key; undefined: removed. */
  readonly #own = new Map<string, { apply: () => void; value: unknown }>()
  readonly #staged: (() => void)[] = []
  readonly #ended: Promise<void>
  #end: () => void = () => {}
  #spoilt = false

  constructor(parts: FakeTransactionParts) {
    this.#parts = parts
    this.#ended = new Promise((resolve) => (this.#end = resolve))
    this.parking = memoryParking({
      tables: parts.committed,
      nowMs: parts.nowMs,
      step: (what) => this.#step('parking', what),
      lock: (key, mode) => this.#lock(key, mode),
      tryLock: (key, mode) => parts.locks.take(key, this, mode, this.#ended) === undefined,
      stage: (apply) => void this.#staged.push(apply),
    })
  }

  commit(): void {
    for (const { apply } of this.#own.values()) apply()
    for (const apply of this.#staged) apply()
  }

  end(): void {
    this.over = true
    this.#parts.locks.free(this)
    this.#end()
  }

  async query<Row>(sql: string, params: readonly unknown[] = []): Promise<QueryResult<Row>> {
    await this.#step('query')
    if (this.#spoilt) throw Object.assign(new Error('current transaction is aborted'), { code: '25P02' })
    if (sql.includes('FAIL')) {
      this.#spoilt = true
      throw Object.assign(new Error('syntax error at or near "FAIL"'), { code: '42601' })
    }
    this.#staged.push(() => this.#parts.committed.queries.push({ sql, params }))
    return { rows: [], rowCount: 0 }
  }

  async run(name: string): Promise<never> {
    throw new Error(
      `${name}: in memory there are no statements; see fakeHistory, fakeDeadLetters and fakeParking`,
    )
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
      const keys = claims.map((claim) => `${group}\n${claimKey(claim)}`)
      for (const key of keys.toSorted()) await this.#lock(`inbox ${key}`, 'whole')
      return keys.map((key) => {
        if (this.#get('inbox', key)) return false
        this.#set('inbox', key, true)
        return true
      })
    },
    release: async (group, claims) => {
      await this.#step('release')
      for (const claim of claims) this.#set('inbox', `${group}\n${claimKey(claim)}`, undefined)
    },
  }

  readonly history: History = {
    append: async (records) => {
      await this.#step('append')
      for (const key of records.flatMap(keysOf).toSorted()) await this.#lock(`history ${key}`, 'whole')
      return records.map((record) => this.#append(record))
    },
    note: (notes) =>
      this.#add('notes', notes, (note) =>
        [note.gateway, note.epoch, note.from, note.to, note.reason].join('\n'),
      ),
    correctClock: (corrections) =>
      this.#add('corrections', corrections, (it) =>
        [it.gateway, it.epoch, it.from, it.to, it.eventSequence].join('\n'),
      ),
    closeEpochs: (closures) =>
      this.#add('closures', closures, (closure) =>
        [closure.gateway, closure.epoch, closure.lastSequence].join('\n'),
      ),
  }

  readonly letters: DeadLetters = {
    add: async (letters) => {
      await this.#step('letters')
      const names = letters.map(nameOf)
      for (const name of names.toSorted()) await this.#lock(`letter ${name}`, 'whole')
      return letters.map((letter, index) => this.#addLetter(names[index] as string, letter))
    },
    openOf: async (group, keys) => {
      await this.#step('open-letters')
      const names = keys.map((key) => key.toString('hex'))
      return new Set(names.filter((name) => this.#get('letters', `${group} ${name}`)))
    },
    failedAgain: async (letters) => {
      await this.#step('letters')
      for (const name of letters.map(nameOf).toSorted()) await this.#lock(`letter ${name}`, 'whole')
      return letters.map((letter) => this.#failedAgain(letter)?.letter)
    },
  }

  #addLetter(name: string, given: DeadLetter): Added {
    const there = this.#failedAgain(given)
    if (there) return { letter: there.letter, isNew: false }
    const letter = (this.#parts.committed.lastLetter += 1)
    this.#set('letters', name, { ...given, letter })
    return { letter, isNew: true }
  }

  #failedAgain(letter: DeadLetter): { letter: number } | undefined {
    const there = this.#get('letters', nameOf(letter))
    if (there === undefined) return undefined
    const told = new Set(there.failures.map((failure) => JSON.stringify(failure)))
    const more = letter.failures.filter((failure) => !told.has(JSON.stringify(failure)))
    const failures = [...there.failures, ...more].slice(-listedFailuresMax)
    this.#set('letters', nameOf(letter), { ...there, failures, lastFailedAt: letter.lastFailedAt })
    return there
  }

  #append(record: HistoryRecord): Appended {
    const [identity, place] = keysOf(record)
    const known = this.#get('events', identity)
    if (known === undefined) {
      if (this.#get('places', place)) return 'place-taken'
      this.#set('events', identity, record)
      this.#set('places', place, record)
      return 'stored'
    }
    if (this.#get('places', place) === known) return 'again'
    return saysTheSame(known.body, record.body) ? 'repeat' : 'rival'
  }

  async #add<Name extends 'notes' | 'corrections' | 'closures'>(
    table: Name,
    items: readonly ValueOf<Name>[],
    keyOf: (item: ValueOf<Name>) => string,
  ): Promise<void> {
    await this.#step('append')
    for (const item of items) {
      await this.#lock(`${table} ${keyOf(item)}`, 'whole')
      if (this.#get(table, keyOf(item)) === undefined) this.#set(table, keyOf(item), item)
    }
  }

  #get<Name extends Table>(table: Name, key: string): ValueOf<Name> | undefined {
    const own = this.#own.get(`${table} ${key}`)
    return own ? (own.value as ValueOf<Name> | undefined) : (this.#tableOf(table).get(key) as ValueOf<Name>)
  }

  #set<Name extends Table>(table: Name, key: string, value: ValueOf<Name> | undefined): void {
    const rows = this.#tableOf(table)
    const apply = (): void => void (value === undefined ? rows.delete(key) : rows.set(key, value))
    this.#own.set(`${table} ${key}`, { value, apply })
  }

  #tableOf(table: Table): Map<string, unknown> {
    return this.#parts.committed[table]
  }

  async #lock(key: string, mode: LockMode): Promise<void> {
    const take = (): Promise<void> | undefined => this.#parts.locks.take(key, this, mode, this.#ended)
    for (let rival = take(); rival; rival = take()) await rival
  }

  async #step(point: StoragePoint, what?: string): Promise<void> {
    if (this.over) {
      throw new TidegateError('TRANSACTION_OVER', {
        message: 'it is over',
        retryable: false,
        hint: 'await it',
      })
    }
    try {
      await this.#parts.reach(point, what)
    } catch (error) {
      if (error instanceof TidegateError && error.code === 'DATABASE_UNREACHABLE') this.outage = error
      throw error
    }
  }
}

/** Of its identity and of its place. */
function keysOf({ source, id, gateway, epoch, sequence }: HistoryRecord): [string, string] {
  return [`${source}\n${id}`, `${gateway}\n${epoch}\n${sequence}`]
}

function nameOf({ group, key }: DeadLetter): string {
  return `${group} ${key.toString('hex')}`
}

/** In place of `postgresHistory`. */
export function fakeHistory(transaction: Statements): History {
  return fakeOf(transaction).history
}

/** In place of `postgresParking`. */
export function fakeParking(transaction: Statements): Parking {
  return fakeOf(transaction).parking
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
    letters: new Map(),
    queries: [],
    parkedDevices: new Map(),
    parkedEvents: new Map(),
    lastParked: 0,
    lastLetter: 0,
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
