import { Connection, type ConnectionOptions } from 'rabbitmq-client'
import { diallingOf } from '../../src/amqp/address.ts'
import { identifyByCertificate } from '../../src/amqp/by-certificate-rabbit.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { listsQueueArguments } from '../../src/contract/published-lists.ts'
import { listsQueue, wire } from '../../src/contract/wire.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import type { ClientTls } from '../../src/settings/client-tls.ts'

export interface PublishOptions {
  /** `amqps://user:password@host:port/vhost` of a user who may declare the exchange and the queues, and write to the exchange. */
  url: string
  auth: 'password' | 'certificate'
  tls: ClientTls | undefined
  /** Who is to have a queue, if it has none yet. */
  gateways: readonly string[]
}

const connectTimeoutMs = 10_000
/**
 * Publishes lists to every gateway that has a queue; each keeps the newest for as long as its gateway is away. False: none has one.
 * @throws TidegateError LISTS_UNPUBLISHED: the broker has not confirmed them
 */
export async function publishLists(json: string, options: PublishOptions): Promise<boolean> {
  const { url, auth, tls, gateways } = options
  const connection = new Connection({
    url,
    socket: diallingOf(url, connectTimeoutMs) as ConnectionOptions['socket'] & object,
    ...(tls && { tls: { ca: tls.ca, cert: tls.pair?.cert, key: tls.pair?.key, minVersion: 'TLSv1.2' } }),
    connectionName: 'tidegate lists publish',
    connectionTimeout: connectTimeoutMs,
    acquireTimeout: connectTimeoutMs,
  })
  if (auth === 'certificate') identifyByCertificate(connection)
  const failed = new Promise<never>((_, reject) => connection.on('error', reject))
  failed.catch(() => {})
  try {
    return await Promise.race([publish(connection, json, gateways), failed])
  } catch (cause) {
    connection.unsafeDestroy()
    throw new TidegateError('LISTS_UNPUBLISHED', {
      message: `the lists were not published: ${codeOf(cause)} ${amqpMessageOf(cause)}`,
      retryable: true,
      hint: 'the user needs the rights that docs/OPERATIONS.md names for lists; run it again: it takes the next number',
      cause,
    })
  }
}

async function publish(connection: Connection, json: string, gateways: readonly string[]): Promise<boolean> {
  const exchange = wire.lists
  await connection.exchangeDeclare({ exchange, type: 'fanout', durable: true })
  for (const gateway of gateways) {
    const queue = listsQueue(gateway)
    await connection.queueDeclare({ queue, durable: true, arguments: listsQueueArguments })
    await connection.queueBind({ queue, exchange, routingKey: '' })
  }
  const publisher = connection.createPublisher({ confirm: true, maxAttempts: 1 })
  let isRouted = true
  publisher.on('basic.return', () => (isRouted = false))
  const envelope = {
    exchange,
    routingKey: '',
    durable: true,
    mandatory: true,
    contentType: 'application/json',
  }
  await publisher.send(envelope, Buffer.from(json))
  await publisher.close()
  await connection.close()
  return isRouted
}
