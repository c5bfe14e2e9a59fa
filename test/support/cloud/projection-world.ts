import type { Transaction } from '../../../cloud/database/storage.ts'
import type { HistoryReader, StoredEvent } from '../../../cloud/history/reader.ts'
import {
  defineProjection,
  type LoadedProjection,
  type ProjectionOptions,
} from '../../../cloud/projections/definition.ts'
import { type Runner, type RunnerOptions, startRunner } from '../../../cloud/projections/runner.ts'
import { createTurns } from '../../../cloud/projections/pace.ts'
import type { Lease, Leases, Poison, VersionsIn, VersionState } from '../../../cloud/projections/versions.ts'
import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger } from './cloud-events.ts'

/** A mechanism that is taken away, to see that it is noticed. */
export type ProjectionFault =
  | 'cursor-outside-the-transaction'
  | 'effects-outside-the-transaction'
  | 'lease-unchecked'
  | 'row-not-locked'
  | 'halted-behind-the-event'
  | 'halted-whatever-was-done-meanwhile'

interface Row {
  token: bigint
  heldUntilMs: number
  state: VersionState
  cursor: string
  poison: Poison | undefined
}

interface Draft {
  row: Row
  effects: number[]
}

/** One transaction of a runner, as the fake database sees it. */
interface FakeTx {
  owner: number
  token: bigint
  draft: Draft | undefined
}

const leaseMs = 4_000
const pageMax = 3

/**
 * Instances of the real runner on a database in memory: at every statement one may be killed, or wait for as long as it likes while the
 * others go on. All chance comes from a seed.
 */
