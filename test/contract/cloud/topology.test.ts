import { describe, expect, test, vi } from 'vitest'
import { exchangeTopology, groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology, refuseOrphanedPartitions } from '../../../cloud/amqp/topology-rabbit.ts'
import { wire } from '../../../src/contract/wire.ts'
import { connectTo, useAmqp } from '../../support/cloud/test-amqp.ts'
import { createVhost } from '../../support/servers.ts'

const partitions = 2
const rungMs = 300

const amqp = useAmqp()

describe('queues in RabbitMQ', () => {
  test('an event goes to every group that wants its type, and what nobody wants is kept (G5)', async () => {
    const fresh = await createVhost()
    const mine = await connectTo(fresh)
    await declareTopology(mine, exchangeTopology())
    const common = { mirror: true, ordered: true, ladderMs: [rungMs], partitions }
    await declareTopology(mine, groupTopology({ ...common, group: 'one', types: ['com.acme.*'] }))
    await declareTopology(
      mine,
      groupTopology({ ...common, group: 'two', types: ['com.acme.climate', 'com.#'] }),
    )
    const publisher = mine.client.createPublisher({ confirm: true })
    for (const key of ['01.com.acme.climate', '01.com.acme.climate.inside', '01.org.other']) {
      await publisher.send({ exchange: wire.exchange, routingKey: key, durable: true }, Buffer.from(key))
    }
    const channel = await mine.client.acquire()
    const count = async (queue: string): Promise<number> =>
      (await channel.queueDeclare({ queue, passive: true })).messageCount
    await vi.waitFor(async () => {
      expect(await count('one.01.v2')).toBe(1)
      expect(await count('two.01.v2')).toBe(2)
      expect(await count(wire.unroutable)).toBe(1)
    })
    await channel.close()
    await publisher.close()
    await mine.close()
  })

  test('what exists with other settings is named, with the difference', async () => {
    const options = { mirror: true, group: 'mismatch', types: ['#'], ladderMs: [rungMs], partitions: 1 }
    await declareTopology(amqp.broker, groupTopology({ ...options, ordered: true }))
    await declareTopology(amqp.broker, groupTopology({ ...options, ordered: true }))
    await expect(
      declareTopology(amqp.broker, groupTopology({ ...options, ordered: false })),
    ).rejects.toMatchObject({
      code: 'TOPOLOGY_MISMATCH',
      message: expect.stringContaining(
        'queue mismatch.00.v2 exists with other settings: x-single-active-consumer',
      ) as string,
    })
  })

  test('fewer partitions than were deployed are refused', async () => {
    const options = {
      mirror: true,
      group: 'shrunk',
      types: ['#'],
      ordered: true,
      ladderMs: [],
      partitions: 3,
    }
    await declareTopology(amqp.broker, groupTopology(options))
    await refuseOrphanedPartitions(amqp.broker, 'shrunk', 3)
    await expect(refuseOrphanedPartitions(amqp.broker, 'shrunk', 2)).rejects.toMatchObject({
      code: 'TOPOLOGY_PARTITIONS',
    })
  })

  test('a refused password and an unreachable broker are told apart, and no password is shown', async () => {
    const wrong = new URL(amqp.url)
    wrong.password = 'wrong-secret'
    await expect(connectTo(wrong.href)).rejects.toMatchObject({ code: 'BROKER_REFUSED', retryable: false })
    await expect(connectTo(wrong.href)).rejects.not.toThrow('wrong-secret')
    await expect(connectTo('amqp://127.0.0.1:1')).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      retryable: true,
    })
  })
})
