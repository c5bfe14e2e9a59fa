import { readFileSync } from 'node:fs'
import { Client } from 'pg'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { run, tail } from '../servers/command.ts'

const login = 'tidegate_cloud'
const migratedWithinMs = 60_000

export interface PreparedDatabase {
  /** As the superuser of a database of ours. */
  url: string
  /** Of the cloud's own user. */
  password: string
  /** Files of SQL for a superuser: who may do what. */
  setupFiles: readonly string[]
  /** The compiled `tidegate`. */
  cli: string
  env: NodeJS.ProcessEnv
}

/**
 * Makes the roles, a user for the cloud that can add to the record and alter nothing, and the tables, as an operator would.
 * @returns the URL of that user.
 * @throws TidegateError `SERVER_COMMAND_FAILED`
 */
export async function prepareDatabase({
  url,
  password,
  setupFiles,
  cli,
  env,
}: PreparedDatabase): Promise<string> {
  const client = new Client({ connectionString: url })
  try {
    await client.connect()
    for (const file of setupFiles) await client.query(readFileSync(file, 'utf8'))
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [login])
    const database = client.escapeIdentifier(decodeURIComponent(new URL(url).pathname.slice(1)))
    const quoted = client.escapeLiteral(password)
    await client.query(`${rowCount === 0 ? 'create' : 'alter'} role ${login} login password ${quoted}`)
    await client.query(`grant tidegate_writer to ${login}`)
    await client.query(`grant connect on database ${database} to ${login}`)
    // Tables that somebody makes here for a consumer of theirs; not in our schema, which is called as the superuser is.
    await client.query(`alter database ${database} set search_path = public`)
    await client.query('alter default privileges in schema public grant all on tables to tidegate_module')
  } catch (cause) {
    throw failed(messageOf(cause), cause)
  } finally {
    client.end().catch(() => {})
  }
  const migration = { file: process.execPath, args: [cli, 'cloud', '--migrate'] }
  const outcome = await run(
    { ...migration, env: { ...env, TIDEGATE_CLOUD__DATABASE__URL: url } },
    { timeoutMs: migratedWithinMs },
  )
  if (outcome.code !== 0) throw failed(tail(outcome.stderr || outcome.stdout))
  const cloudUrl = new URL(url)
  cloudUrl.username = login
  cloudUrl.password = password
  return cloudUrl.href
}

function failed(message: string, cause?: unknown): TidegateError {
  return new TidegateError('SERVER_COMMAND_FAILED', {
    message: `the database could not be prepared: ${message}`,
    retryable: true,
    hint: 'see the log of PostgreSQL in the folder of the run',
    cause,
  })
}
