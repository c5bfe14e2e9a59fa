import type { Transaction } from '../database/storage.ts'
import type { Cursor } from '../history/reader.ts'
import type { LoadedProjection } from './definition.ts'

/** A version of a projection, by what it is told apart. */
export interface VersionKey {
  name: string
  version: number
}

export type VersionState = 'new' | 'building' | 'live' | 'halted'

/** The right to work at a version, for a while. `token` fences: each holder's is greater than those before. */
export interface Lease extends VersionKey {
  token: bigint
}

/** The event that a version cannot apply, and why. */
export interface Poison {
  cursor: Cursor
  source: string
  id: string
  type: string
  code: string
  message: string
}

/** How far a version is, as of a transaction that has it to itself. */
export interface Standing {
  state: VersionState
  cursor: Cursor
  /** Of one that is halted. */
  poison: Poison | undefined
}

/** What somebody wants done between two batches. */
export interface Job {
  job: string
  kind: 'compare' | 'rebuild-device'
  device: string | undefined
  sample: number | undefined
}

export interface Step {
  cursor: Cursor
  /** Events that were applied. */
  applied: number
  /** There was no more: the horizon is reached. */
  live: boolean
  perSecond: number
  lagMs: number
}

/** What is on record of a version from the beginning. */
export interface Registered {
  /** Of `tables` and `events`: what must not change under a number. */
  definition: string
  /** The types it reads; undefined: all. */
  types: readonly string[] | undefined
}

/** Who works at which version. Port; the adapter is versions-postgres.ts. Throws TidegateError `DATABASE_*`. */
export interface Leases {
  /**
   * Makes the version known, if it is not.
   * @throws TidegateError `PROJECTION_CHANGED` when under this number something else was built
   */
  register(key: VersionKey, what: Registered): Promise<void>
  /** The lease, if nobody has it, or who had it has let it run out. Waits for nobody. */
  take(key: VersionKey): Promise<Lease | undefined>
  /** Whether it is held still: then for as long again. */
  renew(lease: Lease): Promise<boolean>
  /** Gives it back. */
  leave(lease: Lease): Promise<void>
}

/** A version within a transaction. Port; the adapter is versions-postgres.ts. */
export interface VersionsIn {
  /**
   * Has the version to itself until the transaction ends.
   * @throws TidegateError `PROJECTION_LEASE_LOST` when the lease is another's by now
   */
  lock(lease: Lease): Promise<Standing>
  /** Without a lock: whether there is something to do at a version that has come so far, besides new events. */
  isWanted(lease: Lease, cursor: Cursor): Promise<boolean>
  advance(lease: Lease, step: Step): Promise<void>
  /** Stops it, if it is where the batch that failed began: answers whether it is. */
  halt(lease: Lease, at: Standing, poison: Poison): Promise<boolean>
  /** Has tables: from here on it is built. */
  build(lease: Lease): Promise<void>
  nextJob(lease: Lease): Promise<Job | undefined>
  /** Once: what was ended stays as it is. */
  endJob(job: string, outcome: object): Promise<void>
}

/** Of a version's own schema. */
export interface Tables {
  /** Has names without a schema be those of the version, until the transaction ends. */
  enter(tx: Transaction, projection: LoadedProjection): Promise<void>
  /** Makes the tables of the version, instead of those that there are. @throws TidegateError `PROJECTION_TABLES` */
  make(tx: Transaction, projection: LoadedProjection): Promise<void>
}
