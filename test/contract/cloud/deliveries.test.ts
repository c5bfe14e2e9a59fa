import { afterEach, describe, expect, test, vi } from 'vitest'
import { type AmqpConnection, connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { rabbitDeliveries } from '../../../cloud/amqp/deliveries-rabbit.ts'
import type { Deliveries, Delivery, Siding, Sidings } from '../../../cloud/amqp/delivery.ts'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import { groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { headers, partitionName, partitionQueue, wire } from '../../../src/contract/wire.ts'
import { createFakeBroker } from '../../support/fakes/deliveries.ts'
import { imitateRabbit4 } from '../../support/cloud/rabbitmq-4.ts'
import { letter, useAmqp } from '../../support/cloud/test-amqp.ts'
import { rabbitmqctl } from '../../support/servers.ts'

const partitions = 2
const prefetch = 50
const rungMs = 300

/** What the suite needs of a broker, whichever it is. */
interface Desk {
  publish(partition: number, texts: string[]): Promise<void>
  connect(): Promise<Deliveries>
  sidings: Sidings
  close(): Promise<void>
}

const amqp = useAmqp()
let groups = 0

function fakeDesk(): Promise<Desk> {
  const fake = createFakeBroker({ group: 'fake', partitions, prefetch, clock: systemClock })
  return Promise.resolve({
    async publish(partition, texts) {
      for (const text of texts) fake.post({ text, partition, routingKey: `${partitionName(partition)}.t.t` })
    },
    connect: async () => fake.connect(),
    sidings: fake.sidings,
    close: async () => {},
  })
}

async function rabbitDesk(): Promise<Desk> {
  const group = `g${groups++}`
  const topology = groupTopology({
    group,
    types: ['#'],
    ordered: true,
    ladderMs: [rungMs],
    partitions,
    mirror: true,
  })
  await declareTopology(amqp.broker, topology)
  const publisher = amqp.broker.client.createPublisher({ confirm: true })
  const brokers: AmqpConnection[] = []
  return {
    async publish(partition, texts) {
      for (const text of texts) {
        const queue = partitionQueue(group, partition)
        await publisher.send(
          { routingKey: queue, durable: true, contentType: wire.contentType },
          Buffer.from(text),
        )
      }
    },
    async connect() {
      const mine = await connectAmqp({ url: amqp.url, connectionName: `test ${group}`, log: silentLog })
      brokers.push(mine)
      return rabbitDeliveries({
        connection: mine,
        group,
        partitions,
        prefetch,
        declare: () => declareTopology(amqp.broker, topology),
        clock: systemClock,
        random: Math.random,
        log: silentLog,
      })
    },
    sidings: renamed(rabbitSidings(amqp.broker, systemClock), group),
    async close() {
      await publisher.close()
      for (const mine of brokers) await mine.close()
    },
  }
}

async function rabbit4Desk(): Promise<Desk> {
  const desk = await rabbitDesk()
  await imitateRabbit4(amqp.url)
  return desk
}

/** The suite speaks of the group `fake`. */
function renamed(sidings: Sidings, group: string): Sidings {
  return {
    send(siding, letter) {
      const queue = siding.queue.replace(/^fake/, group)
      return sidings.send({ ...siding, group, queue }, letter)
    },
    close: () => sidings.close(),
  }
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `message ${index}`)
const retry: Siding = { group: 'fake', queue: 'fake.01.v2', delayMs: rungMs }
const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 10, timeout: 10_000 })

