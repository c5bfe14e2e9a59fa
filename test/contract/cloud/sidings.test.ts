import { describe, expect, test, vi } from 'vitest'
import type { Channel } from 'rabbitmq-client'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import { groupTopology, sidingTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { rungName } from '../../../src/contract/wire.ts'
import { letter, useAmqp } from '../../support/cloud/test-amqp.ts'
import { rabbitmqctl } from '../../support/servers.ts'

const amqp = useAmqp()

/** Of channels that are opened from now on; bodies of other tests are smaller than what is set here. */
async function limitMessages(bytesMax: number): Promise<void> {
  await rabbitmqctl('eval', `application:set_env(rabbit, max_message_size, ${bytesMax}).`)
}

/** The connection, and the channels that are acquired from it. */
function watched({ client }: AmqpConnection): { broker: AmqpConnection; channels: Channel[] } {
  const channels: Channel[] = []
  const acquire = async (options: object): Promise<Channel> => {
    const channel = await client.acquire(options)
    channels.push(channel)
    return channel
  }
  return { broker: { client: { acquire } } as unknown as AmqpConnection, channels }
}

describe('sidings in RabbitMQ', () => {
  test('a letter that no queue takes is refused, although the broker confirms it (G5)', async () => {
    const sidings = rabbitSidings(amqp.broker, systemClock)
    const channel = await amqp.broker.client.acquire()
    await channel.exchangeDeclare({ exchange: rungName('nobody', 5), type: 'fanout', durable: true })
    await channel.close()
    const nowhere = { group: 'nobody', queue: 'nobody.00.v2', delayMs: 5 }
    await expect(sidings.send(nowhere, letter('lost'))).rejects.toMatchObject({
      code: 'SIDING_UNAVAILABLE',
      message: expect.stringContaining('no queue took it') as string,
    })
    await expect(sidings.send({ ...nowhere, delayMs: 6 }, letter('lost'))).rejects.toMatchObject({
      code: 'SIDING_UNAVAILABLE',
    })
    await sidings.close()
    await sidings.close()
  })

  test.each([
    ['a rung', { group: 'again', queue: 'q', delayMs: 60_000 }, ['again.retry.1m'], []],
    [
      'a rung and its exchange',
      { group: 'again', queue: 'q', delayMs: 60_000 },
      ['again.retry.1m'],
      ['again.retry.1m'],
    ],
  ] as const)('a siding that was deleted is declared again (%s)', async (_, siding, queues, exchanges) => {
    const options = {
      group: 'again',
      types: ['#'],
      ordered: true,
      ladderMs: [60_000],
      partitions: 1,
      mirror: false,
    }
    await declareTopology(amqp.broker, groupTopology(options))
    const channel = await amqp.broker.client.acquire()
    for (const queue of queues) await channel.queueDelete(queue)
    for (const exchange of exchanges) await channel.exchangeDelete({ exchange })
    const sidings = rabbitSidings(amqp.broker, systemClock)
    await expect(sidings.send(siding, letter('first'))).rejects.toMatchObject({ code: 'SIDING_UNAVAILABLE' })
    await sidings.send(siding, letter('second'))
    for (const queue of queues)
      expect(await channel.basicGet({ queue, noAck: true })).toMatchObject({ messageId: 'second' })
    await channel.close()
    await sidings.close()
    await declareTopology(amqp.broker, groupTopology(options))
  })

  test('a full siding refuses (G5)', async () => {
    const channel = await amqp.broker.client.acquire()
    const name = rungName('full', 3_600_000)
    await channel.exchangeDeclare({ exchange: name, type: 'fanout', durable: true })
    await channel.queueDeclare({
      queue: name,
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish', 'x-max-length': 1 },
    })
    await channel.queueBind({ exchange: name, queue: name, routingKey: '' })
    await channel.close()
    const sidings = rabbitSidings(amqp.broker, systemClock)
    const send = (text: string): Promise<void> =>
      sidings.send({ group: 'full', queue: 'q', delayMs: 3_600_000 }, letter(text))
    // The limit is applied a moment after it was reached.
    const refused = vi.waitFor(() =>
      expect(send('one more')).rejects.toMatchObject({ code: 'SIDING_UNAVAILABLE' }),
    )
    await refused
    await expect(send('and another')).rejects.toThrow('is full')
    await sidings.close()
  })

  test('a letter that is too large for RabbitMQ disturbs others once, however often it is tried (G5)', async () => {
    const large = { group: 'large', queue: 'q', delayMs: 3_600_000 }
    await declareTopology(amqp.broker, sidingTopology(large))
    const { broker, channels } = watched(amqp.broker)
    await limitMessages(6_000_000)
    try {
      const sidings = rabbitSidings(broker, systemClock)
      const bad = letter('bad', {
        body: Buffer.alloc(7_000_000),
        barer: [{ properties: {}, headers: {} }],
      })
      const refusal = /large\.retry\.60m does not take a letter: .*message size 7000000/
      await expect(sidings.send(large, bad)).rejects.toThrow(refusal)
      await sidings.send(large, letter('good'))
      const ofOthers = channels.at(-1)
      for (let again = 0; again < 3; again++) {
        await expect(sidings.send(large, bad)).rejects.toThrow(refusal)
        await sidings.send(large, letter('good'))
      }
      expect(ofOthers?.active).toBe(true)
      expect(channels.filter(({ active }) => active)).toHaveLength(1)
      await sidings.close()
    } finally {
      await limitMessages(134_217_728)
    }
  })
})
