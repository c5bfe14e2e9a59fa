import { join } from 'node:path'
import { type AmqpConnection, connectAmqp } from '../../cloud/amqp/connection-rabbit.ts'
import { exchangeTopology, groupTopology } from '../../cloud/amqp/topology.ts'
import { declareTopology } from '../../cloud/amqp/topology-rabbit.ts'
import { obtainPostgres, obtainRabbit, type RabbitServer } from '../../dev/servers/obtain.ts'
import { silentLog } from '../../src/log.ts'
import type { Bench } from '../run/case.ts'

export const partitions = 16

const all = { configure: '.*', write: '.*', read: '.*' }

export interface Rabbit {
  server: RabbitServer
  /** As a user of the bench's own. */
  url: string
  /** As the user that what is measured connects as, so that its traffic can be told from ours. */
  subjectUrl: string
  connection: AmqpConnection
  /** Bytes that connections of the subject's user have sent to the broker. */
  receivedBytes(): Promise<number>
}

/** A private RabbitMQ with the exchange, and the queues of a group; they take every event if they are bound. */
export async function startBenchRabbit(
  { dir, scope, say }: Bench,
  { group, bound }: { group: string; bound: boolean },
): Promise<Rabbit> {
  const users = ['bench', 'subject'].map((name) => ({ name, password: name, permissions: all }))
  const obtained = await obtainRabbit({ dir: join(dir, 'rabbit'), users, env: {}, say })
  if (obtained.how === 'given') throw new Error('a bench measures on servers of its own')
  const server = scope.own(obtained.server)
  const url = server.urlFor('bench')
  const connection = scope.own(await connectAmqp({ url, connectionName: 'bench', log: silentLog }))
  await declareTopology(connection, exchangeTopology())
  await declareTopology(
    connection,
    groupTopology({
      mirror: false,
      types: ['#'],
      ordered: true,
      partitions,
      group,
      ladderMs: [],
      ...(!bound && { unbound: new Set(Array.from({ length: partitions }, (_, partition) => partition)) }),
    }),
  )
  return {
    server,
    url,
    subjectUrl: server.urlFor('subject'),
    connection,
    async receivedBytes() {
      const table = await server.ctl(['list_connections', '--quiet', 'user', 'recv_oct'])
      return table
        .split('\n')
        .map((line) => line.split('\t'))
        .filter(([user]) => user === 'subject')
        .reduce((sum, [, bytes]) => sum + Number(bytes), 0)
    },
  }
}

/** A private PostgreSQL; its address. */
export async function startBenchPostgres({ dir, scope, say }: Bench): Promise<string> {
  const obtained = await obtainPostgres({ dir: join(dir, 'postgres'), env: {}, say })
  if (obtained.how === 'given') throw new Error('a bench measures on servers of its own')
  return scope.own(obtained.server).url
}
