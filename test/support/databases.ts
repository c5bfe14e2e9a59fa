import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { createDatabase as poolOf } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { silentLog } from '../../src/log.ts'

export interface Databases {
  /** URL of a new, empty one. */
  empty(): Promise<string>
  /** URL of a new one with all of Tidegate's tables, which belong to the role that is shipped for it. */
  ready(): Promise<string>
  /** Makes the roles that are shipped, and a login of each. */
  makeRoles(url: string): Promise<void>
}

/** The databases of a test run, on the server that `serverUrl` answers. */
export function databases(serverUrl: () => Promise<string>): Databases {
  let count = 0
  let template: Promise<string> | undefined
  let makingRoles: Promise<unknown> = Promise.resolve()

  const named = (): string => `tidegate_test_${process.pid}_${count++}`

  // One after the other: roles belong to the server, whatever database they are made in.
  function makeRolesInTurn(url: string): Promise<void> {
    const made = makingRoles.then(() => makeRoles(url))
    makingRoles = made.catch(() => {})
    return made
  }

  /** A database that is migrated once; a copy of it takes a quarter of the time that the steps take. */
  async function makeTemplate(): Promise<string> {
    const server = await serverUrl()
    const name = `${named()}_template`
    const url = await create(server, name)
    await makeRolesInTurn(url)
    const owner = poolOf({ url: as('owner', url), poolMax: 1, applicationName: 'test' })
    try {
      await migrateDatabase(owner, migrations, { signal: new AbortController().signal, log: silentLog })
    } finally {
      await owner.close()
    }
    await onServer(server, (client) =>
      client.query(`alter database ${client.escapeIdentifier(name)} with allow_connections false`),
    )
    return name
  }

  return {
    async empty() {
      return create(await serverUrl(), named())
    },
    async ready() {
      template ??= makeTemplate()
      const url = await create(await serverUrl(), named(), await template)
      await makeRolesInTurn(url)
      return url
    },
    makeRoles: makeRolesInTurn,
  }
}

/** What is committed is handed to the kernel and not to the disk: a test kills processes, and cuts no machine's power. */
export async function withoutSync(serverUrl: string): Promise<void> {
  await onServer(serverUrl, (client) => client.query('alter system set fsync = off'))
  await onServer(serverUrl, (client) => client.query('select pg_reload_conf()'))
}

function as(role: string, url: string): string {
  const its = new URL(url)
  its.username = its.password = `test_${role}`
  return its.href
}

async function onServer(url: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

async function create(serverUrl: string, name: string, template = 'template1'): Promise<string> {
  await onServer(serverUrl, (client) =>
    client.query(
      `create database ${client.escapeIdentifier(name)} template ${client.escapeIdentifier(template)}`,
    ),
  )
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.href
}

/** The roles that are shipped, and a login of each, `test_writer` and its like, whose password is its name. */
async function makeRoles(databaseUrl: string): Promise<void> {
  await onServer(databaseUrl, async (client) => {
    await client.query(readFileSync(join(import.meta.dirname, '../../deploy/postgres/roles.sql'), 'utf8'))
    await client.query(`do $$ declare role text; begin
      foreach role in array array['writer', 'reader', 'auditor', 'module', 'owner'] loop
        if not exists (select from pg_roles where rolname = 'test_' || role) then
          execute format('create role test_%1$s login password %2$L in role tidegate_%1$s', role, 'test_' || role);
        end if;
      end loop;
      execute format('grant connect on database %I to test_writer, test_reader, test_auditor, test_module, test_owner',
        current_database());
    end $$`)
    // What a test makes for its consumer is theirs; the superuser is called as our schema is, where it would be made otherwise.
    const { rows } = await client.query<{ name: string }>('select current_database() as name')
    await client.query(
      `alter database ${client.escapeIdentifier(rows[0]?.name ?? '')} set search_path = public`,
    )
    await client.query('alter default privileges in schema public grant all on tables to tidegate_module')
  })
}
