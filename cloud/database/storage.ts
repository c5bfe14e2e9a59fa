import type { Statements } from './statements.ts'

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

/** All that a consumer's handler sees of its transaction. */
export interface Queryable {
  /** Any SQL, with `$1`-style parameters; effects belong to this transaction. */
  query<Row = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<QueryResult<Row>>
}

export interface Transaction extends Queryable, Statements {
  readonly inbox: Inbox
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

/** What a group claims: an event, for the effects that it has once. */
export interface Claim extends EventIdentity {
  /** Of a replay whose effects are wanted again: once in each generation, beside once without. '' or absent: none. No newline. */
  generation?: string | undefined
}

export interface Inbox {
  /** Claims each event for a group; answers, in order, whether it was new. Waits for a rival transaction. */
  claim(group: string, claims: readonly Claim[]): Promise<boolean[]>
  /** Takes claims back, of this transaction or of an earlier one: they are new again to whoever claims them next. */
  release(group: string, claims: readonly Claim[]): Promise<void>
}

/** A claim as one string; a newline cannot occur in any part. */
export function claimKey({ source, id, generation = '' }: Claim): string {
  return generation === '' ? `${source}\n${id}` : `${source}\n${id}\n${generation}`
}
