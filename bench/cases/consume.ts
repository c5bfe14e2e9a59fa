import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import type { Envelope } from 'rabbitmq-client'
import { groupTopology } from '../../cloud/amqp/topology.ts'
import { declareTopology } from '../../cloud/amqp/topology-rabbit.ts'
import { freePort } from '../../dev/servers/ports.ts'
import { joinBatch } from '../../src/contract/batch.ts'
import { encodeEvent, genesis } from '../../src/contract/codec.ts'
import { partitionOf, partitionQueue, routingKey, wire } from '../../src/contract/wire.ts'
import type { Bench, Prepare, Product } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { cpuMicrosOf, memoryOf } from '../run/process.ts'
import { runWorker } from '../run/worker.ts'
import { startTidegate } from '../subjects/edge.ts'
import { partitions, type Rabbit, startBenchPostgres, startBenchRabbit } from '../subjects/servers.ts'
import type { ConsumerTask } from '../workers/consumer.ts'

const ways = [
  { name: 'single events', eventsMax: 1, compress: false },
  { name: 'batches', eventsMax: 100, compress: false },
  { name: 'batches, deflated', eventsMax: 100, compress: true },
]

const type = 'com.acme.climate'
/** A process that has just started is not yet as fast as it will be. */
const warmUpEvents = 10_000

const queues = Array.from({ length: partitions }, (_, partition) => partitionQueue('bare', partition))

/** The cloud's history group and nothing else, committed to PostgreSQL, against a bare client that acknowledges single events of the same queue type and forgets. */
export const prepareConsume: Prepare = async (bench: Bench) => {
  const events = bench.full ? 500_000 : 50_000
  const publisher = createPublisher(
    await startBenchRabbit(bench, { group: 'bare', bound: false }),
    warmUpEvents + events,
  )
  const { rabbit } = publisher
  // History is bound to the exchange by the cloud too, to the same queues: it finds them.
  await declareTopology(
    rabbit.connection,
    groupTopology({
      mirror: false,
      types: ['#'],
      ordered: true,
      partitions,
      group: 'history',
      ladderMs: [5_000, 30_000, 300_000, 1_800_000],
    }),
  )
  const databases = createDatabases(bench, await startBenchPostgres(bench))
  let clouds = 0
  return [
    {
      name: 'bare client',
      async measure() {
        await publisher.publish({ eventsMax: 1, compress: false }, (partition) => ({
          routingKey: partitionQueue('bare', partition),
        }))
        const task: ConsumerTask = { url: rabbit.subjectUrl, queues, warmUpEvents, events }
        return (await runWorker<Sample>('consumer', task)) ?? {}
      },
    },
    ...bench.products.flatMap((product) =>
      ways.map((way) => ({
        name: way.name,
        product,
        async measure() {
          await publisher.publish(way, (partition) => ({
            exchange: wire.exchange,
            routingKey: routingKey(partition, type),
          }))
          const dir = join(bench.dir, `cloud-${clouds++}`)
          return consume({ product, dir, rabbit, ...(await databases.of(product)), events })
        },
      })),
    ),
  ]
}

interface BenchDatabase {
  databaseUrl: string
  client: Client
}

/** One for each checkout, which may have steps of the schema that the other knows nothing of. */
function createDatabases(bench: Bench, serverUrl: string): { of(product: Product): Promise<BenchDatabase> } {
  const made = new Map<Product, Promise<BenchDatabase>>()
  async function make(name: string): Promise<BenchDatabase> {
    const server = new Client(serverUrl)
    await server.connect()
    await server.query(`create database ${name}`)
    await server.end()
    const url = new URL(serverUrl)
    url.pathname = `/${name}`
    const client = new Client(url.href)
    await client.connect()
    bench.scope.own({ close: () => client.end() })
    return { databaseUrl: url.href, client }
  }
  return {
    of(product) {
      const known = made.get(product) ?? make(`consume_${made.size}`)
      made.set(product, known)
      return known
    },
  }
}

interface Consume extends BenchDatabase {
  product: Product
  dir: string
  rabbit: Rabbit
  events: number
}

