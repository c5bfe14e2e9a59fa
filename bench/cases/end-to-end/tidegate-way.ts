import { join } from 'node:path'
import { Client } from 'pg'
import { startStack } from '../../../dev/stack/stack.ts'
import { wire } from '../../../src/contract/wire.ts'
import type { Bench } from '../../run/case.ts'
import { cpuMicrosOf } from '../../run/process.ts'
import { fleetOf } from '../../subjects/device.ts'
import { eventType, numberOf } from '../../subjects/packets.ts'
import type { Arrival, Way } from './way.ts'

/** All of Tidegate as `tidegate dev` starts it, with the history group alone; at its end is a committed row. */
export async function startTidegateWay(
  { dir, scope, say }: Bench,
  devices: readonly string[],
  name: string,
): Promise<Way> {
  // Servers that somebody lent hold what others left there.
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  const stack = scope.own(
    await startStack({
      dir: join(dir, 'stack'),
      devices,
      edgeConfig: { log: { level: 'warn' }, schemas: { folder: undefined } },
      cloudConfig: { log: { level: 'warn' }, consumers: ['history'], schemas: { folder: undefined } },
      env,
      say: () => undefined,
    }),
  )
  const { edge, rabbit, postgres } = stack
  const [cloud] = stack.clouds
  if (!rabbit || !postgres || !cloud) throw new Error('a bench measures on servers of its own')
  const client = await openClock(stack.databaseUrl, postgres)
  scope.own({ close: () => client.end() })
  say('  edge, RabbitMQ, cloud and PostgreSQL are ready')
  let mark = '0'
  const since = `from tidegate.events where position > $1 and type = '${eventType}'`
  return {
    name,
    mqttPort: stack.mqtt.port,
    fleet: fleetOf(stack.pki),
    cpuMicros: () =>
      [edge.pid, rabbit.pid, cloud.pid].reduce<number>((sum, pid) => sum + cpuMicrosOf(pid ?? 0), 0),
    async mark() {
      const { rows } = await client.query<{ position: string }>(
        'select coalesce(max(position), 0) as position from tidegate.events',
      )
      mark = rows[0]?.position ?? '0'
    },
    async count() {
      const { rows } = await client.query<{ count: string }>(`select count(*) ${since}`, [mark])
      return Number(rows[0]?.count)
    },
    async arrivals() {
      const { rows } = await client.query<{ id: string; at: string }>(
        `select id, extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000 as at ${since}`,
        [mark],
      )
      const arrivals = new Map<number, Arrival>()
      for (const { id, at } of rows) {
        const number = numberOf(id)
        arrivals.set(number, { atMs: Number(at), times: (arrivals.get(number)?.times ?? 0) + 1 })
      }
      return arrivals
    },
    probe: { url: stack.amqpUrl, exchange: wire.exchange, routingKey: `*.${eventType}` },
    parts: {
      site: { name: 'edge', kill: () => edge.kill('SIGKILL'), start: () => edge.start() },
      broker: { name: 'RabbitMQ', kill: () => rabbit.kill(), start: () => rabbit.start() },
      end: { name: 'cloud', kill: () => cloud.kill('SIGKILL'), start: () => cloud.start() },
    },
  }
}

/** A client of a PostgreSQL that remembers when each transaction was committed. */
async function openClock(
  url: string,
  postgres: { stop(): Promise<void>; start(): Promise<void> },
): Promise<Client> {
  const setting = new Client(url)
  await setting.connect()
  await setting.query('alter system set track_commit_timestamp = on')
  await setting.end()
  await postgres.stop()
  await postgres.start()
  const client = new Client(url)
  await client.connect()
  return client
}
