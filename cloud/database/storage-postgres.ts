import type { PoolClient } from 'pg'
import { type Clock, systemClock } from '../../src/clock.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Database } from './database-postgres.ts'
import { InboxMemory } from './inbox-weeks-postgres.ts'
import type { Storage } from './storage.ts'
import { PostgresTransaction } from './transaction-postgres.ts'

/** PostgreSQL as the storage: one connection per transaction, read committed. */
export function postgresStorage(
  database: Database,
  clock: Pick<Clock, 'monotonicMs'> = systemClock,
): Storage {
  const memory = new InboxMemory(async (sql, values) => {
    const session = await database.session()
    try {
      await session.query(sql, values)
    } finally {
      await session.end()
    }
  }, clock)
  return {
    async transaction(work, signal) {
      signal.throwIfAborted()
      const client = await database.connect()
      const tx = new PostgresTransaction(client, database.where, memory)
      try {
        await tx.begin()
        const result = await orAborted(work(tx), signal)
        tx.assertUsable()
        await tx.commit()
        client.release()
        return result
      } catch (error) {
        await abandon(client, tx)
        throw tx.outage ?? error
      }
    },
    probe: () => database.probe(),
    close: () => database.close(),
  }

  /** Rolls back if the connection is ours to use, else cuts it and has its backend ended. Never throws. */
  async function abandon(client: PoolClient, tx: PostgresTransaction): Promise<void> {
    tx.end()
    if (!tx.busy && tx.outage === undefined) {
      try {
        await tx.rollback()
        client.release()
        return
      } catch {
        // What remains is the hard way.
      }
    }
    client.release(true)
    // Without this a hung query would keep its locks, and the next attempt would wait for them.
    if ('processID' in client && typeof client.processID === 'number') {
      database.query('select pg_terminate_backend($1)', [client.processID]).catch(() => {})
    }
  }
}
