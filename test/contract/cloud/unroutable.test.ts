import { afterEach, describe, expect, test, vi } from 'vitest'
import { createPublisher } from '../../../cloud/amqp/publisher-rabbit.ts'
import { startReplaying } from '../../../cloud/amqp/unroutable-rabbit.ts'
import { asSentOf } from '../../../src/amqp/as-sent-rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { headers as names, wire } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'
import { double, header, headersBlock, publishRaw } from '../../support/cloud/raw-publish.ts'
import { useAmqp } from '../../support/cloud/test-amqp.ts'
import { rabbitmqctl } from '../../support/servers.ts'

const amqp = useAmqp()
const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close()
})

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])
/** As `headersBlock` has it behind its two bits. */
const table = (...entries: Buffer[]): Buffer => headersBlock(...entries).subarray(2)
/** Every property that AMQP has; numbers of forms that the client reads, and would write in others. */
const block = (userId: string): Buffer =>
  Buffer.concat([
    Buffer.from([0xff, 0xfc]),
    text('text/csv'),
    text('gzip'),
    table(...theirHeaders),
    behindHeaders(userId),
  ])
const theirHeaders = [
  header('short', 's', Buffer.from([0, 7])),
  header('decimal', 'D', Buffer.from([2, 0, 0, 1, 0])),
  header('far', 'd', double(-1e200)),
]
const behindHeaders = (userId: string): Buffer =>
  Buffer.concat([
    Buffer.from([1, 3]),
    ...['their own', 'answers', '3600000', 'the ID'].map(text),
    Buffer.from([0, 0, 0, 0, 101, 0, 0, 0]),
    ...['com.acme.climate', userId, 'somebody', 'cluster'].map(text),
  ])

async function taken(queue: string): Promise<object> {
  return vi.waitFor(
    async () => {
      const message = await amqp.broker.client.basicGet({ queue, noAck: true })
      expect(message).toBeDefined()
      return message as object
    },
    { interval: 50, timeout: 10_000 },
  )
}

describe('what no queue had wanted', () => {
  test('is published again with the properties it was sent with, and the user ID of another as a header (G5, G9)', async () => {
    const url = new URL(amqp.url)
    const vhost = decodeURIComponent(url.pathname.slice(1))
    await rabbitmqctl('add_user', 'a-publisher', 'secret')
    await rabbitmqctl('set_permissions', '-p', vhost, 'a-publisher', '.*', '.*', '.*')
    Object.assign(url, { username: 'a-publisher', password: 'secret' })
    const routingKey = '00.com.acme.climate'
    const original = { routingKey, block: block('a-publisher'), body: 'a;b' }
    await publishRaw(url.href, [original])
    const { client } = amqp.broker
    await client.queueDeclare({ queue: 'late', durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await client.queueBind({ exchange: wire.exchange, queue: 'late', routingKey })
    opened.push(startReplaying({ connection: amqp.broker, clock: systemClock, log: silentLog }))
    const replayed = await taken('late')
    await publishRaw(url.href, [original])
    const direct = await taken('late')
    expect(direct).toMatchObject({ userId: 'a-publisher', correlationId: 'their own', priority: 3 })
    const { properties } = asSentOf(replayed)
    for (const part of [...theirHeaders, behindHeaders('admin')]) expect(properties.includes(part)).toBe(true)
    expect(replayed).toMatchObject({ userId: 'admin', headers: { [names.publisher]: 'a-publisher' } })
    expect(replayed).toMatchObject({ body: Buffer.from('a;b') })
  })

  test('and is given back again is told from what a queue took, whatever its correlation ID (G5)', async () => {
    const { client } = amqp.broker
    await client.queueDeclare({ queue: 'there', durable: true, arguments: { 'x-queue-type': 'quorum' } })
    const channel = await client.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    const publisher = await createPublisher(channel)
    opened.push(publisher)
    const fates: string[] = []
    for (const routingKey of ['there', 'nowhere', 'there', 'nowhere'])
      await publisher
        .publish({ exchange: '', routingKey, properties: block('admin') }, Buffer.from('x'))
        .proven.then(
          () => fates.push('proven'),
          (error: Error) => fates.push(error.message),
        )
    expect(fates).toEqual(['proven', 'no queue took it', 'proven', 'no queue took it'])
  })
})
