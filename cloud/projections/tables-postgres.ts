import { messageOf, TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { isTemporary } from './poison.ts'
import type { LoadedProjection } from './definition.ts'
import type { Tables } from './versions.ts'
import { asWriter, enterSchema, quietly, schemaOf } from './schema-postgres.ts'
import { showVersion } from './view-postgres.ts'

/** The tables of a projection in a schema of their own, and its contents of before gone. */
async function makeSchema(tx: Transaction, projection: LoadedProjection, scratch: boolean): Promise<void> {
  const { name, version, tables } = projection
  const schema = schemaOf(projection, scratch)
  await quietly(tx, name, () =>
    tx.query('select tidegate.drop_projection($1, $2, $3)', [name, version, scratch]),
  )
  await tx.query('select tidegate.open_projection($1, $2, $3)', [name, version, scratch])
  await asWriter(tx, async (hasRoles) => {
    await enterSchema(tx, schema)
    try {
      await quietly(tx, name, () => tx.query(tables))
    } catch (error) {
      throw isTemporary(error) || error instanceof TidegateError
        ? error
        : tablesFault(projection, messageOf(error))
    }
    const { rows } = await tx.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
      `${schema}.${name}`,
    ])
    if (rows[0]?.there !== true) throw tablesFault(projection, `none of them is named ${name}`)
    if (hasRoles)
      await tx.query(`grant select on all tables in schema ${schema} to tidegate_reader, tidegate_module`)
  })
}

const firstSql = 'insert into tidegate.projections (name, active) values ($1, $2) on conflict do nothing'

export const postgresTables: Tables = {
  enter: (tx, projection) => enterSchema(tx, schemaOf(projection)),
  async make(tx, projection) {
    await makeSchema(tx, projection, false)
    const { name, version } = projection
    // The first version has nobody to switch from.
    const { rowCount } = await tx.query(firstSql, [name, version])
    if (rowCount === 1) await showVersion(tx, projection)
  },
}

/** The same tables, empty, beside the real ones; within a transaction that is rolled back. */
export async function makeScratch(tx: Transaction, projection: LoadedProjection): Promise<void> {
  await makeSchema(tx, projection, true)
  await enterSchema(tx, schemaOf(projection, true))
}

function tablesFault({ name, version }: LoadedProjection, message: string): TidegateError {
  return new TidegateError('PROJECTION_TABLES', {
    message: `the tables of projection ${name} ${version} cannot be made: ${message}`,
    retryable: false,
    hint: `tables is SQL without schemas in its names that makes a table or view ${name}; it is tried again when the cloud starts with another`,
  })
}
