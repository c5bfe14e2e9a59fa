import { createHash } from 'node:crypto'
import type { ClientBase, DatabaseError } from 'pg'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from './database-postgres.ts'
import { outageOfOurs } from './faults-postgres.ts'
import type { Migration } from './migrations/migration.ts'
import { becomeOwner, grantRights, ownsSchema, rightsBeside, trustNoSchema } from './roles-postgres.ts'

/** Any number; the same in every version of Tidegate, so that instances take turns. */
const lockKey = 7_441_002_871

/** Statements that wait for a table hold up everybody who comes after them. */
const lockTimeoutMs = 3_000
const lockNotAvailable = '55P03'
/** Raised by our own steps. */
const toBeDoneFirst = 'TG001'

const rightsText =
  'the user of database.url may do what the cloud never needs: revoke it (docs/DATABASE.md, Roles)'

/** Whether the user may alter Tidegate's tables, and does; or adds to them, and finds them as they must be. */
export type Standing = 'owner' | 'writer'

/**
 * Brings the database schema up to date, once, however many instances start together: under an advisory lock, each
 * step in its own transaction with its checksum. Waits for nobody: what is retryable may be tried again. A user who may not alter
 * the schema finds it up to date, and is warned of what it may do beside its work (`DATABASE_RIGHTS`).
 * @throws TidegateError `MIGRATION_EDITED` when an applied step differs from ours, `DATABASE_NEWER` when the
 *   database is ahead of this version, `DATABASE_OLDER` when it is behind and the user may not alter it, `DATABASE_LOCKED`,
 *   `MIGRATION_BLOCKED` when somebody has to do something first, `DATABASE_UNREACHABLE`.
 */
export async function migrateDatabase(
  database: Database,
  migrations: readonly Migration[],
  { signal, log }: { signal: AbortSignal; log: Logger },
): Promise<Standing> {
  const client = await database.connect()
  try {
    return await orAborted(bringUpToDate(), signal)
  } catch (error) {
    throw outageOfOurs(database.where, error) ?? error
  } finally {
    // With it goes the lock, and whatever hangs.
    client.release(true)
  }

  async function bringUpToDate(): Promise<Standing> {
    await trustNoSchema(client)
    const hasRoles = await becomeOwner(client)
    if (!(await ownsSchema(client))) {
      await requireSchema(client, migrations, database.where)
      const beside = await rightsBeside(client)
      if (beside.length > 0) log.warn({ code: 'DATABASE_RIGHTS', beside }, rightsText)
      return 'writer'
    }
    const applied = await migrate(client, migrations, hasRoles)
    if (applied.length > 0) log.info({ applied }, 'brought the database schema up to date')
    return 'owner'
  }
}

async function migrate(
  client: ClientBase,
  migrations: readonly Migration[],
  hasRoles: boolean,
): Promise<string[]> {
  await client.query(`set lock_timeout = ${lockTimeoutMs}`)
  const tried = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [
    lockKey,
  ])
  if (!tried.rows[0]?.locked) throw await beingMigrated(client)
  await client.query('create schema if not exists tidegate')
  await client.query(`create table if not exists tidegate.migrations (
    version integer primary key, name text not null, checksum text not null,
    applied_at timestamptz not null default clock_timestamp())`)
  const missing = migrations.slice(await countApplied(client, migrations))
  for (const migration of missing) await apply(client, migration)
  if (hasRoles) await grantRights(client)
  await client.query('select pg_advisory_unlock($1)', [lockKey])
  return missing.map(({ name }) => name)
}

const holderSql = `
select a.pid, a.application_name as name from pg_locks as l join pg_stat_activity as a using (pid)
where l.locktype = 'advisory' and l.granted and (l.classid::bigint << 32) + l.objid::bigint = $1
  and l.database = (select oid from pg_database where datname = current_database())`

async function beingMigrated(client: ClientBase): Promise<TidegateError> {
  const { rows } = await client.query<{ pid: number; name: string }>(holderSql, [lockKey])
  const [holder] = rows
  const who = holder ? `"${holder.name}" (PostgreSQL process ${holder.pid})` : 'another instance'
  const how = holder ? `, or its session: select pg_terminate_backend(${holder.pid})` : ''
  return new TidegateError('DATABASE_LOCKED', {
    message: `${who} is bringing the database schema up to date`,
    retryable: true,
    hint: `wait for it; if that instance is frozen, end it${how}`,
  })
}

/**
 * For those who may not alter it.
 * @throws TidegateError `DATABASE_OLDER`, `DATABASE_NEWER`, `MIGRATION_EDITED`
 */
export async function requireSchema(
  client: ClientBase,
  migrations: readonly Migration[],
  where: string,
): Promise<void> {
  const there = await client.query(
    `select from pg_tables where schemaname = 'tidegate' and tablename = 'migrations'`,
  )
  const applied = there.rowCount === 0 ? 0 : await countApplied(client, migrations)
  if (applied === migrations.length) return
  const has =
    applied === 0
      ? 'holds no history of Tidegate'
      : `has schema step ${applied}, and ${migrations.length} is needed`
  throw new TidegateError('DATABASE_OLDER', {
    message: `the database at ${where} ${has}`,
    retryable: false,
    hint: 'see that it is the right one; `tidegate cloud --migrate` of this version, as a member of tidegate_owner, brings it up to date',
  })
}

/** Those that were applied are ours, from the first on. */
async function countApplied(client: ClientBase, migrations: readonly Migration[]): Promise<number> {
  const { rows } = await client.query<{ version: number; name: string; checksum: string }>(
    'select version, name, checksum from tidegate.migrations order by version',
  )
  rows.forEach((row, index) => compare(row, migrations[index]))
  return rows.length
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
    if (codeOf(error) === lockNotAvailable) throw tableInUse(migration, error)
    throw codeOf(error) === toBeDoneFirst ? blocked(migration, error as DatabaseError) : error
  }
}

function tableInUse({ version, name }: Migration, cause: unknown): TidegateError {
  return new TidegateError('DATABASE_LOCKED', {
    message: `schema step ${version} (${name}) cannot be applied: somebody has its table locked`,
    retryable: true,
    hint: 'wait for a dump or a long transaction to end; pg_stat_activity and pg_blocking_pids() show whose it is',
    cause,
  })
}

function blocked({ version, name }: Migration, cause: DatabaseError): TidegateError {
  return new TidegateError('MIGRATION_BLOCKED', {
    message: `schema step ${version} (${name}) was not taken: ${cause.message}`,
    retryable: false,
    hint: cause.hint ?? '',
    cause,
  })
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
      hint: 'steps are never edited once applied; restore cloud/database/migrations as it was released',
    })
  }
}

function checksum(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex')
}