/** One suite, whatever stands behind the ports. */
describe.each([
  ['fake', fakeDesk],
  ['rabbit', rabbitDesk],
  ['rabbit, with the delivery limit that RabbitMQ 4 has by itself', rabbit4Desk],
] as const)('deliveries and sidings (%s)', (_, open) => {
  let desk: Desk
  const opened: Deliveries[] = []
  afterEach(async () => {
    for (const deliveries of opened.splice(0)) await deliveries.close()
    await desk.close()
  })

  async function consume(onDelivery?: (delivery: Delivery) => void): Promise<{
    deliveries: Deliveries
    seen: Delivery[]
    texts(): string[]
  }> {
    const deliveries = await desk.connect()
    opened.push(deliveries)
    const seen: Delivery[] = []
    deliveries.start((delivery) => {
      seen.push(delivery)
      onDelivery?.(delivery)
    })
    await vi.waitFor(() => expect(deliveries.subscribed).toBe(true), { interval: 10, timeout: 5000 })
    return { deliveries, seen, texts: () => seen.map((delivery) => delivery.text.toString()) }
  }

  test('a partition is delivered in order, up to the prefetch, and what is acknowledged is gone', async () => {
    desk = await open()
    await desk.publish(1, numbered(60))
    const first = await consume()
    await until(() => expect(first.seen).toHaveLength(50))
    expect(first.texts()).toEqual(numbered(50))
    expect(first.deliveries.active()).toEqual([1])
    expect(first.seen[0]).toMatchObject({ partition: 1, attempt: 1, redelivered: false, lost: false })
    for (const delivery of first.seen.slice(0, 40)) delivery.ack()
    await until(() => expect(first.seen).toHaveLength(60))
    await first.deliveries.close()
    const second = await consume()
    await until(() => expect(second.seen).toHaveLength(20))
    expect(second.texts()).toEqual(numbered(60).slice(40))
    expect(second.seen[0]?.redelivered).toBe(true)
  })

  test('acknowledging out of order loses nothing and repeats nothing', async () => {
    desk = await open()
    await desk.publish(0, numbered(10))
    const first = await consume()
    await until(() => expect(first.seen).toHaveLength(10))
    for (const index of [9, 1, 0, 5, 2]) first.seen[index]?.ack()
    await first.deliveries.close()
    const second = await consume()
    await until(() => expect(second.seen.length).toBeGreaterThanOrEqual(5))
    expect(second.texts()).toEqual(expect.arrayContaining(['message 3', 'message 4', 'message 6']))
    expect(second.texts()).not.toContain('message 0')
  })

  test('one consumer at a time has a partition, and when it steps back the next in line goes on from there (G6)', async () => {
    desk = await open()
    const first = await consume((delivery) => {
      if (delivery.text.toString() !== 'message 1') delivery.ack()
    })
    const second = await consume()
    await desk.publish(1, numbered(3))
    await until(() => expect(first.seen).toHaveLength(3))
    expect(second.seen).toHaveLength(0)
    first.deliveries.stepBack(1)
    await until(() => expect(second.texts()).toContain('message 1'))
    expect(first.seen[1]?.lost).toBe(true)
    first.seen[1]?.ack()
    await desk.publish(1, ['message 3'])
    await until(() => expect(second.texts()).toContain('message 3'))
    expect(first.seen).toHaveLength(3)
  })

  test('what is paused gives back what it has and gets nothing more; what waited comes when it goes on, in order (G6)', async () => {
    desk = await open()
    const { deliveries, seen } = await consume(() => {})
    await desk.publish(1, numbered(3))
    await until(() => expect(seen).toHaveLength(3))
    deliveries.pause()
    expect(seen.map(({ lost }) => lost)).toEqual([true, true, true])
    await desk.publish(1, ['message 3'])
    deliveries.resume()
    deliveries.pause()
    deliveries.resume()
    await until(() => expect(seen.length).toBeGreaterThanOrEqual(7))
    const again = seen.filter(({ lost }) => !lost)
    expect(again.map(({ text }) => text.toString())).toEqual([...numbered(3), 'message 3'])
    expect(again.map(({ redelivered }) => redelivered)).toEqual([true, true, true, expect.any(Boolean)])
  })

  test('what is paused before it begins gets nothing until it goes on', async () => {
    desk = await open()
    const first = await consume((delivery) => delivery.ack())
    first.deliveries.pause()
    await desk.publish(1, ['waits'])
    const second = await consume((delivery) => delivery.ack())
    await until(() => expect(second.texts()).toEqual(['waits']))
    expect(first.seen).toEqual([])
  })

  test('a letter on a rung comes back to its own queue after the delay, with what was written on it', async () => {
    desk = await open()
    const { seen } = await consume((delivery) => delivery.ack())
    const startedMs = performance.now()
    await desk.sidings.send(retry, letter('again', { headers: { [headers.attempt]: 4, other: 'kept' } }))
    await until(() => expect(seen).toHaveLength(1))
    const tookMs = performance.now() - startedMs
    expect(tookMs).toBeGreaterThan(rungMs - 20)
    expect(tookMs).toBeLessThan(rungMs + 1500)
    expect(seen[0]).toMatchObject({ partition: 1, attempt: 4, properties: { messageId: 'again' } })
    expect(seen[0]?.headers).toMatchObject({ other: 'kept' })
    expect(seen[0]?.text.toString()).toBe('again')
  })

  test('a delivery that 25 instances died with is delivered to the next (G5)', async () => {
    desk = await open()
    await desk.publish(0, ['hard'])
    for (let instances = 0; instances < 25; instances++) {
      const { deliveries, seen } = await consume()
      await until(() => expect(seen).toHaveLength(1))
      await deliveries.close()
    }
    const last = await consume()
    await until(() => expect(last.texts()).toEqual(['hard']))
  })

  test('nothing is delivered after stop, and close is idempotent', async () => {
    desk = await open()
    const { deliveries, seen } = await consume()
    deliveries.stop()
    await desk.publish(0, ['late'])
    await deliveries.close()
    await deliveries.close()
    expect(seen).toHaveLength(0)
    const next = await consume()
    await until(() => expect(next.texts()).toEqual(['late']))
  })
})

