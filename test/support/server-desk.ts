import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { obtainPostgres, obtainRabbit } from '../../dev/servers/obtain.ts'
import { explain } from '../../src/errors.ts'
import { databases, withoutSync } from './databases.ts'
import { vhostPool } from './vhost-pool.ts'

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
  const admin = {
    name: 'admin',
    password: 'admin',
    permissions: { configure: '.*', write: '.*', read: '.*' },
    tags: ['administrator'],
  }
  let rabbit: ReturnType<typeof obtainRabbit> | undefined
  let postgres: ReturnType<typeof startPostgres> | undefined
  let vhostsOnGiven = 0

  const vhosts = vhostPool(dir, admin, rabbitmqctl)
  const theRabbit = (): ReturnType<typeof obtainRabbit> =>
    (rabbit ??= obtainRabbit({
      dir: join(dir, 'rabbit'),
      users: [admin],
      vhosts: vhosts.first,
      env: process.env,
      say,
    }))
  async function startPostgres(): ReturnType<typeof obtainPostgres> {
    const obtained = await obtainPostgres({ dir: join(dir, 'postgres'), env: process.env, say })
    if (obtained.how === 'private') await withoutSync(obtained.server.url)
    return obtained
  }
  const theDatabases = databases(async () => {
    const obtained = await (postgres ??= startPostgres())
    return obtained.how === 'given' ? obtained.url : obtained.server.url
  })

  async function rabbitmqctl(args: readonly string[]): Promise<string> {
    const obtained = await theRabbit()
    if (obtained.how === 'given')
      throw new Error('a given RabbitMQ has no rabbitmqctl: unset TIDEGATE_AMQP_URL')
    return obtained.server.ctl(args)
  }

  const services: Record<string, (body: unknown) => Promise<string>> = {
    async '/vhost'() {
      const obtained = await theRabbit()
      if (obtained.how === 'given')
        return vhostOnGiven(obtained.url, `tidegate-test-${process.pid}-${vhostsOnGiven++}`)
      return obtained.server.urlFor(admin.name, await vhosts.take())
    },
    '/rabbitmqctl': (args) => rabbitmqctl(args as string[]),
    '/database': () => theDatabases.empty(),
    '/database/ready': () => theDatabases.ready(),
    async '/roles'(databaseUrl) {
      await theDatabases.makeRoles(databaseUrl as string)
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

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  request.setEncoding('utf8')
  for await (const chunk of request) text += String(chunk)
  return text
}
