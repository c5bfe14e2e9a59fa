import { randomUUID } from 'node:crypto'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { HandlerLog } from '../pipeline/handlers/handler-log.ts'
import { createDatabase, type Database } from '../database/database-postgres.ts'
import { migrateDatabase } from '../database/migrate-postgres.ts'
import { migrations } from '../database/migrations/all.ts'
import { PgliteServer } from './wire-pglite.ts'
import { lieOfTimeSql } from './virtual-time-postgres.ts'

/** A database of one test, with all of Tidegate's tables and those of the consumer. */
export interface TestDatabase {
  database: Database
  /** Idempotent. */
  close(): Promise<void>
}

export interface TestDatabaseOptions {
  group: string
  /** SQL of the consumer's own tables. */
  sql: string
  /** `postgres://…` of a server on which databases may be made; undefined: PGlite, in this process. */
  url: string | undefined
  log: HandlerLog
}

const databaseName = 'postgres'
const applicationName = 'tidegate testing'

/**
 * @throws TidegateError `PGLITE_MISSING`; `TEST_TABLES` of SQL that cannot be run; `DATABASE_UNREACHABLE`
 */
export async function openTestDatabase({ group, sql, url, log }: TestDatabaseOptions): Promise<TestDatabase> {
  const opened = url === undefined ? await openPglite(log) : await openOnServer(url, log)
  try {
    await prepare(opened.database, group, sql)
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** The consumer's own tables, and from then on a time that is told. */
async function prepare(database: Database, group: string, sql: string): Promise<void> {
  const client = await database.connect()
  try {
    await client.query('reset lock_timeout')
    // Else the first transaction would have it done on another connection, and PGlite has one.
    await client.query('select tidegate.prepare_inbox(), tidegate.inbox_group($1)', [group])
    await client.query(`set search_path to "$user", public`)
    await client.query(moduleRoleSql)
    try {
      await client.query(sql)
    } catch (cause) {
      throw new TidegateError('TEST_TABLES', {
        message: `the SQL of the consumer's tables cannot be run: ${messageOf(cause)}`,
        retryable: false,
        hint: 'option sql of testConsumer is a file, or SQL, that makes the tables in an empty database',
        cause,
      })
    }
    await client.query(lieOfTimeSql)
  } finally {
    client.release()
  }
}

/** Whom the SQL of a consumer's tables grants them to: the role that is shipped for it (docs/DATABASE.md, Roles). */
const moduleRoleSql = `
do $$ begin
  create role tidegate_module;
exception when duplicate_object or unique_violation then null;
end $$`

/** All of Tidegate's tables in PGlite take seconds to make, and a copy of them a second. */
let migrated: Promise<Blob | File> | undefined

async function openPglite(log: HandlerLog): Promise<TestDatabase> {
  const PGlite = await loadPglite()
  migrated ??= (async () => {
    const first = await PGlite.create()
    const opened = await through(first)
    await migrate(opened.database, log)
    const dump = await first.dumpDataDir('none')
    await opened.close()
    return dump
  })()
  return through(await PGlite.create({ loadDataDir: await migrated }))
}

type Pglite = typeof import('@electric-sql/pglite').PGlite

async function through(pglite: InstanceType<Pglite>): Promise<TestDatabase> {
  const server = new PgliteServer(pglite)
  const url = `postgres://postgres@pglite/${databaseName}`
  // PGlite has one session, which a second connection would wait for.
  const database = createDatabase({ url, poolMax: 1, applicationName, dial: () => server.dial() })
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await database.close()
    await pglite.close()
  }
  return { database, close: () => (closing ??= close()) }
}

/** Another package's, which only tests need. @throws TidegateError `PGLITE_MISSING` */
async function loadPglite(): Promise<Pglite> {
  try {
    return (await import('@electric-sql/pglite')).PGlite
  } catch (cause) {
    if (codeOf(cause) !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new TidegateError('PGLITE_MISSING', {
      message: 'there is no database for the test: @electric-sql/pglite is not installed',
      retryable: false,
      hint: 'npm install --save-dev @electric-sql/pglite, or name a server with TIDEGATE_PG_URL=postgres://…',
      cause,
    })
  }
}

/** In a database of its own, which is dropped at the end. */
async function openOnServer(url: string, log: HandlerLog): Promise<TestDatabase> {
  const name = `tidegate_testing_${randomUUID().replaceAll('-', '')}`
  await onServer(url, `create database ${name}`)
  const its = new URL(url)
  its.pathname = `/${name}`
  const database = createDatabase({ url: its.href, poolMax: 4, applicationName })
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await database.close()
    await onServer(url, `drop database ${name} with (force)`)
  }
  const opened = { database, close: () => (closing ??= close()) }
  try {
    await migrate(database, log)
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

async function onServer(url: string, sql: string): Promise<void> {
  const server = createDatabase({ url, poolMax: 1, applicationName })
  try {
    await server.query(sql)
  } finally {
    await server.close()
  }
}

function migrate(database: Database, log: HandlerLog): Promise<unknown> {
  return migrateDatabase(database, migrations, { signal: new AbortController().signal, log: log as never })
}
