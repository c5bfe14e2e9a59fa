import { Connection, type Publisher } from 'rabbitmq-client'
import { headers as names, partitionOf, routingKey, wire } from '../../../src/contract/wire.ts'
import { rabbitmqctl } from '../servers.ts'
import type { CloudBench } from './cloud.ts'
import type { Encoded } from './cloud-events.ts'

/** A user of the broker with a gateway's rights, and no others. */
export interface GatewayUser {
  /** As its own user ID, unless it lies. @throws what the broker says when it refuses it */
  publish: (encoded: Encoded, userId?: string) => Promise<void>
  close(): Promise<void>
}

export async function gatewayUser(bench: CloudBench, name: string): Promise<GatewayUser> {
  const url = new URL(bench.url)
  const vhost = decodeURIComponent(url.pathname.slice(1))
  await rabbitmqctl('add_user', name, 'secret').catch(() => {})
  await rabbitmqctl('set_permissions', '-p', vhost, name, '^$', String.raw`^tidegate\.events$`, '^$')
  Object.assign(url, { username: name, password: 'secret' })
  const connection = new Connection(url.href)
  connection.on('error', () => {})
  const publisher: Publisher = connection.createPublisher({ confirm: true, maxAttempts: 1 })
  return {
    publish: ({ event, text }, userId = name) =>
      publisher.send(
        {
          exchange: wire.exchange,
          routingKey: routingKey(partitionOf(event.partitionkey, bench.partitions), event.type),
          durable: true,
          userId,
          headers: { [names.publisher]: 'gateway-1', [names.originalUser]: 'gateway-1' },
          contentType: wire.contentType,
        },
        Buffer.from(text),
      ),
    close: () => publisher.close().then(() => connection.close()),
  }
}
