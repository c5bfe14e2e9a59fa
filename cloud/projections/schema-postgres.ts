import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import type { VersionKey } from './versions.ts'

/** Names are `projectionNamePattern`, versions are whole numbers: nothing of them is to be quoted. */
export function schemaOf({ name, version }: VersionKey, scratch = false): string {
  return `projection_${name}_${version}${scratch ? '_scratch' : ''}`
}

// What a login makes would be its own, and other instances may have another login.
const asWriterSql = `
select set_config('role', rolname, true) from pg_roles
where rolname = 'tidegate_writer' and pg_has_role(session_user, oid, 'member') and has_schema_privilege(oid, 'projection', 'create')`

/** Makes what belongs to all instances, as the role of them, if there are roles. */
export async function asWriter(tx: Transaction, work: (hasRoles: boolean) => Promise<void>): Promise<void> {
  const { rowCount } = await tx.query(asWriterSql)
  await work(rowCount === 1)
  await tx.query(`select set_config('role', 'none', true)`)
}

/** Who waits for longer holds up those who come after: behind what locks everything, and behind the horizon of whoever has written. */
const lockTimeoutMs = 2_000
const lockNotAvailable = '55P03'

/**
 * Something that waits for locks, and not for long.
 * @throws TidegateError `PROJECTION_IN_USE`
 */
export async function quietly<T>(tx: Transaction, name: string, work: () => Promise<T>): Promise<T> {
  await tx.query(`select set_config('lock_timeout', $1, true)`, [String(lockTimeoutMs)])
  try {
    const result = await work()
    await tx.query(`select set_config('lock_timeout', '0', true)`)
    return result
  } catch (error) {
    throw codeOf(error) === lockNotAvailable ? inUse(name, error) : error
  }
}

function inUse(name: string, cause: unknown): TidegateError {
  return new TidegateError('PROJECTION_IN_USE', {
    message: `somebody reads projection ${name}, or works at it, for longer than ${lockTimeoutMs / 1000} s`,
    retryable: true,
    hint: 'ask again when that has ended: pg_stat_activity shows it',
    cause,
  })
}

/** Names without a schema are of this one, until the transaction ends. */
export async function enterSchema(tx: Transaction, schema: string): Promise<void> {
  await tx.query(`select set_config('search_path', $1, true)`, [`${schema}, pg_catalog, pg_temp`])
}

export interface OwnTable {
  name: string
  hasKey: boolean
}

const tablesSql = `
select c.relname::text as name,
  exists (select from pg_attribute as a where a.attrelid = c.oid and a.attname = $2 and not a.attisdropped) as "hasKey"
from pg_class as c where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p') and not c.relispartition order by 1`

/** The tables of a version. */
export async function tablesOf(tx: Transaction, schema: string, keyColumn: string): Promise<OwnTable[]> {
  return (await tx.query<OwnTable>(tablesSql, [schema, keyColumn])).rows
}

/** A name of a table that a module has made, in SQL. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
