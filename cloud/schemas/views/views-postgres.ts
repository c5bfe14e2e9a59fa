import type { ClientBase } from 'pg'
import { codeOf, TidegateError } from '../../../src/errors.ts'
import type { SchemaSource } from '../../../src/schemas/source.ts'
import type { Database } from '../../database/database-postgres.ts'
import { outageOfOurs } from '../../database/faults-postgres.ts'
import { requireSchema } from '../../database/migrate-postgres.ts'
import { migrations } from '../../database/migrations/all.ts'
import { becomeOwner, ownsSchema, trustNoSchema } from '../../database/roles-postgres.ts'
import { sourceOf } from '../../registry/registry.ts'
import { readState } from '../../registry/registry-postgres.ts'
import { ownColumns } from './names.ts'
import { inSchema, quotedName } from './sql-text.ts'
import { commentsSql, createSql, markIn, type TypedView } from './view.ts'

/** What becomes of a view. */
export interface ViewChange {
  name: string
  type: string
  what: 'made' | 'replaced' | 'removed' | 'unchanged'
}

export interface ViewsOptions {
  /** Where they stand. Made, if there is no such schema. */
  schema: string
  /** Everything is done, and then taken back. */
  dryRun: boolean
}

/** Any number; the same in every version of Tidegate. */
const lockKey = 7_441_002_925
/** Who waits for longer holds up those who come after: whoever asks a view, while we wait to replace it. For all views together. */
const lockTimeoutMs = 2_000
/** So long each may wait whose turn comes after that: a query that ends at once is in nobody's way. */
const lockTimeoutMinMs = 50

/** Says how long may still be waited, since the transaction began. */
const waitSql = `
select set_config('lock_timeout', greatest(${lockTimeoutMinMs},
  ${lockTimeoutMs} - floor(extract(epoch from clock_timestamp() - transaction_timestamp()) * 1000))::integer::text, true)`

/** Lock not available; deadlock, as with somebody who asks two views in the other order within one transaction. */
const locked: readonly unknown[] = ['55P03', '40P01']
const otherColumns = '42P16'
const dependedOn = '2BP01'

/**
 * Makes these views, replaces those that have changed, and removes what it has made before and nobody asks for any more: all or
 * nothing, one such command after the other. Rights to a view and its columns stay as they are, those that were taken away too. As the owner of Tidegate's tables.
 * @throws TidegateError `SCHEMA_VIEW_TAKEN`, `SCHEMA_VIEW_USED`, `DATABASE_*`
 */
export async function applyViews(
  database: Database,
  views: readonly TypedView[],
  options: ViewsOptions,
): Promise<ViewChange[]> {
  const { where } = database
  const client = await database.connect()
  try {
    await trustNoSchema(client)
    const hasRoles = await becomeOwner(client)
    await requireSchema(client, migrations, where)
    if (!(await ownsSchema(client))) throw notOwner(where)
    await client.query('begin')
    await client.query('set local standard_conforming_strings = on')
    await client.query(waitSql)
    await client.query('select pg_advisory_xact_lock($1)', [lockKey])
    const changes = await new Applying(client, options.schema, hasRoles).apply(views)
    await client.query(options.dryRun ? 'rollback' : 'commit')
    return changes
  } catch (error) {
    if (locked.includes(codeOf(error))) throw inUse(options.schema, error)
    throw outageOfOurs(where, error) ?? error
  } finally {
    // With it goes whatever was begun.
    client.release(true)
  }
}

/** The schemas that are applied to a database. @throws TidegateError `DATABASE_*`, `SCHEMA_REGISTRY` */
export async function appliedSchemas(database: Database): Promise<SchemaSource> {
  const { where } = database
  const client = await database.connect()
  try {
    await trustNoSchema(client)
    await requireSchema(client, migrations, where)
    return sourceOf(
      await readState(async (text, values = []) => (await client.query(text, [...values])).rows as never),
    )
  } catch (error) {
    throw outageOfOurs(where, error) ?? error
  } finally {
    client.release()
  }
}

interface Standing {
  name: string
  comment: string | null
  isOurs: boolean
}

const schemaSql = `
select pg_has_role(nspowner, 'usage') as "isOurs" from pg_namespace where nspname = $1`

const standingSql = `
select relname::text as name, obj_description(oid, 'pg_class') as comment, relkind = 'v' and pg_has_role(relowner, 'usage') as "isOurs"
from pg_class where relnamespace = to_regnamespace(quote_ident($1)) order by relname`

/** What is granted of a view, and of single columns that it still has then. */
const rightsSql = `
select a.privilege_type as privilege, given.column_name as "column",
    case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end || case when a.is_grantable then ' with grant option' else '' end as "to"
from pg_class as c
cross join lateral (
  select null::text as column_name, c.relacl as acl
  union all
  select attname::text, attacl from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
) as given
cross join lateral aclexplode(given.acl) as a left join pg_roles as r on r.oid = a.grantee
where c.oid = to_regclass($1) and a.grantee <> c.relowner`

interface Right {
  privilege: string
  /** Null: the whole view. */
  column: string | null
  to: string
}

class Applying {
  readonly #client: ClientBase
  readonly #schema: string
  readonly #hasRoles: boolean

  constructor(client: ClientBase, schema: string, hasRoles: boolean) {
    this.#client = client
    this.#schema = schema
    this.#hasRoles = hasRoles
  }

