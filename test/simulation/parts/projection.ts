import type { Statements } from '../../../cloud/database/statements.ts'
import type { Transaction } from '../../../cloud/database/storage.ts'
import { postgresReader } from '../../../cloud/history/reader-postgres.ts'
import { defineProjection, type LoadedProjection } from '../../../cloud/projections/definition.ts'
import { createTurns } from '../../../cloud/projections/pace.ts'
import { type RunnerOptions, startRunner } from '../../../cloud/projections/runner.ts'
import type { Leases, Poison, VersionsIn, VersionState } from '../../../cloud/projections/versions.ts'
import { TidegateError } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import type { Chance } from '../plan/chance.ts'
import type { SimulatedDatabase } from './database.ts'
import { pageOf } from './history-order.ts'
import { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import { placeOf, unreachable } from './transaction.ts'

export interface ProjectionParts {
  scheduler: Scheduler
  /** A stream of its own, also for commits that fail: what else happens in a run does not depend on who derives what. */
  random: Chance
  database: SimulatedDatabase
  /** From here on it is killed no more, ms. */
  activeMs: number
}

/** The row of the version, and its table. */
interface Row {
  token: bigint
  heldUntilMs: number
  state: VersionState
  cursor: string
  poison: Poison | undefined
  /** Places of the ledger, in the order in which they were applied. */
  applied: readonly string[]
}

type Tx = Transaction & { draft: Row | undefined }

const leaseMs = 6_000
const batchMax = 7
const kills = 4

/** The real runner of projections on simulated history, killed at any of its waits, with commits that fail or whose answers are lost. */
export class ProjectionAtWork {
  private readonly parts: ProjectionParts
  private committed: Row = {
    token: 0n,
    heldUntilMs: -1,
    state: 'new',
    cursor: '',
    poison: undefined,
    applied: [],
  }

  constructor(parts: ProjectionParts) {
    this.parts = parts
  }

  get applied(): readonly string[] {
    return this.committed.applied
  }

  /** It has applied what can be read. */
  get quiet(): boolean {
    const { state, cursor } = this.committed
    return state === 'live' && cursor === this.parts.database.order.last
  }

  start(): void {
    const { scheduler, random, activeMs } = this.parts
    let process = this.run()
    const kill = (): void => {
      process.alive = false
      scheduler.after(random.between(0, 3_000), () => (process = this.run()))
    }
    for (let n = 0; n < kills; n++)
      scheduler.after(random.between(0, activeMs), () => process.crashAfter(random.whole(1, 20), kill))
  }

  private run(): SimulatedProcess {
    const process = new SimulatedProcess('projection', this.parts.scheduler, { offsetMs: 0 })
    startRunner(this.optionsOf(process))
    return process
  }

  private optionsOf(process: SimulatedProcess): RunnerOptions {
    return {
      projection,
      definition: 'x',
      readAs: (event) => event,
      timeoutMs: 1e9,
      storage: {
        transaction: (work) => this.transaction(process, work),
        probe: async () => {},
        close: async () => {},
      },
      leases: this.leasesOf(process),
      tables: {
        enter: async () => {},
        make: async (tx) => {
          draftOf(tx).applied = []
        },
      },
      versionsIn: (tx) => this.versionsIn(tx),
      readerIn: postgresReader,
      runJob: async () => ({}),
      clock: process.clock,
      random: this.parts.random.random,
      log: silentLog,
      leaseMs,
      batchMax,
      turns: createTurns(1),
    }
  }

  private async ask(process: SimulatedProcess, what: string): Promise<void> {
    await process.step(`projection ${what}`, this.parts.random.between(0.1, 20))
    if (!this.parts.database.up) throw unreachable('connection refused')
  }

  private async transaction<T>(process: SimulatedProcess, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { random } = this.parts
    await this.ask(process, 'begins')
    const tx = this.transactionOf(process)
    const result = await work(tx)
    await this.ask(process, 'commits')
    if (random.one(0.03)) throw unreachable('connection terminated')
    if (tx.draft) this.committed = tx.draft
    if (random.one(0.03)) throw unreachable('connection terminated')
    await process.step('projection has committed', random.between(0.1, 20))
    return result
  }

  private transactionOf(process: SimulatedProcess): Tx {
    const { database } = this.parts
    const tx = {
      draft: undefined as Row | undefined,
      run: async (_name: string, _text: string, values: readonly unknown[]) => {
        const [after, , max] = values as [string, unknown, number]
        await this.ask(process, 'reads')
        return pageOf(database.order, after, max, (place) => database.events.get(place)?.body ?? '')
      },
      query: async (_sql: string, [place]: readonly string[] = []) => {
        await this.ask(process, 'applies')
        if (place !== undefined) draftOf(tx as unknown as Tx).applied = [...(tx.draft?.applied ?? []), place]
        return { rows: [], rowCount: 1 }
      },
      assertUsable: () => {},
    }
    return tx as unknown as Tx
  }

  private leasesOf(process: SimulatedProcess): Leases {
    const { scheduler } = this.parts
    return {
      register: () => this.ask(process, 'registers'),
      take: async (key) => {
        await this.ask(process, 'takes its lease')
        const { committed } = this
        if (committed.heldUntilMs >= scheduler.nowMs) return undefined
        const token = committed.token + 1n
        this.committed = { ...committed, token, heldUntilMs: scheduler.nowMs + leaseMs }
        return { ...key, token }
      },
      renew: async ({ token }) => {
        await this.ask(process, 'renews its lease')
        if (this.committed.token !== token) return false
        this.committed = { ...this.committed, heldUntilMs: scheduler.nowMs + leaseMs }
        return true
      },
      leave: async () => {},
    }
  }

  private versionsIn(statements: Statements): VersionsIn {
    const tx = statements as Tx
    const { scheduler } = this.parts
    return {
      lock: async ({ token }) => {
        if (this.committed.token !== token) throw leaseLost()
        tx.draft = { ...this.committed }
        return tx.draft
      },
      isWanted: async ({ token }, cursor) => {
        const { committed } = this
        return committed.token !== token || committed.cursor !== cursor || committed.state !== 'live'
      },
      advance: async (_, { cursor, live }) => {
        const row = draftOf(tx)
        row.cursor = cursor
        row.heldUntilMs = scheduler.nowMs + leaseMs
        if (live) row.state = 'live'
      },
      halt: async () => {
        draftOf(tx).state = 'halted'
        return true
      },
      build: async () => {
        draftOf(tx).state = 'building'
      },
      nextJob: async () => undefined,
      endJob: async () => {},
    }
  }
}

const projection: LoadedProjection = {
  ...defineProjection({
    name: 'derived',
    version: 1,
    events: ['#', 'dev.tidegate.#'],
    tables: 'create table derived ()',
    async apply(events, { tx }) {
      for (const event of events) await tx.query('', [placeOf(event)])
    },
  }),
  tables: 'create table derived ()',
}

function draftOf(tx: Transaction): Row {
  const { draft } = tx as Tx
  if (draft === undefined) throw new Error('nothing is locked')
  return draft
}

function leaseLost(): TidegateError {
  return new TidegateError('PROJECTION_LEASE_LOST', { message: 'lost', retryable: true, hint: 'stand by' })
}