export class ProjectionWorld {
  readonly violations: string[] = []
  skipped: number[] = []
  readonly #random: () => number
  readonly #fault: ProjectionFault | undefined
  readonly #events: StoredEvent[] = []
  readonly #poison: ReadonlySet<number>
  readonly #ledger = new Ledger()
  #committed: Draft = {
    row: { token: 0n, heldUntilMs: -1, state: 'new', cursor: '', poison: undefined },
    effects: [],
  }
  #lockedBy: FakeTx | undefined
  #horizon = 0
  #nowMs = 0
  #steps: { owner: number; go: () => void }[] = []
  #timers: { atMs: number; owner: number; go: () => void }[] = []
  #runners = new Map<number, Runner>()
  #nextOwner = 1

  constructor(random: () => number, events: number, fault?: ProjectionFault) {
    this.#random = random
    this.#fault = fault
    for (let position = 1; position <= events; position++) this.#events.push(this.#eventAt(position))
    const poison = this.#events.filter(() => this.#chance(0.1)).map(({ position }) => position)
    this.#poison = new Set(poison)
  }

  async run(steps: number): Promise<void> {
    for (let instance = 0; instance < 3; instance++) this.#start()
    for (let step = 0; step < steps; step++) {
      if (this.#chance(0.05)) this.#horizon = Math.min(this.#events.length, this.#horizon + 1)
      if (this.#chance(0.02)) this.#kill()
      if (this.#chance(0.05)) this.#resume(this.#chance(0.5))
      if (this.#chance(0.02)) this.#rebuild()
      await this.#turn()
    }
    // From here on nobody dies, and all is applied some time.
    this.#horizon = this.#events.length
    for (let turn = 0; turn < 4000 && this.#behind(); turn++) {
      if (this.#committed.row.state === 'halted') this.#resume(true)
      await this.#turn()
    }
    const wanted = this.#events.map(({ position }) => position).filter((one) => !this.skipped.includes(one))
    const has = this.#committed.effects
    if (has.join() !== wanted.join()) this.violations.push(`has ${has.join()} and not ${wanted.join()}`)
  }

  #behind(): boolean {
    const { row } = this.#committed
    return row.state === 'halted' || row.state === 'new' || Number(row.cursor || 0) < this.#events.length
  }

  #chance(share: number): boolean {
    return this.#random() < share
  }

  #eventAt(position: number): StoredEvent {
    const { event, text } = this.#ledger.next('a')
    const { source, id, type, gateway, epoch, sequence } = event
    const place = { source, id, type, gateway, epoch, sequence }
    return { ...place, cursor: String(position), position, storedMs: 0, disposition: 'accepted', text }
  }

  /** Whoever may go on, goes on; now and then time does. */
  async #turn(): Promise<void> {
    const goOn = this.#steps.length > 0 && !this.#chance(0.2)
    const pool: { go: () => void }[] = goOn ? this.#steps : this.#timers
    if (pool.length === 0) return settle()
    const index = goOn ? Math.floor(this.#random() * pool.length) : this.#earliest()
    const [next] = pool.splice(index, 1)
    if (!goOn && next) this.#nowMs = Math.max(this.#nowMs, (next as { atMs: number } & typeof next).atMs)
    next?.go()
    await settle()
  }

  #earliest(): number {
    return this.#timers.reduce(
      (best, timer, index, all) => (timer.atMs < (all[best]?.atMs ?? 0) ? index : best),
      0,
    )
  }

  #kill(): void {
    const owners = [...this.#runners.keys()]
    const owner = owners[Math.floor(this.#random() * owners.length)]
    if (owner === undefined) return
    this.#runners.delete(owner)
    this.#steps = this.#steps.filter((step) => step.owner !== owner)
    this.#timers = this.#timers.filter((timer) => timer.owner !== owner)
    // Its session ends, and what it has locked is free.
    if (this.#lockedBy?.owner === owner) this.#lockedBy = undefined
    this.#start()
  }

  /** Somebody has a version that has stopped go on, with the event or without it. */
  #resume(skip: boolean): void {
    const { row } = this.#committed
    if (row.state !== 'halted' || this.#lockedBy) return
    const at = Number(row.poison?.cursor)
    if (!this.#poison.has(at)) this.violations.push(`stopped at ${at}, which can be applied`)
    if (skip) this.skipped.push(at)
    const cursor = skip ? String(at) : row.cursor
    this.#committed.row = { ...row, state: 'building', cursor, poison: undefined }
  }

  /** Somebody has it begin again: whoever holds it makes its tables anew. */
  #rebuild(): void {
    if (this.#lockedBy) return
    this.skipped = []
    this.#committed.row = { ...this.#committed.row, state: 'new', cursor: '', poison: undefined }
  }

  #start(): void {
    const owner = this.#nextOwner++
    this.#runners.set(owner, startRunner(this.#optionsOf(owner)))
  }

  /** A statement on its way: it goes on when it is its turn, or never. */
  #step(owner: number): Promise<void> {
    return new Promise((go) => this.#steps.push({ owner, go }))
  }

  #optionsOf(owner: number): RunnerOptions {
    const versionsIn = (tx: unknown): VersionsIn => this.#versionsIn(txOf(tx))
    const readerIn = (tx: unknown): HistoryReader => this.#readerIn(txOf(tx))
    return {
      projection: withoutFile({
        name: 'counted',
        version: 1,
        events: ['#'],
        tables: 'create table counted ()',
        apply: async (events, { tx }) => {
          for (const { sequence } of events) {
            if (this.#poison.has(sequence)) throw new Error(`cannot ${sequence}`)
            await tx.query('', [sequence])
          }
        },
      }),
      definition: 'x',
      readAs: (event) => event,
      timeoutMs: 1e9,
      storage: {
        transaction: (work) => this.#transaction(owner, work),
        probe: async () => {},
        close: async () => {},
      },
      leases: this.#leasesOf(owner),
      tables: {
        enter: async () => {},
        make: async (tx) => {
          const { draft } = txOf(tx)
          if (draft) draft.effects = []
          if (this.#fault === 'effects-outside-the-transaction') this.#committed.effects = []
        },
      },
      versionsIn,
      readerIn,
      runJob: async () => ({}),
      clock: this.#clockOf(owner),
      random: this.#random,
      log: silentLog,
      leaseMs,
      batchMax: pageMax,
      turns: createTurns(1),
    }
  }

  #clockOf(owner: number): Clock {
    return {
      now: () => this.#nowMs,
      monotonicMs: () => this.#nowMs,
      sleep: (delayMs) => new Promise((go) => this.#timers.push({ atMs: this.#nowMs + delayMs, owner, go })),
      after: () => ({ cancel: () => {} }),
    }
  }

  #leasesOf(owner: number): Leases {
    return {
      register: () => this.#step(owner),
      take: async (key) => {
        await this.#step(owner)
        const { row } = this.#committed
        if (this.#lockedBy || row.heldUntilMs >= this.#nowMs) return undefined
        row.token += 1n
        row.heldUntilMs = this.#nowMs + leaseMs
        return { ...key, token: row.token }
      },
      renew: async ({ token }) => {
        await this.#step(owner)
        const { row } = this.#committed
        if (row.token !== token) return false
        row.heldUntilMs = this.#nowMs + leaseMs
        return true
      },
      leave: () => this.#step(owner),
    }
  }

  async #transaction<T>(owner: number, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const tx: FakeTx = { owner, token: 0n, draft: undefined }
    await this.#step(owner)
    try {
      const result = await work(this.#transactionOf(tx))
      await this.#step(owner)
      this.#commit(tx)
      return result
    } finally {
      if (this.#lockedBy === tx) this.#lockedBy = undefined
    }
  }

  #transactionOf(tx: FakeTx): Transaction {
    return {
      fake: tx,
      query: async (_: string, [sequence]: readonly number[] = []) => {
        await this.#step(tx.owner)
        const effects =
          this.#fault === 'effects-outside-the-transaction' ? this.#committed.effects : tx.draft?.effects
        if (sequence !== undefined) effects?.push(sequence)
        return { rows: [], rowCount: 1 }
      },
      assertUsable: () => {},
    } as unknown as Transaction
  }

  #commit(tx: FakeTx): void {
    if (tx.draft === undefined) return
    const { row } = this.#committed
    if (row.token !== tx.token) this.violations.push(`token ${tx.token} commits after ${row.token}`)
    this.#committed = {
      row: { ...tx.draft.row, token: row.token },
      effects: this.#fault === 'effects-outside-the-transaction' ? this.#committed.effects : tx.draft.effects,
    }
  }

  #readerIn({ owner }: FakeTx): HistoryReader {
    return {
      read: async (after, { max }) => {
        await this.#step(owner)
        const from = Number(after || 0)
        const events = this.#events.slice(from, Math.min(this.#horizon, from + max))
        const more = events.length >= max
        const next = String(events.at(-1)?.position ?? Math.max(from, this.#horizon))
        return { events, next, more }
      },
    }
  }

  #versionsIn(tx: FakeTx): VersionsIn {
    return {
      lock: (lease) => this.#lock(tx, lease),
      isWanted: async ({ token }, cursor) => {
        const { row } = this.#committed
        return row.token !== token || row.cursor !== cursor || row.state !== 'live'
      },
      advance: async (_, { cursor, live }) => {
        await this.#step(tx.owner)
        const row = this.#fault === 'cursor-outside-the-transaction' ? this.#committed.row : rowOf(tx)
        row.cursor = cursor
        rowOf(tx).cursor = cursor
        rowOf(tx).heldUntilMs = this.#nowMs + leaseMs
        if (live) rowOf(tx).state = 'live'
      },
      halt: async (_, at, poison) => {
        const row = rowOf(tx)
        const isThere = row.state === at.state && row.cursor === at.cursor
        if (!isThere && this.#fault !== 'halted-whatever-was-done-meanwhile') return false
        row.state = 'halted'
        row.poison = poison
        if (this.#fault === 'halted-behind-the-event')
          row.poison = { ...poison, cursor: String(Number(poison.cursor) + 1) }
        return true
      },
      build: async () => {
        rowOf(tx).state = 'building'
      },
      nextJob: async () => undefined,
      endJob: async () => {},
    }
  }

  async #lock(tx: FakeTx, { token }: Lease): Promise<Row> {
    for (;;) {
      await this.#step(tx.owner)
      if (this.#fault === 'row-not-locked' || this.#lockedBy === undefined) break
    }
    const { row, effects } = this.#committed
    if (row.token !== token && this.#fault !== 'lease-unchecked') throw leaseLost()
    if (this.#fault !== 'row-not-locked') this.#lockedBy = tx
    tx.token = token
    tx.draft = { row: { ...row }, effects: [...effects] }
    return tx.draft.row
  }
}

function rowOf({ draft }: FakeTx): Row {
  if (draft === undefined) throw new Error('nothing is locked')
  return draft.row
}

function txOf(tx: unknown): FakeTx {
  return (tx as { fake: FakeTx }).fake
}

function leaseLost(): TidegateError {
  return new TidegateError('PROJECTION_LEASE_LOST', { message: 'lost', retryable: true, hint: 'stand by' })
}

function withoutFile(options: ProjectionOptions & { tables: string }): LoadedProjection {
  return { ...defineProjection(options), tables: options.tables }
}

/** Until everything that follows has come to its next step. */
async function settle(): Promise<void> {
  await new Promise((done) => setImmediate(done))
}
