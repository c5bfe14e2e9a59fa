import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts'
import { type RabbitOptions, type RabbitServer, startRabbit } from './rabbit.ts'

/** A server somebody gave us, of which we know the URL alone, or one of our own. */
export type Obtained<Server> = { how: 'given'; url: string } | { how: 'private'; server: Server }

/**
 * RabbitMQ from `TIDEGATE_AMQP_URL`, where nothing is started; else a private one from the binaries on this
 * machine, else from Docker, else from Debian's packages. @throws TidegateError as `startRabbit`
 */
export async function obtainRabbit(
  options: RabbitOptions & { env: NodeJS.ProcessEnv },
): Promise<Obtained<RabbitServer>> {
  const url = options.env['TIDEGATE_AMQP_URL']
  return url ? { how: 'given', url } : { how: 'private', server: await startRabbit(options) }
}

/** PostgreSQL from `TIDEGATE_PG_URL`, else as `obtainRabbit`. @throws TidegateError as `startPostgres` */
export async function obtainPostgres(
  options: PostgresOptions & { env: NodeJS.ProcessEnv },
): Promise<Obtained<PostgresServer>> {
  const url = options.env['TIDEGATE_PG_URL']
  return url ? { how: 'given', url } : { how: 'private', server: await startPostgres(options) }
}
