import { startPostgres } from '../../../dev/servers/postgres/postgres.ts'
import { startRabbit } from '../../../dev/servers/rabbit/rabbit.ts'

/**
 * What a person's `npm start` is to its servers: another process. Arguments: RabbitMQ's folder, PostgreSQL's folder, and
 * RabbitMQ's users as JSON. Prints the servers' process IDs once both run, and stays.
 */
const [rabbitDir = '', postgresDir = '', users = ''] = process.argv.slice(2)

const say = (): void => undefined
const servers = await Promise.all([
  startRabbit({
    dir: rabbitDir,
    users: JSON.parse(users) as Parameters<typeof startRabbit>[0]['users'],
    say,
  }),
  startPostgres({ dir: postgresDir, say }),
])
console.log(servers.map((server) => server.pid).join())
