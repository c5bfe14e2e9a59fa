import type { Rollup } from '../projections/rollup.ts'

/**
 * Where a group's effects and the record that they happened are committed together (G4). Port; the adapter is
 * storage-postgres.ts.
 */
export interface Storage {
  /**
   * Runs `work` in one transaction: commits when it resolves, rolls back when it rejects, rejecting with the same
   * error. When `signal` is aborted the transaction is cut off, whatever hangs in it. `tx` is dead afterwards.
   * @throws TidegateError `DATABASE_UNREACHABLE` when the database, and not the work, is why nothing was committed,
   *   or why it is unknown whether it was: the same work may be run again.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>, signal: AbortSignal): Promise<T>
  /** @throws TidegateError `DATABASE_UNREACHABLE` unless the database answers within a few seconds. */
  probe(): Promise<void>
  close(): Promise<void>
}

export interface Transaction {
  /** Any SQL, with `$1`-style parameters; effects belong to this transaction. */
  query<Row = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<QueryResult<Row>>
  readonly inbox: Inbox
  readonly history: History
  readonly rollups: Rollups
  /**
   * @throws TidegateError `TRANSACTION_SPOILT` if a query failed and the transaction can no longer be committed, so
   *   that the handler which swallowed the failure is blamed and not the next one.
   */
  assertUsable(): void
}

export interface QueryResult<Row> {
  rows: Row[]
  rowCount: number
}

/** The identity of an event (wire contract): `(source, id)`. */
export interface EventIdentity {
  source: string
  id: string
}

export interface Inbox {
  /** Claims each identity for a group; answers, in order, whether it was new. Waits for a rival transaction. */
  claim(group: string, identities: readonly EventIdentity[]): Promise<boolean[]>
}

/** A place in a gateway's ledger (G2). */
export interface LedgerPlace {
  gateway: string
  epoch: string
  sequence: number
}

export interface HistoryRecord extends LedgerPlace, EventIdentity {
  type: string
  subject: string | undefined
  dataschema: string | undefined
  /** ms since the Unix epoch; the body keeps the text. */
  timeMs: number
  recordedMs: number
  disposition: 'accepted' | 'rejected' | 'dead'
  /** Why it was not accepted. */
  reason: string | undefined
  /** The wire text, verbatim: the hash chain is over its bytes (G8). */
  body: string
}

/** What became of a record that was to be appended. */
export type Appended =
  | 'stored'
  /** This very record is there already: it was delivered again. */
  | 'again'
  /** The same `(source, id)` is there under another ledger place: the event was numbered twice. */
  | 'repeat'
  /** Another event has this ledger place. */
  | 'place-taken'

export interface LedgerNote {
  gateway: string
  epoch: string
  from: number
  to: number
  reason: 'expired' | 'evicted' | 'lost' | 'duplicate'
  /** The chain value of `to`, if it is known. */
  chain: string | undefined
  /** The event that said so, which may be of a later epoch; of a duplicate, the duplicate itself. */
  eventEpoch: string
  eventSequence: number
  /** Of a duplicate: its wire text, verbatim. It is stored nowhere else. */
  body?: string
}

export interface ClockCorrection {
  gateway: string
  epoch: string
  from: number
  to: number
  offsetMs: number
  eventSequence: number
}

export interface EpochClosure {
  gateway: string
  epoch: string
  lastSequence: number
  reason: string
  eventSequence: number
}

/** Append-only. Each method may be repeated with the same arguments without a second effect. */
export interface History {
  /** Answers what became of each record, in order. */
  append(records: readonly HistoryRecord[]): Promise<Appended[]>
  note(notes: readonly LedgerNote[]): Promise<void>
  correctClock(corrections: readonly ClockCorrection[]): Promise<void>
  closeEpochs(closures: readonly EpochClosure[]): Promise<void>
}

export interface Rollups {
  /** Merges into what is there. Keys must be distinct within a call. */
  merge(rollups: readonly Rollup[]): Promise<void>
}
