import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { obtainPostgres, obtainRabbit } from '../../dev/servers/obtain.ts'
import { explain } from '../../src/errors.ts'

export interface ServerDesk {
  url: string
  close(): Promise<void>
}

/**
 * Owns the one RabbitMQ and the one PostgreSQL of a test run and hands out virtual hosts and databases over
 * loopback HTTP, because tests run in other processes. Each server is started by the first test that asks.
 */
export async function openServerDesk(): Promise<ServerDesk> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-test-'))
  // PostgreSQL's own user must get through to its folder below.
  chmodSync(dir, 0o711)
  const desk = { vhosts: 0, databases: 0 }
  const pool = 40
  const admin = {
    name: 'admin',
    password: 'admin',
    permissions: { configure: '.*', write: '.*', read: '.*' },
    tags: ['administrator'],
  }
  let rabbit: ReturnType<typeof obtainRabbit> | undefined
  let postgres: ReturnType<typeof obtainPostgres> | undefined
  const theRabbit = () =>
    (rabbit ??= obtainRabbit({
      dir: join(dir, 'rabbit'),
      users: [admin],
      // Made at boot they cost nothing, by rabbitmqctl half a second each.
      vhosts: Array.from({ length: pool }, (_, index) => vhostName(index)),
      env: process.env,
      say,
    }))
  const thePostgres = () =>
    (postgres ??= obtainPostgres({ dir: join(dir, 'postgres'), env: process.env, say }))

  const postgresUrl = async (): Promise<string> => {
    const obtained = await thePostgres()
    return obtained.how === 'given' ? obtained.url : obtained.server.url
  }
  let makingRoles: Promise<unknown> = Promise.resolve()

  const services: Record<string, (body: unknown) => Promise<string>> = {
    async '/vhost'() {
      const obtained = await theRabbit()
      const index = desk.vhosts++
      if (obtained.how === 'given') return vhostOnGiven(obtained.url, `tidegate-test-${process.pid}-${index}`)
      const { server } = obtained
      if (index >= pool) {
        await server.ctl(['add_vhost', vhostName(index)])
        await server.ctl(['set_permissions', '-p', vhostName(index), admin.name, '.*', '.*', '.*'])
      }
      return server.urlFor(admin.name, vhostName(index))
    },
    async '/rabbitmqctl'(args) {
      const obtained = await theRabbit()
      if (obtained.how === 'given')
        throw new Error('a given RabbitMQ has no rabbitmqctl: unset TIDEGATE_AMQP_URL')
      return obtained.server.ctl(args as string[])
    },
    async '/database'() {
      const url = await postgresUrl()
      return createDatabase(url, `tidegate_test_${process.pid}_${desk.databases++}`)
    },
    // One after the other: roles belong to the server, whatever database they are made in.
    async '/roles'(databaseUrl) {
      const made = makingRoles.then(() => makeRoles(databaseUrl as string))
      makingRoles = made.catch(() => {})
      await made
      return ''
    },
  }

  const http = createServer((request, response) => {
    const service = services[request.url ?? '']
    const answer = async (): Promise<string> => {
      if (!service) throw new Error(`no such service: ${request.url}`)
      return service(JSON.parse(await textOf(request)))
    }
    answer().then(
      (text) => response.end(text),
      (error: unknown) => response.writeHead(500).end(explain(error)),
    )
  })
  // Starting a server may mean installing it first.
  http.requestTimeout = 0
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as AddressInfo

  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      http.close()
      http.closeAllConnections()
      const started = await Promise.allSettled([rabbit, postgres])
      const servers = started.flatMap((one) =>
        one.status === 'fulfilled' && one.value?.how === 'private' ? [one.value.server] : [],
      )
      await Promise.all(servers.map((server) => server.close()))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function say(line: string): void {
  console.log(line)
}

function vhostName(index: number): string {
  return `t${String(index).padStart(2, '0')}`
}

/** Through the management plugin's HTTP API, the one way that a URL alone gives us. */
async function vhostOnGiven(amqpUrl: string, name: string): Promise<string> {
  const url = new URL(amqpUrl)
  const base = process.env['TIDEGATE_AMQP_MANAGEMENT_URL'] ?? `http://${url.hostname}:15672`
  const headers = {
    authorization: `Basic ${btoa(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`)}`,
    'content-type': 'application/json',
  }
  const put = async (path: string, body: object): Promise<void> => {
    const response = await fetch(`${base}/api/${path}`, {
      method: 'PUT',
      headers,
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`PUT ${base}/api/${path}: ${response.status} ${await response.text()}`)
  }
  await put(`vhosts/${name}`, {})
  await put(`permissions/${name}/${url.username}`, { configure: '.*', write: '.*', read: '.*' })
  url.pathname = `/${name}`
  return url.href
}

async function createDatabase(serverUrl: string, name: string): Promise<string> {
  const client = new Client({ connectionString: serverUrl })
  await client.connect()
  try {
    await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`)
  } finally {
    await client.end()
  }
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.href
}

/** The roles that are shipped, and a login of each, `test_writer` and its like, whose password is its name. */
async function makeRoles(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  try {
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
  } finally {
    await client.end()
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  request.setEncoding('utf8')
  for await (const chunk of request) text += String(chunk)
  return text
}
