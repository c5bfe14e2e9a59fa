import { createHash } from 'node:crypto'
import type { ClientBase } from 'pg'
import { TidegateError } from '../src/errors.ts'
import type { Logger } from '../src/log.ts'
import type { Database } from './database-postgres.ts'
import type { Migration } from './migrations/migration.ts'

/** Any number; the same in every version of Tidegate, so that instances take turns. */
const lockKey = 7_441_002_871

/**
 * Brings the database schema up to date, once, however many instances start together: under an advisory lock, each
 * step in its own transaction with its checksum.
 * @returns the names of the steps that were applied now.
 * @throws TidegateError `MIGRATION_EDITED` when an applied step differs from ours, `DATABASE_NEWER` when the
 *   database is ahead of this version.
 */
export async function migrate(client: ClientBase, migrations: readonly Migration[]): Promise<string[]> {
  await client.query('select pg_advisory_lock($1)', [lockKey])
  try {
    await client.query('create schema if not exists tidegate')
    await client.query(`create table if not exists tidegate.migrations (
      version integer primary key, name text not null, checksum text not null,
      applied_at timestamptz not null default clock_timestamp())`)
    const { rows } = await client.query<{ version: number; name: string; checksum: string }>(
      'select version, name, checksum from tidegate.migrations order by version',
    )
    rows.forEach((row, index) => compare(row, migrations[index]))
    const missing = migrations.slice(rows.length)
    for (const migration of missing) await apply(client, migration)
    return missing.map(({ name }) => name)
  } finally {
    await client.query('select pg_advisory_unlock($1)', [lockKey])
  }
}

/** As `migrate`, on a connection of the pool, and says what was done. */
export async function migrateDatabase(
  database: Database,
  migrations: readonly Migration[],
  log: Logger,
): Promise<void> {
  const client = await database.connect()
  try {
    const applied = await migrate(client, migrations)
    if (applied.length > 0) log.info({ applied }, 'brought the database schema up to date')
  } finally {
    client.release()
  }
}

async function apply(client: ClientBase, migration: Migration): Promise<void> {
  await client.query('begin')
  try {
    await client.query(migration.sql)
    await client.query('insert into tidegate.migrations (version, name, checksum) values ($1, $2, $3)', [
      migration.version,
      migration.name,
      checksum(migration),
    ])
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

function compare(applied: { version: number; name: string; checksum: string }, ours?: Migration): void {
  if (ours === undefined) {
    throw new TidegateError('DATABASE_NEWER', {
      message: `the database has schema step ${applied.version} (${applied.name}), which this version does not know`,
      retryable: false,
      hint: 'run the version of Tidegate that made it, or a later one',
    })
  }
  if (applied.checksum !== checksum(ours)) {
    throw new TidegateError('MIGRATION_EDITED', {
      message: `schema step ${applied.version} (${applied.name}) was applied with other contents than this version has`,
      retryable: false,
      hint: 'steps are never edited once applied; restore cloud/migrations as it was released',
    })
  }
}

function checksum(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex')
}