async function consume({ product, dir, rabbit, databaseUrl, client, events }: Consume): Promise<Sample> {
  const stored = async (): Promise<number> => {
    const { rows } = await client
      .query<{ stored: string }>('select coalesce(max(position), 0) as stored from tidegate.events')
      .catch(() => ({ rows: [] }))
    return Number(rows[0]?.stored ?? 0)
  }
  const from = await stored()
  mkdirSync(dir)
  const cloud = startTidegate(product, 'cloud', dir, {
    broker: { url: rabbit.subjectUrl },
    database: { url: databaseUrl },
    consumers: ['history'],
    ...withoutProjections(product),
    ops: { port: await freePort() },
    log: { level: 'error' },
  })
  try {
    let begun: { before: number; ms: number; cpu: number } | undefined
    const all = from + warmUpEvents + events
    for (let now = from; now < all; now = await stored()) {
      await delay(20)
      const here = { before: now, ms: performance.now(), cpu: cpuMicrosOf(cloud.pid) }
      if (now >= from + warmUpEvents) begun ??= here
    }
    if (!begun) throw new Error('it was over before it was looked at')
    const consumed = all - begun.before
    const sample = {
      eventsPerSecond: (consumed / (performance.now() - begun.ms)) * 1000,
      cpuMicros: (cpuMicrosOf(cloud.pid) - begun.cpu) / consumed,
      ownMemoryMiB: memoryOf(cloud.pid).ownMemoryMiB,
    }
    const { rows } = await client.query<{ count: string }>('select count(*) from tidegate.events')
    if (Number(rows[0]?.count) !== all)
      throw new Error(`${rows[0]?.count} events in history, ${all} published`)
    return sample
  } finally {
    await cloud.close()
  }
}

/** Whose checkout has projections runs one unless it is told not to; an older one ran its rollups as a consumer, and only where it was named. */
function withoutProjections({ root }: Product): { projections?: [] } {
  return existsSync(join(root, 'cloud/load-projections.ts')) ? { projections: [] } : {}
}

/** Publishes events of one ledger, a group of messages after the other. */
function createPublisher(rabbit: Rabbit, events: number) {
  const gateway = 'bench'
  const epoch = '01JGFJJZ00TESTTESTTESTTEST'
  let sequence = 0
  let chain = genesis(gateway, epoch)

  function nextText(device: string): string {
    const time = new Date().toISOString()
    const encoded = encodeEvent(
      {
        specversion: '1.0' as const,
        id: `${device}-${sequence}`,
        source: `/devices/${device}`,
        type,
        time,
        recordedtime: time,
        datacontenttype: 'application/json' as const,
        partitionkey: device,
        gateway,
        epoch,
        sequence,
        data: { temperature: 20 + (sequence % 100) / 10, humidity: 40 + (sequence % 50) },
      },
      chain,
    )
    chain = encoded.chain
    return encoded.text
  }

  async function publish(
    { eventsMax, compress }: { eventsMax: number; compress: boolean },
    address: (partition: number) => Envelope,
  ): Promise<void> {
    const channel = await rabbit.connection.client.acquire()
    await channel.confirmSelect()
    const waiting = Array.from({ length: partitions }, (): string[] => [])
    let confirms: Promise<void>[] = []
    const send = async (partition: number): Promise<void> => {
      const texts = waiting[partition]?.splice(0) ?? []
      const [first] = texts
      if (first === undefined) return
      const alone = texts.length === 1
      const contentType = alone ? wire.contentType : wire.batchContentType
      const envelope = {
        ...address(partition),
        durable: true,
        appId: gateway,
        userId: gateway,
        contentType,
        ...(!alone && compress && { contentEncoding: wire.deflate }),
      }
      confirms.push(channel.basicPublish(envelope, alone ? Buffer.from(first) : joinBatch(texts, compress)))
      if (confirms.length < 1000) return
      await Promise.all(confirms)
      confirms = []
    }
    for (let count = 0; count < events; count++) {
      sequence += 1
      const device = `device-${sequence % 200}`
      const partition = partitionOf(device, partitions)
      if (waiting[partition]?.push(nextText(device)) === eventsMax) await send(partition)
    }
    for (let partition = 0; partition < partitions; partition++) await send(partition)
    await Promise.all(confirms)
    await channel.close()
  }
  return { rabbit, publish }
}
