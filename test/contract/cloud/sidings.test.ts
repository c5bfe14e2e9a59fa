import { describe, expect, test, vi } from 'vitest'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import { groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { deadQueue } from '../../../src/contract/wire.ts'
import { letter, useAmqp } from '../../support/cloud/test-amqp.ts'

const amqp = useAmqp()

describe('sidings in RabbitMQ', () => {
  test('a letter that no queue takes is refused, although the broker confirms it (G5)', async () => {
    const sidings = rabbitSidings(amqp.broker, systemClock)
    await expect(sidings.send({ kind: 'dead', group: 'nobody' }, letter('lost'))).rejects.toMatchObject({
      code: 'SIDING_UNAVAILABLE',
      message: expect.stringContaining('no queue took it') as string,
    })
    await expect(
      sidings.send({ kind: 'retry', group: 'nobody', queue: 'nobody.00.v2', delayMs: 5 }, letter('lost')),
    ).rejects.toMatchObject({ code: 'SIDING_UNAVAILABLE' })
    await sidings.close()
    await sidings.close()
  })

  test.each([
    ['dead letters', { kind: 'dead', group: 'again' }, ['again.dead'], []],
    ['a rung', { kind: 'retry', group: 'again', queue: 'q', delayMs: 60_000 }, ['again.retry.1m'], []],
    [
      'a rung and its exchange',
      { kind: 'retry', group: 'again', queue: 'q', delayMs: 60_000 },
      ['again.retry.1m'],
      ['again.retry.1m'],
    ],
  ] as const)('a siding that was deleted is declared again (%s)', async (_, siding, queues, exchanges) => {
    const options = { group: 'again', types: ['#'], ordered: true, ladderMs: [60_000], partitions: 1 }
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
    await channel.queueDeclare({
      queue: deadQueue('full'),
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish', 'x-max-length': 1 },
    })
    await channel.close()
    const sidings = rabbitSidings(amqp.broker, systemClock)
    const send = (text: string): Promise<void> => sidings.send({ kind: 'dead', group: 'full' }, letter(text))
    // The limit is applied a moment after it was reached.
    const refused = vi.waitFor(() =>
      expect(send('one more')).rejects.toMatchObject({ code: 'SIDING_UNAVAILABLE' }),
    )
    await refused
    await expect(send('and another')).rejects.toThrow('is full')
    await sidings.close()
  })
})
