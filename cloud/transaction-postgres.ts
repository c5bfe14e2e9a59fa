import type { PoolClient, QueryConfig } from 'pg'
import { TidegateError } from '../src/errors.ts'
import { isDatabaseOutage, unreachable } from './faults-postgres.ts'
import { postgresHistory } from './history-postgres.ts'
import { postgresInbox } from './inbox-postgres.ts'
import { postgresRollups } from './rollups-postgres.ts'
import type { QueryResult, Transaction } from './storage.ts'

/** How the adapters of the repositories run their own statements: prepared by name, rows as arrays. */
export interface Statements {
  run<Row extends unknown[]>(name: string, text: string, values: readonly unknown[]): Promise<Row[]>
}

/** Our own statements are short: one that takes this long waits for a server that hangs. */
const statementTimeoutMs = 30_000

/** One transaction on one connection of the pool. */
export class PostgresTransaction implements Transaction {
  readonly inbox
  readonly history
  readonly rollups
  /** The outage that ended it, if one did; kept even if the work swallowed the error. */
  outage: TidegateError | undefined
  readonly #client: PoolClient
  readonly #where: string
  #over = false
  #underWay = 0

  constructor(client: PoolClient, where: string) {
    this.#client = client
    this.#where = where
    const statements: Statements = {
      run: async <Row extends unknown[]>(name: string, text: string, values: readonly unknown[]) =>
        (await this.#run<Row>({ name, text, values: [...values], rowMode: 'array' }, statementTimeoutMs))
          .rows,
    }
    this.inbox = postgresInbox(statements)
    this.history = postgresHistory(statements)
    this.rollups = postgresRollups(statements)
  }

  query<Row = Record<string, unknown>>(
    text: string,
    params: readonly unknown[] = [],
  ): Promise<QueryResult<Row>> {
    return this.#run<Row>({ text, values: [...params] })
  }

  assertUsable(): void {
    if (this.outage) throw this.outage
    if (this.#client.getTransactionStatus() !== 'E') return
    throw new TidegateError('TRANSACTION_SPOILT', {
      message: 'the handler swallowed a failed query, and PostgreSQL commits nothing after one',
      retryable: true,
      hint: 'let the error pass, or use a savepoint around a query that may fail',
    })
  }

  /** A query is under way: the connection cannot be told to roll back. */
  get busy(): boolean {
    return this.#underWay > 0
  }

  begin(): Promise<unknown> {
    return this.#run({ text: 'begin' }, statementTimeoutMs)
  }

  commit(): Promise<unknown> {
    return this.#run({ text: 'commit' }, statementTimeoutMs)
  }

  rollback(): Promise<unknown> {
    return this.#run({ text: 'rollback' }, statementTimeoutMs)
  }

  /** Nothing more may be asked of it: a handler that was abandoned must not reach into the next transaction. */
  end(): void {
    this.#over = true
  }

  async #run<Row>(
    config: QueryConfig & { rowMode?: 'array' },
    queryTimeoutMs?: number,
  ): Promise<QueryResult<Row>> {
    if (this.#over) throw over()
    this.#underWay++
    try {
      const result = await this.#client.query({
        ...config,
        ...(queryTimeoutMs !== undefined && { query_timeout: queryTimeoutMs }),
      })
      return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 }
    } catch (error) {
      if (!isDatabaseOutage(error)) throw error
      throw (this.outage ??= unreachable(this.#where, error))
    } finally {
      this.#underWay--
    }
  }
}

function over(): TidegateError {
  return new TidegateError('TRANSACTION_OVER', {
    message: 'the transaction is over: it was committed, rolled back or cut off',
    retryable: false,
    hint: 'await everything the handler starts, and do not keep tx',
  })
}
