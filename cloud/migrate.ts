import { isAbort, TidegateError } from '../src/errors.ts'
import { refuseInClear } from '../src/settings/in-clear.ts'
import type { CloudConfig } from './config.ts'
import { createDatabase } from './database/database-postgres.ts'
import { migrateDatabase } from './database/migrate-postgres.ts'
import { migrations } from './database/migrations/all.ts'
import type { CloudParts } from './main.ts'
import { databaseWay } from './settings.ts'
import { untilReachable } from './startup.ts'

/**
 * Brings the schema up to date and gives the roles their rights, and does nothing else: for a user whose password the running cloud
 * does not have.
 * @throws TidegateError `DATABASE_*`, `MIGRATION_EDITED`, `MIGRATION_BLOCKED`, `CONFIG_INVALID`, `CONNECTION_IN_CLEAR`, `PASSWORD_FILE_UNREADABLE`
 */
export async function migrateCloud(
  { instance, database: settings, startup }: CloudConfig,
  parts: CloudParts,
): Promise<void> {
  refuseInClear(databaseWay(settings), parts.log)
  const database = createDatabase({
    url: settings.url,
    passwordFile: settings.passwordFile,
    poolMax: 1,
    applicationName: `tidegate-migrate ${instance}`,
  })
  const start = { ...parts, timeoutMs: startup.timeout }
  try {
    await untilReachable(() => database.probe(), start)
    const standing = await untilReachable(() => migrateDatabase(database, migrations, start), start)
    if (standing !== 'owner') throw notOwner(database.where)
    parts.log.info({ step: migrations.length }, 'the database schema is up to date')
  } catch (error) {
    if (!isAbort(error) || !parts.signal.aborted) throw error
  } finally {
    await database.close()
  }
}

function notOwner(where: string): TidegateError {
  return new TidegateError('DATABASE_DENIED', {
    message: `the user of database.url does not own the schema tidegate at ${where}, which is up to date`,
    retryable: false,
    hint: 'name another user for --migrate, in TIDEGATE_CLOUD__DATABASE__URL: a member of tidegate_owner',
  })
}
