import { type Command, Option } from 'commander'
import { TidegateError } from '../src/errors.ts'
import { refuseInClear } from '../src/settings/in-clear.ts'
import { type CloudConfig, loadCloudConfig } from './config.ts'
import type { Database } from './database/database-postgres.ts'

/** What a person has said of the database that a command is about. */
export interface DatabaseChoice {
  config?: string
  database?: string
}

/** Gives a command the options by which it is told which database it is about. */
export function askingForDatabase(command: Command): Command {
  return command
    .option('-c, --config <file>', 'YAML configuration of the cloud, for its database')
    .addOption(
      new Option(
        '-d, --database <url>',
        `postgres:// URL without a password, instead of a configuration; with one it belongs in ${urlVariable}, where ps does not show it`,
      ).conflicts('config'),
    )
}

/**
 * The database that was chosen, for one command; not asked yet.
 * @throws TidegateError `OPTIONS_INVALID` if nobody has said which, `CONNECTION_IN_CLEAR`, and as `loadCloudConfig` does
 */
export async function openChosenDatabase(choice: DatabaseChoice, applicationName: string): Promise<Database> {
  const { url, passwordFile, insecure } = databaseOf(choice, process.env)
  warnOfPassword(choice)
  const { createDatabase } = await import('./database/database-postgres.ts')
  const { dialledBy } = await import('./database/url-postgres.ts')
  refuseInClear({ key: 'database.url', insecure, ...dialledBy(url) })
  return createDatabase({ url, passwordFile, poolMax: 1, applicationName })
}

/** What the configuration that was named says of schemas; nothing is named: nothing. @throws as `loadCloudConfig` does */
export function schemasChosen({
  config,
}: DatabaseChoice): Partial<Pick<CloudConfig['schemas'], 'folder' | 'formats'>> {
  if (config === undefined) return {}
  const { folder, formats } = loadCloudConfig(config, process.env).schemas
  return { formats, ...(folder !== undefined && { folder }) }
}

function databaseOf({ config, database }: DatabaseChoice, env: NodeJS.ProcessEnv): CloudConfig['database'] {
  if (database === undefined && config === undefined && env[urlVariable] === undefined) {
    throw new TidegateError('OPTIONS_INVALID', {
      message: 'which database?',
      retryable: false,
      hint: `name the cloud's configuration (--config) or set ${urlVariable}; --database URL shows its password in ps`,
    })
  }
  if (database === undefined) return loadCloudConfig(config, env).database
  // What else is set for a cloud does not concern this database.
  const ofInsecure = Object.entries(env).filter(([name]) => name.toUpperCase() === insecureVariable)
  return { ...loadCloudConfig(undefined, Object.fromEntries(ofInsecure)).database, url: database }
}

/** On standard error: what a command prints is for programs too. */
function warnOfPassword({ database }: DatabaseChoice): void {
  if (database === undefined || !URL.canParse(database)) return
  const { password, searchParams } = new URL(database)
  if (password === '' && !searchParams.has('password')) return
  process.stderr.write(
    `tidegate: ps shows every user of this machine the password in --database; put the URL in ${urlVariable} instead\n`,
  )
}

const urlVariable = 'TIDEGATE_CLOUD__DATABASE__URL'
const insecureVariable = 'TIDEGATE_CLOUD__DATABASE__INSECURE'