  async apply(views: readonly TypedView[]): Promise<ViewChange[]> {
    await this.#haveSchema()
    const { rows } = await this.#client.query<Standing>(standingSql, [this.#schema])
    const standing = new Map(rows.map((one) => [one.name, one]))
    this.#refuseTaken(views, standing)
    const wanted = new Set(views.map(({ name }) => name))
    const changes: ViewChange[] = []
    for (const { name, comment, isOurs } of rows) {
      const mark = markIn(comment)
      if (wanted.has(name) || mark === undefined || !isOurs) continue
      await this.#drop(name)
      changes.push({ name, type: mark.type, what: 'removed' })
    }
    for (const view of views) {
      const { name, type } = view
      const mark = markIn(standing.get(name)?.comment ?? null)
      if (mark?.digest === view.digest) changes.push({ name, type, what: 'unchanged' })
      else {
        await this.#make(view, mark)
        changes.push({ name, type, what: mark ? 'replaced' : 'made' })
      }
    }
    return changes
  }

  async #haveSchema(): Promise<void> {
    const schema = quotedName(this.#schema)
    const { rows } = await this.#client.query<{ isOurs: boolean }>(schemaSql, [this.#schema])
    if (rows[0]?.isOurs === false) throw taken(`the schema ${this.#schema} is somebody else's`)
    if (rows.length === 0) {
      await this.#client.query(`create schema ${schema}`)
      await this.#client.query(
        `comment on schema ${schema} is 'A view for each event type: tidegate schema views.'`,
      )
    }
    if (this.#hasRoles)
      await this.#client.query(`grant usage on schema ${schema} to tidegate_reader, tidegate_module`)
  }

  #refuseTaken(views: readonly TypedView[], standing: ReadonlyMap<string, Standing>): void {
    const names = views.flatMap(({ name }) => {
      const there = standing.get(name)
      return there === undefined || (there.isOurs && markIn(there.comment)) ? [] : [name]
    })
    if (names.length > 0)
      throw taken(`${names.map((name) => `${this.#schema}.${name}`).join(', ')} was not made by this command`)
  }

  async #make(view: TypedView, mark: { type: string } | undefined): Promise<void> {
    const at = inSchema(this.#schema, view.name)
    await this.#client.query(waitSql)
    const isNew = mark?.type !== view.type
    if (isNew && mark !== undefined) await this.#drop(view.name)
    await this.#client.query('savepoint replacing')
    try {
      await this.#client.query(createSql(this.#schema, view))
    } catch (error) {
      if (codeOf(error) !== otherColumns) throw error
      // PostgreSQL adds columns to a view, and takes none away.
      await this.#client.query('rollback to savepoint replacing')
      await this.#makeAnew(view)
    }
    await this.#client.query('release savepoint replacing')
    for (const sql of commentsSql(this.#schema, view)) await this.#client.query(sql)
    // Given once: what somebody has taken away stays so.
    if (isNew && this.#hasRoles)
      await this.#client.query(`grant select on ${at} to tidegate_reader, tidegate_module`)
  }

  async #makeAnew(view: TypedView): Promise<void> {
    const at = inSchema(this.#schema, view.name)
    const { rows } = await this.#client.query<Right>(rightsSql, [at])
    await this.#drop(view.name)
    await this.#client.query(createSql(this.#schema, view))
    const columns = new Set<string>([...ownColumns, ...view.columns.map(({ name }) => name)])
    for (const { privilege, column, to } of rows) {
      if (column !== null && !columns.has(column)) continue
      const of = column === null ? '' : ` (${quotedName(column)})`
      await this.#client.query(`grant ${privilege}${of} on ${at} to ${to}`)
    }
  }

  async #drop(name: string): Promise<void> {
    await this.#client.query(waitSql)
    try {
      await this.#client.query(`drop view ${inSchema(this.#schema, name)}`)
    } catch (error) {
      throw codeOf(error) === dependedOn ? used(`${this.#schema}.${name}`, error) : error
    }
  }
}

function taken(message: string): TidegateError {
  return new TidegateError('SCHEMA_VIEW_TAKEN', {
    message: `${message}; nothing was changed`,
    retryable: false,
    hint: 'rename what is there, or name another schema with --schema',
  })
}

function used(name: string, cause: unknown): TidegateError {
  return new TidegateError('SCHEMA_VIEW_USED', {
    message: `the columns of ${name} change, or its type is gone, and something of yours is made upon it; nothing was changed`,
    retryable: false,
    hint: 'drop what is upon it (the log of PostgreSQL names it), run this again, and make it again',
    cause,
  })
}

function inUse(schema: string, cause: unknown): TidegateError {
  return new TidegateError('DATABASE_LOCKED', {
    message: `somebody reads views of ${schema}, or makes them, for longer than ${lockTimeoutMs / 1000} s; nothing was changed`,
    retryable: true,
    hint: 'run this again when that has ended: pg_stat_activity shows it',
    cause,
  })
}

function notOwner(where: string): TidegateError {
  return new TidegateError('DATABASE_DENIED', {
    message: `the user does not own the schema tidegate at ${where}: views of event types are its owner's`,
    retryable: false,
    hint: 'name another user for this command: a member of tidegate_owner, as for tidegate cloud --migrate',
  })
}
