import { beforeAll, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { createDatabase } from '../../support/servers.ts'

let url: string
beforeAll(async () => {
  url = await createDatabase()
})

/** What is in force in a transaction on a database whose owner has set these defaults. */
async function inForce(defaults: Record<string, string>): Promise<unknown> {
  const owner = poolOf({ url, poolMax: 1, applicationName: 'owner' })
  const name = new URL(url).pathname.slice(1)
  await owner.query(`alter database ${name} reset all`)
  for (const [setting, value] of Object.entries(defaults))
    await owner.query(`alter database ${name} set ${setting} = '${value}'`)
  await owner.close()
  const database = poolOf({ url, poolMax: 1, applicationName: 'test' })
  try {
    return await postgresStorage(database).transaction(async (tx) => {
      const { rows } = await tx.query(
        `select current_setting('synchronous_commit') as commit, current_setting('transaction_isolation') as isolation`,
      )
      return rows[0]
    }, new AbortController().signal)
  } finally {
    await database.close()
  }
}

test.each([
  ['off', 'on'],
  ['local', 'local'],
  ['remote_apply', 'remote_apply'],
])(
  'a commit is on the disk when it is answered, where the database’s default is %s (G4)',
  async (given, expected) => {
    expect(await inForce({ synchronous_commit: given })).toMatchObject({ commit: expected })
  },
)

test('a transaction sees what its rivals have committed, whatever isolation is the database’s default (G4)', async () => {
  expect(await inForce({ default_transaction_isolation: 'serializable' })).toMatchObject({
    isolation: 'read committed',
  })
})
