import { beforeAll, expect, test, vi } from 'vitest'
import { groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { lookIntoQueues } from '../../../dev/evidence/search-rabbit.ts'
import { search } from '../../../dev/evidence/search.ts'
import type { Identity } from '../../../dev/watch/history.ts'
import { systemClock } from '../../../src/clock.ts'
import { mirrorQueue, partitionQueue, rungName, wire } from '../../../src/contract/wire.ts'
import { Ledger, postedTogether } from '../../support/cloud/cloud-events.ts'
import { useAmqp } from '../../support/cloud/test-amqp.ts'

const group = 'history'
const rungMs = 600_000
const places = {
  queue: partitionQueue(group, 1),
  rung: rungName(group, rungMs),
  'dead-letters': mirrorQueue(group),
  unroutable: wire.unroutable,
}
const queues = [partitionQueue(group, 0), ...Object.values(places), 'history.was-never-declared']

const amqp = useAmqp()
beforeAll(async () => {
  await declareTopology(
    amqp.broker,
    groupTopology({ mirror: true, group, types: ['#'], ordered: true, ladderMs: [rungMs], partitions: 2 }),
  )
})

const ledger = new Ledger()

/** Puts events into a queue, and what is no event in between. */
async function put(queue: string, count: number): Promise<Identity[]> {
  const publisher = amqp.broker.client.createPublisher({ confirm: true })
  const events = Array.from({ length: count }, () => ledger.next('sensor-001'))
  for (const [index, { text }] of events.entries()) {
    const message = { routingKey: queue, durable: true, contentType: wire.contentType }
    await publisher.send(message, Buffer.from(text))
    if (index === 1) await publisher.send({ ...message, contentType: 'text/plain' }, 'no event')
  }
  await publisher.close()
  return events.map(({ event: { source, id } }) => ({ source, id }))
}

/** Takes so many messages out of a queue, oldest first, as a consumer does. */
async function take(queue: string, count: number): Promise<string[]> {
  const channel = await amqp.broker.client.acquire()
  const texts: string[] = []
  await channel.basicConsume({ queue, noAck: true }, ({ body }) => {
    texts.push(Buffer.isBuffer(body) ? body.toString() : String(body))
  })
  await vi.waitFor(() => expect(texts).toHaveLength(count), 5000)
  await channel.close()
  return texts
}

async function countIn(queue: string): Promise<number> {
  return (await amqp.broker.client.queueDeclare({ queue, passive: true })).messageCount
}

const idOf = (text: string): string => (text === 'no event' ? text : (JSON.parse(text) as Identity).id)

function searchFor(missing: readonly Identity[], messagesMax?: number) {
  const options = {
    url: amqp.url,
    queues,
    groups: [group],
    clock: systemClock,
    ...(messagesMax && { messagesMax }),
  }
  return search(
    missing,
    {
      lookouts: [{ name: 'RabbitMQ', look: (see, signal) => lookIntoQueues(options, see, signal) }],
      absent: async (identities) => [...identities],
      clock: systemClock,
    },
    AbortSignal.timeout(30_000),
  )
}

test('events are found in the partition queue, on the rung, among the dead letters and in the unroutable ones, and lie there afterwards as before (G8)', async () => {
  const lying: [where: string, queue: string, events: Identity[]][] = []
  for (const [where, queue] of Object.entries(places)) lying.push([where, queue, await put(queue, 40)])
  const gone = { source: '/devices/sensor-001', id: 'gone' }

  const missing = [...lying.flatMap(([, , events]) => events), gone]
  const { located, looked, blind } = await searchFor(missing)
  expect(blind).toEqual([])
  expect(located.map(({ id, where }) => [id, where])).toEqual([
    ...lying.flatMap(([where, , events]) => events.map(({ id }) => [id, where])),
    ['gone', 'nowhere'],
  ])
  expect(looked).toEqual(
    expect.arrayContaining(lying.map(([, queue]) => ({ place: queue, holds: 41, looked: 41 }))),
  )
  for (const [, queue, events] of lying) {
    await vi.waitFor(async () => expect(await countIn(queue)).toBe(41), 5000)
    const ids = events.map(({ id }) => id)
    expect((await take(queue, 41)).map(idOf)).toEqual([...ids.slice(0, 2), 'no event', ...ids.slice(2)])
  }
})

test('of a queue that holds more than is looked at, the first are seen, all stay in order, and nothing is called lost', async () => {
  const queue = places.queue
  const events = await put(queue, 60)
  const { located, looked, blind } = await searchFor(events, 21)
  expect(located.map(({ where }) => where)).toEqual([
    ...Array.from({ length: 20 }, () => 'queue'),
    ...Array.from({ length: 40 }, () => 'not-found'),
  ])
  expect(looked.find(({ place }) => place === queue)).toMatchObject({ holds: 61, looked: 21 })
  expect(blind).toEqual([expect.stringContaining(`${queue} holds 61 messages, and only the first 21`)])
  const ids = events.map(({ id }) => id)
  expect((await take(queue, 61)).map(idOf)).toEqual([...ids.slice(0, 2), 'no event', ...ids.slice(2)])
})

test('the events of a batch are found in it, each by itself, compressed or not', async () => {
  const together = [ledger.next('sensor-001'), ledger.next('sensor-001'), ledger.next('sensor-001')] as const
  const publisher = amqp.broker.client.createPublisher({ confirm: true })
  for (const compress of [false, true]) {
    const { text, properties } = postedTogether([...together], 2, compress)
    await publisher.send({ routingKey: places.queue, durable: true, ...properties }, text)
  }
  await publisher.close()
  const { located } = await searchFor(together.map(({ event: { source, id } }) => ({ source, id })))
  expect(located.map(({ where }) => where)).toEqual(['queue', 'queue', 'queue'])
  await take(places.queue, 2)
})

test('what somebody else has been handed is not seen, and is not called lost', async () => {
  const events = await put(places.queue, 3)
  const channel = await amqp.broker.client.acquire()
  let handed = 0
  await channel.basicConsume({ queue: places.queue }, () => (handed += 1))
  await vi.waitFor(() => expect(handed).toBe(4), 5000)
  const { located, blind } = await searchFor(events)
  expect(located.map(({ where }) => where)).toEqual(['not-found', 'not-found', 'not-found'])
  expect(blind).toEqual([expect.stringContaining(`somebody consumes from ${places.queue}`)])
  await channel.close()
  await take(places.queue, 4)
})
