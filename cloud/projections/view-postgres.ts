import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { asWriter, quietly, schemaOf } from './schema-postgres.ts'
import type { VersionKey } from './versions.ts'

/** Shown by `tidegate.rollups` as well, which was there before there were projections. */
const rollupsName = 'rollups'

const otherColumns = '42P16'
const dependedOn = '2BP01'

const rightsSql = `
select format('grant %s on projection.%I to %s%s', a.privilege_type, c.relname,
    case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end, case when a.is_grantable then ' with grant option' else '' end) as sql
from pg_class as c cross join lateral aclexplode(c.relacl) as a left join pg_roles as r on r.oid = a.grantee
where c.oid = to_regclass('projection.' || quote_ident($1)) and a.grantee <> c.relowner`

/**
 * Has the view show this version, from the commit of the transaction on: who reads ends on the tables of before, who comes then begins on
 * these. Rights to the view stay as they are.
 * @throws TidegateError `PROJECTION_IN_USE`, `PROJECTION_VIEW_USED`
 */
export async function showVersion(tx: Transaction, key: VersionKey): Promise<void> {
  const { name } = key
  const select = `select * from ${schemaOf(key)}.${name}`
  const replace = async (hasRoles: boolean): Promise<void> => {
    await tx.query('savepoint switched')
    try {
      await tx.query(`create or replace view projection.${name} as ${select}`)
    } catch (error) {
      await tx.query('rollback to savepoint switched')
      if (codeOf(error) !== otherColumns) throw error
      await replaceView(tx, key, select)
    }
    await tx.query('release savepoint switched')
    if (!hasRoles) return
    await tx.query(`grant select on projection.${name} to tidegate_reader, tidegate_module`)
    // The owner's view reads the table as the owner.
    if (name === rollupsName) await tx.query(`grant select on ${schemaOf(key)}.buckets to tidegate_owner`)
  }
  await asWriter(tx, (hasRoles) => quietly(tx, name, () => replace(hasRoles)))
  if (name === rollupsName) await showRollups(tx, key.version)
}

/** Has `tidegate.rollups` show this version, and what was counted before it while there is such. @throws TidegateError `PROJECTION_IN_USE` */
export async function showRollups(tx: Transaction, version: number): Promise<void> {
  await quietly(tx, rollupsName, () => tx.query('select tidegate.show_rollups($1)', [version]))
}

/** PostgreSQL adds columns to a view, and takes none away. */
async function replaceView(tx: Transaction, key: VersionKey, select: string): Promise<void> {
  const { name } = key
  const { rows } = await tx.query<{ sql: string }>(rightsSql, [name])
  try {
    await tx.query(`drop view projection.${name}`)
  } catch (error) {
    throw inTheWay(key, error)
  }
  await tx.query(`create view projection.${name} as ${select}`)
  for (const { sql } of rows) await tx.query(sql)
}

function inTheWay({ name }: VersionKey, error: unknown): unknown {
  if (codeOf(error) === dependedOn)
    return new TidegateError('PROJECTION_VIEW_USED', {
      message: `the columns of projection.${name} change, and something of yours is made upon it`,
      retryable: false,
      hint: 'drop what is upon it (the log of PostgreSQL names it), switch, and make it again',
      cause: error,
    })
  return error
}
