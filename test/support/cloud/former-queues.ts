import { Connection } from 'rabbitmq-client'
import { formerPartitionQueues, partitionName, wire } from '../../../src/contract/wire.ts'

const ordered = { 'x-single-active-consumer': true } as const

/** The partition queues as versions before queue generation 2 declared and bound them. */
export async function declareFormerQueues(
  url: string,
  options: { group: string; types: readonly string[]; partitions: number; ordered?: boolean },
): Promise<void> {
  const connection = new Connection({ url })
  connection.on('error', () => {})
  for (let partition = 0; partition < options.partitions; partition++) {
    const queue = String(formerPartitionQueues(options.group, partition)[0])
    await connection.queueDeclare({
      queue,
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        ...(options.ordered !== false && ordered),
        'x-delivery-limit': 1_000_000_000,
      },
    })
    for (const type of options.types) {
      await connection.queueBind({
        queue,
        exchange: wire.exchange,
        routingKey: `${partitionName(partition)}.${type}`,
      })
    }
  }
  await connection.close()
}

/** `source>queue>key` of every binding of a virtual host to the exchange of events. */
export async function bindingsOf(
  rabbitmqctl: (...args: string[]) => Promise<string>,
  url: string,
): Promise<string[]> {
  const vhost = decodeURIComponent(new URL(url).pathname.slice(1)) || '/'
  const listed = await rabbitmqctl(
    '-q',
    'list_bindings',
    '-p',
    vhost,
    'source_name',
    'destination_name',
    'routing_key',
    '--no-table-headers',
  )
  return listed
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([source]) => source === wire.exchange)
    .map(([, queue, key]) => `${queue} ${key}`)
    .toSorted()
}
