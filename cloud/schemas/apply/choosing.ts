import { type Command, Option } from 'commander'
import { systemClock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import type { SchemaSource } from '../../../src/schemas/source.ts'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../../database-choice.ts'
import { createClient } from '../../tool/client.ts'
import { targetOf, type TargetChoice } from '../../tool/target.ts'
import { apiDoor, type Door } from './door.ts'

/** What a person has said of the registry that a command is about. */
export type RegistryChoice = DatabaseChoice & Pick<TargetChoice, 'api' | 'ca'>

/** Gives a command the options by which it is told which registry it is about. */
export function askingForRegistry(command: Command): Command {
  return askingForDatabase(command)
    .addOption(
      new Option(
        '--api <url>',
        'address of the API of a cloud, instead of a database, else TIDEGATE_API; the token is in TIDEGATE_TOKEN, never here',
      ).conflicts(['config', 'database']),
    )
    .option('--ca <file>', 'PEM; the CA of the API’s certificate, if it is not one that this machine trusts')
}

export function isChosen({ config, database, api }: RegistryChoice, env: NodeJS.ProcessEnv): boolean {
  return [config, database, api, env['TIDEGATE_API'], env['TIDEGATE_CLOUD__DATABASE__URL']].some(
    (one) => one !== undefined,
  )
}

export interface Entering {
  formats: Formats
  moduleAt: SchemaSource['moduleAt']
  signal: AbortSignal
}

/**
 * Does something with the registry that was chosen: an address or a database that is named, else what the environment says, the API first.
 * @throws TidegateError `OPTIONS_INVALID` nobody has said which; what stands at `targetOf` and `openChosenDatabase`
 */
export async function withRegistry<T>(
  choice: RegistryChoice,
  { formats, moduleAt, signal }: Entering,
  work: (door: Door) => Promise<T>,
): Promise<T> {
  if (!isChosen(choice, process.env)) throw whichRegistry()
  const isNamed = choice.config !== undefined || choice.database !== undefined
  if (choice.api !== undefined || (!isNamed && process.env['TIDEGATE_API'] !== undefined)) {
    const { api, ca } = choice
    const target = targetOf(
      { ...(api !== undefined && { api }), ...(ca !== undefined && { ca }) },
      process.env,
    )
    return work(apiDoor(createClient(target), systemClock))
  }
  const database = await openChosenDatabase(choice, 'tidegate-schema')
  try {
    const { postgresDoor, requireReady } = await import('./door-postgres.ts')
    await requireReady(database)
    return await work(postgresDoor({ database, formats, moduleAt, signal }))
  } finally {
    await database.close()
  }
}

function whichRegistry(): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: 'which registry?',
    retryable: false,
    hint: 'name a cloud by --api, or its database by --config or --database',
  })
}
