import type { Duplex } from 'node:stream'
import { Client, Pool, type ClientBase, type ClientConfig, type PoolClient, type QueryResultRow } from 'pg'
import { freshUrl } from '../../src/settings/password-file.ts'
import { outage, outageOfOurs } from './faults-postgres.ts'
import { describe, refuseFaultyUrl } from './url-postgres.ts'

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database` */
  url: string
  /** Holds the password of the URL; read for each connection. */
  passwordFile?: string | undefined
  poolMax: number
  /** Shown in `pg_stat_activity`. */
  applicationName: string
  /**
   * A session that sits in a transaction for this long without asking for anything is ended by the server, ms. Longer
   * than any handler may take: it is for an instance that was frozen with locks in its hands. Absent: never.
   */
  idleInTransactionMsMax?: number
  /** A statement that takes longer is ended by the server, ms. Absent: when we give it up. */
  statementMsMax?: number
  /** What it is dialled by, in place of a socket. */
  dial?: (() => Duplex) | undefined
}

/** A pool of connections, and what its errors mean. */
export interface Database {
  /** host:port/database, fit for logs. */
  readonly where: string
  readonly pool: Pool
  /** A connection of the pool. @throws TidegateError `DATABASE_*` */
  connect(): Promise<PoolClient>
  /**
   * A statement of our own. By its name each connection plans it once: of one that touches every week of history that takes longer than
   * to answer it.
   * @throws TidegateError `DATABASE_*`, or what PostgreSQL says of a value in it.
   */
  query<Row extends QueryResultRow>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]>
  /**
   * Statements that all see the database as of one moment, and change nothing.
   * @throws TidegateError `DATABASE_*`, and what `work` throws
   */
  snapshot<T>(work: (query: Database['query']) => Promise<T>): Promise<T>
  /**
   * A connection of its own, apart from the pool, that asks for nothing.
   * @throws TidegateError `DATABASE_*` within a few seconds.
   */
  probe(): Promise<void>
  /** A connection of its own, apart from the pool, for what is held for long. @throws TidegateError `DATABASE_*` */
  session(): Promise<Session>
  close(): Promise<void>
}

/** What is bound to it, such as a lock, ends with it. */
export interface Session {
  /** Aborted when the connection is over. */
  readonly lost: AbortSignal
  query<Row extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>
  /** Never throws, and does not wait for an answer. */
  end(): Promise<void>
}

const probeTimeoutMs = 3_000
const connectTimeoutMs = 10_000
const queryTimeoutMs = 30_000

/** Opens nothing yet. @throws TidegateError `CONFIG_INVALID` when the URL is none, `PASSWORD_FILE_UNREADABLE` */
export function createDatabase(options: DatabaseOptions): Database {
  return new PostgresDatabase(options)
}

class PostgresDatabase implements Database {
  readonly where: string
  readonly pool: Pool
  /** How a connection is made now, of the pool or not. */
  readonly #connection: () => ClientConfig
  #closing: Promise<void> | undefined

  constructor(options: DatabaseOptions) {
    const { url, passwordFile, applicationName, poolMax, idleInTransactionMsMax, statementMsMax, dial } =
      options
    this.where = describe(url)
    refuseFaultyUrl(url)
    const urlNow = freshUrl(url, passwordFile)
    const connection = (): ClientConfig => ({
      connectionString: urlNow(),
      application_name: applicationName,
      keepAlive: true,
      ...(statementMsMax !== undefined && { statement_timeout: statementMsMax }),
      ...(dial && { stream: dial }),
    })
    this.#connection = connection
    this.pool = new Pool({
      Client: class extends Client {
        constructor(config: ClientConfig) {
          super({ ...config, ...connection() })
        }
      } as unknown as new () => ClientBase,
      max: poolMax,
      connectionTimeoutMillis: connectTimeoutMs,
      idleTimeoutMillis: 60_000,
      // oxlint-disable-next-line typescript/no-misused-promises -- the pool awaits it; its types do not say so
      onConnect: (client) => prepare(client, idleInTransactionMsMax),
    })
    // A connection that breaks is noticed by whoever uses it next; without listeners it would end the process.
    this.pool.on('error', () => {})
    this.pool.on('connect', (client) => client.on('error', () => {}))
  }

  async connect(): Promise<PoolClient> {
    try {
      return await this.pool.connect()
    } catch (error) {
      throw outage(this.where, error)
    }
  }

  async query<Row extends QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
    name?: string,
  ): Promise<Row[]> {
    const config = { text, values: [...values], query_timeout: queryTimeoutMs, ...(name && { name }) }
    return (await translated(this.where, this.pool.query<Row>(config))).rows
  }

  async snapshot<T>(work: (query: Database['query']) => Promise<T>): Promise<T> {
    const client = await this.connect()
    const query: Database['query'] = async (text, values = []) => {
      const config = { text, values: [...values], query_timeout: queryTimeoutMs }
      return (await translated(this.where, client.query(config))).rows as never
    }
    let fault: unknown
    try {
      await query('begin isolation level repeatable read read only')
      const result = await work(query)
      await query('commit')
      return result
    } catch (error) {
      fault = error
      throw error
    } finally {
      // Its transaction may be under way still.
      client.release(fault !== undefined)
    }
  }

  async probe(): Promise<void> {
    const client = new Client({
      ...this.#connection(),
      connectionTimeoutMillis: probeTimeoutMs,
      query_timeout: probeTimeoutMs,
    })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.query('select 1')
    } catch (error) {
      throw outage(this.where, error)
    } finally {
      client.end().catch(() => {})
    }
  }

  session(): Promise<Session> {
    return openSession(this.where, {
      ...this.#connection(),
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: queryTimeoutMs,
    })
  }

  close(): Promise<void> {
    return (this.#closing ??= this.pool.end())
  }
}

async function openSession(where: string, config: ClientConfig): Promise<Session> {
  const client = new Client(config)
  const lost = new AbortController()
  client.on('error', () => lost.abort())
  client.on('end', () => lost.abort())
  await translated(where, client.connect())
  return {
    lost: lost.signal,
    async query<Row extends QueryResultRow>(text: string, values: readonly unknown[] = []) {
      return (await translated(where, client.query<Row>(text, [...values]))).rows
    },
    async end() {
      lost.abort()
      client.end().catch(() => {})
    },
  }
}

async function translated<T>(where: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw outageOfOurs(where, error) ?? error
  }
}

async function prepare(client: ClientBase, idleInTransactionMsMax: number | undefined): Promise<void> {
  await insistOnDurability(client)
  await giveLocksBack(client, idleInTransactionMsMax)
  // Over many weeks a statement is estimated high, and compiling it then takes a hundred times as long as answering.
  await client.query('set jit = off').catch(() => {})
}

/**
 * An event is acknowledged because its commit was answered (G4): with `synchronous_commit` off, which is a default that
 * a database or a role may have, a crash of the server would take both back. What is stricter than `on` stays.
 */
async function insistOnDurability(client: ClientBase): Promise<void> {
  // Neither calls a function, of which somebody could have left another under the same name.
  const { rows } = await client.query<{ synchronous_commit: string }>('show synchronous_commit')
  if (rows[0]?.synchronous_commit === 'off') await client.query('set synchronous_commit = on')
}

/**
 * A backend whose client is gone gives its locks back within seconds, even in the middle of a query. Not every
 * server can (before PostgreSQL 14, or not on Linux), and it is a convenience: a hung query is also cut off by us.
 */
async function giveLocksBack(client: ClientBase, idleInTransactionMsMax: number | undefined): Promise<void> {
  await client.query(`set client_connection_check_interval = '5s'`).catch(() => {})
  // Those who wait for a frozen instance's locks time out, and would blame the event they wait for.
  if (idleInTransactionMsMax !== undefined)
    await client.query(`set idle_in_transaction_session_timeout = ${Math.ceil(idleInTransactionMsMax)}`)
}
