import { chownSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { TidegateError } from '../../../src/errors.ts'
import { run, tail } from '../command.ts'
import type { PostgresPlace, PostgresRequest } from './place.ts'
import type { User } from './user.ts'

/** Makes the database cluster if there is none, with the newest binaries; else uses those that made it. */
export async function postgresInstalled(
  newestBin: string,
  owner: User | undefined,
  request: PostgresRequest,
): Promise<PostgresPlace> {
  const { dir, port, user, password } = request
  const data = join(dir, 'data')
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  const how = { env, cwd: dir, ...owner }
  if (!existsSync(data)) await initialise(newestBin)
  const bin = binFor(data, newestBin)
  // PostgreSQL refuses to start while a process has the pid that a crash left here, be it a zombie or another
  // program since. We hold the folder's lock and saw that no server works in it.
  rmSync(join(data, 'postmaster.pid'), { force: true })

  async function initialise(bin: string): Promise<void> {
    const unfinished = `${data}.new`
    const passwordFile = join(dir, 'password.new')
    rmSync(unfinished, { recursive: true, force: true })
    rmSync(passwordFile, { force: true })
    writeFileSync(passwordFile, password, { mode: 0o600, flag: 'wx' })
    if (owner) chownSync(passwordFile, owner.uid, owner.gid)
    const args = ['--pgdata', unfinished, '--username', user, '--pwfile', passwordFile]
    args.push('--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C.UTF-8')
    const outcome = await run({ file: join(bin, 'initdb'), args, ...how })
    rmSync(passwordFile, { force: true })
    if (outcome.code !== 0)
      throw startFailed(`initdb failed: ${tail(outcome.stderr)}`, `See whether ${dir} is writable.`)
    renameSync(unfinished, data)
  }

  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    // No socket file: its path must be short, and nothing here needs one.
    unix_socket_directories: '',
    max_connections: '200',
    timezone: 'UTC',
  }
  return {
    plan: {
      helpers: [],
      server: {
        file: join(bin, 'postgres'),
        args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
        ...how,
      },
      // "Fast shutdown": sessions are ended, not waited for.
      stopSignal: 'SIGINT',
      graceMs: 15_000,
      consoleFile: join(dir, 'console.log'),
    },
    psql: (args) => ({
      file: join(bin, 'psql'),
      args: ['--host=127.0.0.1', `--port=${port}`, `--username=${user}`, '--dbname=postgres', ...args],
      ...how,
      env: { ...env, PGPASSWORD: password },
    }),
  }
}

function binFor(data: string, newestBin: string): string {
  const major = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim()
  const bin = join(dirname(dirname(newestBin)), major, 'bin')
  if (existsSync(join(bin, 'postgres'))) return bin
  throw startFailed(
    `${data} was made by PostgreSQL ${major}, which is not installed.`,
    `Install it, or remove ${data}.`,
  )
}

function startFailed(message: string, hint: string): TidegateError {
  return new TidegateError('SERVER_START_FAILED', { message, retryable: false, hint })
}
