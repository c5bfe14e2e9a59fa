import type { Command } from 'commander'
import { TidegateError } from '../src/errors.ts'
import { loadCloudConfig } from './config.ts'

/** What a person has said of the database that a command is about. */
export interface DatabaseChoice {
  config?: string
  database?: string
}

/** Gives a command the options by which it is told which database it is about. */
export function askingForDatabase(command: Command): Command {
  return command
    .option('-c, --config <file>', 'YAML configuration of the cloud, for its database')
    .option(
      '-d, --database <url>',
      'postgres:// URL, instead of a configuration; its password rather in the environment, where ps does not show it',
    )
}

/** @throws TidegateError `OPTIONS_INVALID` if nobody has said which, and as `loadCloudConfig` does */
export function databaseOf({ config, database }: DatabaseChoice, env: NodeJS.ProcessEnv): string {
  if (database !== undefined) return database
  if (config === undefined && env[urlVariable] === undefined) {
    throw new TidegateError('OPTIONS_INVALID', {
      message: 'which database?',
      retryable: false,
      hint: `name the cloud's configuration (--config) or set ${urlVariable}; --database URL shows its password in ps`,
    })
  }
  return loadCloudConfig(config, env).database.url
}

const urlVariable = 'TIDEGATE_CLOUD__DATABASE__URL'
