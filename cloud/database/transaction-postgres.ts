import { DatabaseError, type PoolClient, type QueryConfig, type QueryResult as PgResult } from 'pg'
import { TidegateError } from '../../src/errors.ts'
import { outageOfConsumers, outageOfOurs } from './faults-postgres.ts'
import { postgresInbox } from './inbox-postgres.ts'
import type { InboxMemory } from './inbox-weeks-postgres.ts'
import type { Inbox, QueryResult, Transaction } from './storage.ts'

/** Our own statements are short: one that takes this long waits for a server that hangs. */
const statementTimeoutMs = 30_000

type Asked = QueryConfig & { rowMode?: 'array' }
type OutageOf = typeof outageOfOurs

/** One transaction on one connection of the pool. */
export class PostgresTransaction implements Transaction {
  readonly inbox: Inbox
  /** The outage that ended it, if one did; kept even if the work swallowed the error. */
  outage: TidegateError | undefined
  readonly #client: PoolClient
  readonly #where: string
  #over = false
  #underWay = 0
  /** The newest answer was an error. pg tells of it before the server's word on the transaction has come. */
  #failed = false

  constructor(client: PoolClient, where: string, memory: InboxMemory) {
    this.inbox = postgresInbox(this, memory)
    this.#client = client
    this.#where = where
  }

  async run<Row extends unknown[]>(name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
    const config: Asked = { name, text, values: [...values], rowMode: 'array' }
    return (await this.#ask<Row>(config, outageOfOurs, statementTimeoutMs)).rows
  }

  query<Row = Record<string, unknown>>(
    text: string,
    params: readonly unknown[] = [],
  ): Promise<QueryResult<Row>> {
    const running = this.#ask<Row>({ text, values: [...params] }, outageOfConsumers)
    // A handler that forgot to await it learns of a failure from the transaction, which is spoilt. Left to itself, the
    // rejection would end the process.
    running.catch(() => {})
    return running
  }

  assertUsable(): void {
    if (this.outage) throw this.outage
    if (this.#failed || this.#client.getTransactionStatus() === 'E') throw spoilt()
  }

  /** A query is under way: the connection cannot be told to roll back. */
  get busy(): boolean {
    return this.#underWay > 0
  }

  /** A claim must see what a rival has committed meanwhile, whatever isolation is the database's default (G4). */
  begin(): Promise<unknown> {
    return this.#ask({ text: 'begin isolation level read committed' }, outageOfOurs, statementTimeoutMs)
  }

  /**
   * Nothing more may be asked of it, from before the end is on its way: a query behind COMMIT or ROLLBACK would run in
   * no transaction, or in the next one (G4). Queries that are under way are ahead of it on the wire, so within.
   */
  end(): void {
    this.#over = true
  }

  /** Ends it. @throws TidegateError `TRANSACTION_SPOILT` when PostgreSQL rolled back instead. */
  async commit(): Promise<void> {
    this.end()
    const { command } = await this.#send({ text: 'commit' }, outageOfConsumers, statementTimeoutMs)
    // What a query nobody awaited made of the transaction shows only here.
    if (command !== 'COMMIT') throw spoilt()
  }

  /** Ends it. */
  async rollback(): Promise<void> {
    this.end()
    await this.#send({ text: 'rollback' }, outageOfOurs, statementTimeoutMs)
  }

  async #ask<Row>(config: Asked, outageOf: OutageOf, queryTimeoutMs?: number): Promise<QueryResult<Row>> {
    if (this.#over) throw over()
    const { rows, rowCount } = await this.#send(config, outageOf, queryTimeoutMs)
    return { rows: rows as Row[], rowCount: rowCount ?? 0 }
  }

  async #send(config: Asked, outageOf: OutageOf, queryTimeoutMs?: number): Promise<PgResult> {
    this.#underWay++
    try {
      const result = await this.#client.query({
        ...config,
        ...(queryTimeoutMs !== undefined && { query_timeout: queryTimeoutMs }),
      })
      this.#failed = false
      return result
    } catch (error) {
      this.#failed ||= error instanceof DatabaseError
      const outage = outageOf(this.#where, error)
      if (outage === undefined) throw error
      throw (this.outage ??= outage)
    } finally {
      this.#underWay--
    }
  }
}

function spoilt(): TidegateError {
  return new TidegateError('TRANSACTION_SPOILT', {
    message: 'the handler swallowed a failed query, and PostgreSQL commits nothing after one',
    retryable: true,
    hint: 'await every query and let its error pass, or use a savepoint around one that may fail',
  })
}

function over(): TidegateError {
  return new TidegateError('TRANSACTION_OVER', {
    message: 'the transaction is over: it was committed, rolled back or cut off',
    retryable: false,
    hint: 'await everything the handler starts, and do not keep tx',
  })
}
