import { TidegateError } from '../../src/errors.ts'
import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres/postgres.ts'
import { type RabbitOptions, type RabbitServer, startRabbit } from './rabbit/rabbit.ts'

export { gatewayRights } from './rabbit/files.ts'
export type { PostgresServer, RabbitServer }

/** A server somebody gave us, of which we know the URL alone, or one of our own. */
export type Obtained<Server> = { how: 'given'; url: string } | { how: 'private'; server: Server }

/**
 * RabbitMQ from `TIDEGATE_AMQP_URL`, where nothing is started; else a private one from the binaries on this
 * machine, else from Docker, else from Debian's packages. @throws TidegateError as `startRabbit`, `OPTIONS_INVALID`
 */
export async function obtainRabbit(
  options: RabbitOptions & { env: NodeJS.ProcessEnv },
): Promise<Obtained<RabbitServer>> {
  const url = givenUrl(options.env, 'TIDEGATE_AMQP_URL', ['amqp:', 'amqps:'])
  return url ? { how: 'given', url } : { how: 'private', server: await startRabbit(options) }
}

/** PostgreSQL from `TIDEGATE_PG_URL`, else as `obtainRabbit`. @throws TidegateError as `startPostgres` */
export async function obtainPostgres(
  options: PostgresOptions & { env: NodeJS.ProcessEnv },
): Promise<Obtained<PostgresServer>> {
  const url = givenUrl(options.env, 'TIDEGATE_PG_URL', ['postgres:', 'postgresql:'])
  return url ? { how: 'given', url } : { how: 'private', server: await startPostgres(options) }
}

/** The message does not repeat what was given: there may be a password in it. */
function givenUrl(env: NodeJS.ProcessEnv, name: string, protocols: readonly string[]): string | undefined {
  const url = env[name]
  if (!url || (URL.canParse(url) && protocols.includes(new URL(url).protocol))) return url
  throw new TidegateError('OPTIONS_INVALID', {
    message: `${name} is no URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
    retryable: false,
    hint: `correct it; or unset ${name}, and a private server is started`,
  })
}
