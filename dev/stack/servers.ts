import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type DevelopmentPki, issueDevelopmentPki } from '../../certs/development.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Scope } from '../../src/lifecycle.ts'
import {
  gatewayRights,
  obtainPostgres,
  obtainRabbit,
  type Obtained,
  type PostgresServer,
  type RabbitServer,
} from '../servers/obtain.ts'
import { keepState } from '../servers/state.ts'

export interface ServersOptions {
  /** The stack's. */
  dir: string
  devices: readonly string[]
  gateway: string
  /** Default 4. */
  partitions?: number
  env: NodeJS.ProcessEnv
  say: (line: string) => void
  /** Told of what was achieved, for who prints how long it took. */
  timed: (line: string) => void
  signal?: AbortSignal
  onCrash?: (error: TidegateError) => void
}

export interface Servers {
  pki: DevelopmentPki
  rabbit: Obtained<RabbitServer>
  postgres: Obtained<PostgresServer>
  /** What the cloud's user in PostgreSQL logs in with, where the server is ours. */
  databasePassword: string
}

/**
 * The certificates of a stack, and its PostgreSQL and RabbitMQ where they are not given. `scope` owns what is started.
 * @throws TidegateError as the servers and certificates do
 */
export async function startServers(options: ServersOptions, scope: Scope): Promise<Servers> {
  const { dir, gateway, partitions = 4, devices, env, say, timed, signal } = options
  const passed = signal && { signal }
  const pki = await issueDevelopmentPki(join(dir, 'pki'), { devices, gateway })
  timed(`${devices.length} device certificates ready`)
  const secrets = keepState(dir, () => ({ cloud: password(), gateway: password(), database: password() }))
  say('starting RabbitMQ and PostgreSQL, or looking whether they are given …')
  const onCrash = (name: string) => (cause: string) => options.onCrash?.(serverCrashed(name, cause, dir))

  const startingRabbit = obtainRabbit({
    dir: join(dir, 'rabbit'),
    users: [
      { name: 'cloud', password: secrets.cloud, permissions: { configure: '.*', write: '.*', read: '.*' } },
      {
        name: gateway,
        password: secrets.gateway,
        ...gatewayRights(gateway, partitions),
      },
    ],
    tls: { caFile: pki.caFile, certFile: pki.broker.certFile, keyFile: pki.broker.keyFile },
    env,
    say,
    onCrash: onCrash('RabbitMQ'),
    ...passed,
  }).then((obtained) => {
    if (obtained.how === 'private') scope.own(obtained.server)
    timed(
      obtained.how === 'private'
        ? `RabbitMQ ready on 127.0.0.1:${obtained.server.port}`
        : 'RabbitMQ is given',
    )
    return obtained
  })
  const startingPostgres = obtainPostgres({
    dir: join(dir, 'postgres'),
    env,
    say,
    onCrash: onCrash('PostgreSQL'),
    ...passed,
  }).then((obtained) => {
    if (obtained.how === 'private') scope.own(obtained.server)
    timed(
      obtained.how === 'private'
        ? `PostgreSQL ready on 127.0.0.1:${obtained.server.port}`
        : 'PostgreSQL is given',
    )
    return obtained
  })
  // Both have ended, one way or the other, before anything is closed.
  const [rabbit, postgres] = await bothOf(startingRabbit, startingPostgres)
  return { pki, rabbit, postgres, databasePassword: secrets.database }
}

async function bothOf<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second])
  return [await first, await second]
}

function password(): string {
  return randomBytes(18).toString('base64url')
}

function serverCrashed(name: string, cause: string, dir: string): TidegateError {
  return new TidegateError('SERVER_CRASHED', {
    message: `${name} ended by itself (${cause})`,
    retryable: false,
    hint: `its log is below ${dir}`,
  })
}
