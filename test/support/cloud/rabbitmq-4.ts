import { rabbitmqctl } from '../servers.ts'

/** What RabbitMQ 4 gives a quorum queue that has no `x-delivery-limit` of its own, and no policy either. */
const defaultDeliveryLimit = 20

interface Listed {
  name: string
  arguments: unknown
}

/**
 * Lays RabbitMQ 4's default over those queues of a virtual host that would have it there; to be called again when more are declared. A
 * limit of the queue's own is not touched: there it would win, while here the smaller of the two would.
 * @returns the queues.
 */
export async function imitateRabbit4(amqpUrl: string): Promise<string[]> {
  const vhost = vhostOf(amqpUrl)
  const printed = await rabbitmqctl(
    '-q',
    'list_queues',
    '-p',
    vhost,
    'name',
    'arguments',
    '--formatter',
    'json',
  )
  const listed = JSON.parse(printed) as Listed[]
  const without = listed
    .filter((queue) => !JSON.stringify(queue.arguments).includes('x-delivery-limit'))
    .map(({ name }) => name)
  if (without.length === 0) return without
  const pattern = `^(${without.map((name) => name.replaceAll('.', String.raw`\.`)).join('|')})$`
  const definition = JSON.stringify({ 'delivery-limit': defaultDeliveryLimit })
  await rabbitmqctl('set_policy', '-p', vhost, 'rabbitmq-4', pattern, definition, '--apply-to', 'queues')
  return without
}

export function vhostOf(amqpUrl: string): string {
  return decodeURIComponent(new URL(amqpUrl).pathname.slice(1))
}
