import { randomBytes } from 'node:crypto'
import { TidegateError } from '../../../src/errors.ts'
import { run, tail } from '../command.ts'
import { locatePostgres } from '../locate.ts'
import { lockFolder } from '../lock.ts'
import { postgresInDocker } from './docker.ts'
import { postgresInstalled } from './installed.ts'
import type { PostgresPlace } from './place.ts'
import { folderFor, serviceUser } from './user.ts'
import { type PrivateServer, startPrivateServer } from '../private-server.ts'
import { postgresAnswers } from '../probe.ts'
import { keepPort, keepState, makeFolder } from '../state.ts'
import { clearStrays, leashPatienceMs } from '../strays.ts'

export interface PostgresOptions {
  /** The server's own folder; made if missing, reused if it holds data. */
  dir: string
  say: (line: string) => void
  signal?: AbortSignal
  onCrash?: (cause: string) => void
}

export interface PostgresServer extends PrivateServer {
  readonly port: number
  /** Of the database `tidegate`, as its owner and superuser. */
  readonly url: string
  /** Makes the database if it is not there; returns its URL. @throws TidegateError `SERVER_COMMAND_FAILED` */
  createDatabase(name: string): Promise<string>
}

const user = 'tidegate'

/**
 * Starts a PostgreSQL server that shares nothing with any other on the machine. It listens on loopback only,
 * asks for a password, syncs to disk, and ends with this process, however that ends.
 * @throws TidegateError `ALREADY_RUNNING`, `SERVER_UNOBTAINABLE`, `SERVER_INSTALL_FAILED`, `SERVER_START_FAILED`
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { say, signal } = options
  const asked = makeFolder(options.dir, 0o700)
  const lock = lockFolder(asked)
  try {
    const origin = await locatePostgres(options)
    const owner = origin.how === 'installed' ? serviceUser() : undefined
    const dir = await folderFor(asked, owner, say)
    await clearStrays(dir, leashPatienceMs, signal)
    const { password } = keepState(asked, () => ({ password: randomBytes(18).toString('base64url') }))
    const port = await keepPort(asked, 'postgres')
    const request = { dir, port, user, password }
    const place =
      origin.how === 'docker'
        ? await postgresInDocker(request, options)
        : await postgresInstalled(origin.bin, owner, request)
    const server = await startPrivateServer(
      {
        title: 'PostgreSQL',
        dir,
        lock,
        plan: place.plan,
        isReady: () => postgresAnswers(port, user),
        onCrash: options.onCrash,
      },
      signal,
    )
    const createDatabase = async (name: string): Promise<string> => {
      await createIfMissing(place, name)
      return `postgresql://${user}:${password}@127.0.0.1:${port}/${encodeURIComponent(name)}`
    }
    try {
      return Object.assign(server, { port, url: await createDatabase(user), createDatabase })
    } catch (error) {
      await server.close()
      throw error
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

async function createIfMissing(place: PostgresPlace, name: string): Promise<void> {
  const statement = `CREATE DATABASE "${name.replaceAll('"', '""')}"`
  const psql = place.psql(['--no-psqlrc', '--quiet', '--set=VERBOSITY=sqlstate', '--command', statement])
  const outcome = await run(psql, { timeoutMs: 60_000 })
  const duplicateDatabase = '42P04'
  if (outcome.code === 0 || outcome.stderr.includes(duplicateDatabase)) return
  throw new TidegateError('SERVER_COMMAND_FAILED', {
    message: `${statement} failed: ${tail(outcome.stderr)}`,
    retryable: true,
    hint: 'The code is an SQLSTATE; see the list of error codes in the PostgreSQL documentation.',
  })
}