describe('RabbitMQ', () => {
  test('a consumer comes back after the broker has dropped its connections, and nothing is lost', async () => {
    const desk = await rabbitDesk()
    const deliveries = await desk.connect()
    const seen: Delivery[] = []
    deliveries.start((delivery) => seen.push(delivery))
    await desk.publish(0, numbered(5))
    await vi.waitFor(() => expect(seen).toHaveLength(5), { timeout: 5000 })
    const mine = `test g${groups - 1}`
    const listed = await rabbitmqctl('-q', 'list_connections', 'pid', 'client_properties')
    const pids = listed
      .split('\n')
      .filter((line) => line.includes(`"${mine}"`))
      .map((line) => line.split('\t')[0])
    expect(pids).toHaveLength(1)
    await rabbitmqctl('close_connection', String(pids[0]), 'test')
    await vi.waitFor(() => expect(seen).toHaveLength(10), { timeout: 15_000 })
    expect(seen[0]?.lost).toBe(true)
    expect(seen[5]).toMatchObject({ redelivered: true, lost: false })
    await deliveries.close()
    await desk.close()
  })

  test('a queue that was deleted is declared again', async () => {
    const desk = await rabbitDesk()
    const deliveries = await desk.connect()
    const seen: Delivery[] = []
    deliveries.start((delivery) => seen.push(delivery))
    await vi.waitFor(() => expect(deliveries.subscribed).toBe(true))
    const channel = await amqp.broker.client.acquire()
    await channel.queueDelete(partitionQueue(`g${groups - 1}`, 0))
    await channel.close()
    await vi.waitFor(() => expect(deliveries.subscribed).toBe(false))
    await vi.waitFor(() => expect(deliveries.subscribed).toBe(true), { timeout: 10_000 })
    await desk.publish(0, ['after'])
    await vi.waitFor(() => expect(seen).toHaveLength(1))
    await deliveries.close()
    await desk.close()
  })
})
