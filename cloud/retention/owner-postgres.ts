import type { PoolClient } from 'pg'
import { type Clock, type Random, systemClock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'
import { outageOfOurs } from '../database/faults-postgres.ts'
import { InboxMemory } from '../database/inbox-weeks-postgres.ts'
import { requireSchema } from '../database/migrate-postgres.ts'
import { migrations } from '../database/migrations/all.ts'
import { becomeOwner, ownsSchema, trustNoSchema } from '../database/roles-postgres.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { PostgresTransaction } from '../database/transaction-postgres.ts'

export type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>

/** What a session is given. */
export interface OwnerParts {
  clock: Clock
  random: Random
  log: Logger
  /** Ends waiting. */
  signal: AbortSignal
}

/** One session that acts as the owner of Tidegate's tables, and is the only one that takes history apart or puts it together. */
export interface OwnerSession extends OwnerParts {
  readonly where: string
  readonly query: Query
  /** Its transactions, one after the other. */
  readonly storage: Storage
}

/** Any number; the same in every version of Tidegate. */
const lockKey = 7_441_002_874
const unlock = { text: 'select pg_advisory_unlock_all()', query_timeout: 1_000 }

/**
 * @throws TidegateError `DATABASE_*`; `DATABASE_DENIED` if the user is not the owner; `HISTORY_BUSY` if another such session is at work;
 *   and what `work` throws
 */
export async function asOwner<T>(
  database: Database,
  parts: OwnerParts,
  work: (owner: OwnerSession) => Promise<T>,
): Promise<T> {
  const client = await database.connect()
  const { where } = database
  try {
    await trustNoSchema(client)
    await becomeOwner(client)
    await requireSchema(client, migrations, where)
    if (!(await ownsSchema(client))) throw notOwner(where)
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [
      lockKey,
    ])
    if (!rows[0]?.locked) throw busy(where)
    return await work({ ...parts, where, query: queryOn(client), storage: storageOn(client, where) })
  } catch (error) {
    throw outageOfOurs(where, error) ?? error
  } finally {
    // Whoever comes next need not wait until the server has noticed that the connection is gone.
    await client.query(unlock).catch(() => {})
    // With it goes the lock in any case, and what was begun is rolled back.
    client.release(true)
  }
}

/** Asks a database of this version, as whoever may read its partitions: the owner. @throws TidegateError `DATABASE_*` */
export async function reading<T>(database: Database, work: (query: Query) => Promise<T>): Promise<T> {
  const client = await database.connect()
  try {
    await trustNoSchema(client)
    await becomeOwner(client)
    await requireSchema(client, migrations, database.where)
    return await work(queryOn(client))
  } catch (error) {
    throw outageOfOurs(database.where, error) ?? error
  } finally {
    client.release(true)
  }
}

function queryOn(client: PoolClient): Query {
  return async <Row extends object>(text: string, values: readonly unknown[] = []) =>
    (await client.query<Row>(text, [...values])).rows
}

function storageOn(client: PoolClient, where: string): Storage {
  const memory = new InboxMemory(() => Promise.reject(new Error('nothing is claimed here')), systemClock)
  return {
    async transaction(work) {
      const tx = new PostgresTransaction(client, where, memory)
      await tx.begin()
      try {
        const result = await work(tx)
        tx.assertUsable()
        await tx.commit()
        return result
      } catch (error) {
        await tx.rollback().catch(() => {})
        throw tx.outage ?? error
      }
    },
    probe: async () => {},
    close: async () => {},
  }
}

/**
 * How long readers and writers of history stand still at the most while we wait for its lock. Shorter than the second after which
 * PostgreSQL looks for a deadlock and may end either side: it is always we who give up.
 */
export const lockTimeoutMs = 400
/** Longer than `deadlock_timeout`, after which an autovacuum is ended for us. */
const vacuumTimeoutMs = 5_000
const pauseMs = 1_500
const attemptsMax = 200

const lockNotAvailable = '55P03'
const deadlock = '40P01'

/**
 * Does what needs history for itself in one short transaction, and gives up and tries again while others have it: nobody waits for us for longer
 * than the lock timeout. To be begun with `lockHistory`.
 * @throws TidegateError `HISTORY_LOCKED` after some minutes, and what `work` throws
 */
export async function patiently<T>({ clock, log, signal }: OwnerParts, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const code = codeOf(error)
      const isOthers = code === lockNotAvailable || code === deadlock
      if (!isOthers) throw error
      if (attempt >= attemptsMax) throw locked(error)
      log.info(
        { attempt },
        'somebody reads or writes history for longer than we make others wait: trying again',
      )
      await clock.sleep(pauseMs, signal)
    }
  }
}

/**
 * From here to the end of the transaction nobody else reads or writes history. The cloud's own ledger comes first, as with all who write
 * into it: in the other order two could wait for each other.
 */
export async function lockHistory(tx: Transaction, ...partitions: readonly string[]): Promise<void> {
  const tables = ['events_other', ...partitions].map((name) => `tidegate.${quoted(name)}`)
  // Nobody who reads or writes waits for this lock. An autovacuum that has it gives way to who has waited for a second, and comes no more.
  await tx.query(`set local lock_timeout = ${vacuumTimeoutMs}`)
  for (const table of tables) await tx.query(`lock table ${table} in share update exclusive mode`)
  await tx.query(`set local lock_timeout = ${lockTimeoutMs}`)
  await tx.query('select from tidegate.own_ledger for update')
  await tx.query('lock table only tidegate.events in access exclusive mode')
  for (const table of tables) await tx.query(`lock table ${table} in access exclusive mode`)
}

/** A name in SQL. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function notOwner(where: string): TidegateError {
  return new TidegateError('DATABASE_DENIED', {
    message: `the user does not own the schema tidegate at ${where}: only its owner may take history apart`,
    retryable: false,
    hint: 'name another user for this command: a member of tidegate_owner, as for tidegate cloud --migrate',
  })
}

function busy(where: string): TidegateError {
  return new TidegateError('HISTORY_BUSY', {
    message: `another tidegate history is at work on ${where}`,
    retryable: true,
    hint: 'wait for it to end; pg_stat_activity shows it as tidegate-history',
  })
}

function locked(cause: unknown): TidegateError {
  return new TidegateError('HISTORY_LOCKED', {
    message: 'history was in use the whole time, and nothing was changed',
    retryable: true,
    hint: 'pg_stat_activity shows who reads or writes it for long, such as a dump: run this again when that has ended',
    cause,
  })
}
