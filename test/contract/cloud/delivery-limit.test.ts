import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { exchangeTopology, groupTopology, type QueueSpec } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { imitateRabbit4, vhostOf } from '../../support/cloud/rabbitmq-4.ts'
import { connectTo } from '../../support/cloud/test-amqp.ts'
import { createVhost, rabbitmqctl } from '../../support/servers.ts'

/** Without order, because RabbitMQ lets nobody look into a queue that has a single active consumer. */
const group = groupTopology({
  mirror: true,
  group: 'g',
  types: ['#'],
  ordered: false,
  ladderMs: [300_000],
  partitions: 1,
})
const specs = [...exchangeTopology().queues, ...group.queues]
const names = specs.map(({ name }) => name)
const keeping = specs.filter(({ formerArguments }) => formerArguments !== undefined)

let url: string
beforeEach(async () => {
  url = await createVhost()
})

/** The way on which a message comes to a queue: undefined, by its name; null, none does. */
type By = { exchange: string; routingKey: string } | null

/** Puts one message into each, and looks at it `looks` times, putting it back each time. @returns what is left in each. */
async function lookAtEach(
  queues: readonly string[],
  looks: number,
  by?: By,
): Promise<Record<string, number>> {
  const broker = await connectTo(url)
  const publisher = broker.client.createPublisher({ confirm: true })
  const channel = await broker.client.acquire()
  const left: Record<string, number> = {}
  for (const queue of queues) {
    if (by !== null) await publisher.send({ routingKey: queue, ...by, durable: true }, Buffer.from('letter'))
    for (let look = 0; look < looks; look++) {
      const message = await channel.basicGet({ queue })
      if (message) channel.basicNack({ deliveryTag: message.deliveryTag, requeue: true })
    }
    left[queue] = (await channel.basicGet({ queue, noAck: true })) === undefined ? 0 : 1
  }
  await channel.close()
  await publisher.close()
  await broker.close()
  return left
}

async function declare(queues: readonly QueueSpec[]): Promise<void> {
  const broker = await connectTo(url)
  const { exchanges, bindings } = group
  const rungs = bindings.filter(({ exchange }) => exchanges.some(({ name }) => name === exchange))
  await declareTopology(broker, { exchanges, queues: [...queues], bindings: rungs })
  await broker.close()
}

const asOfFormerVersions = (): QueueSpec[] =>
  keeping.map(({ name, formerArguments }) => ({ name, arguments: formerArguments ?? {} }))
const each = (queues: readonly string[], count: number): Record<string, number> =>
  Object.fromEntries(queues.map((queue) => [queue, count]))

describe('with the delivery limit that RabbitMQ 4 has by itself', () => {
  test('a message stays in every queue of ours, though it was looked at 25 times (G5)', async () => {
    await declare(specs)
    expect(await imitateRabbit4(url)).toEqual([])
    expect(await lookAtEach(names, 25)).toEqual(each(names, 1))
  })

  test('it is gone from queues as former versions made them, and stays once the documented policy is laid over these (G5)', async () => {
    await declare(asOfFormerVersions())
    const all = keeping.map(({ name }) => name)
    const kept = ['tidegate.unroutable']
    expect((await imitateRabbit4(url)).toSorted()).toEqual(all.toSorted())
    expect(await lookAtEach(kept, 25)).toEqual(each(kept, 0))
    await documentedPolicy()
    expect(await lookAtEach(all, 25)).toEqual(each(all, 1))
  })

  test('a letter that was looked at on a rung of a former version comes home before its time, and is not lost (G5)', async () => {
    await declare([...asOfFormerVersions(), { name: 'home', arguments: { 'x-queue-type': 'quorum' } }])
    await imitateRabbit4(url)
    await lookAtEach(['g.retry.5m'], 25, { exchange: 'g.retry.5m', routingKey: 'home' })
    await vi.waitFor(async () => expect(await lookAtEach(['home'], 0, null)).toEqual({ home: 1 }))
  })
})

/** In the place of what imitates the default, as a policy is there. */
async function documentedPolicy(): Promise<void> {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/OPERATIONS.md'), 'utf8')
  const [, command = ''] = /^(rabbitmqctl set_policy --apply-to queues tidegate-kept .*)$/m.exec(page) ?? []
  const words = execFileSync('sh', ['-c', `for word in ${command}; do printf '%s\\n' "$word"; done`], {
    encoding: 'utf8',
  })
  const [, ...args] = words.trim().split('\n')
  await rabbitmqctl('clear_policy', '-p', vhostOf(url), 'rabbitmq-4')
  await rabbitmqctl(...args, '-p', vhostOf(url))
}
