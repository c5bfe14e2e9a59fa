import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { Connection, type Consumer, type Envelope } from 'rabbitmq-client'
import { cloudConfigSchema } from '../cloud/config.ts'
import { runCloud } from '../cloud/main.ts'
import { exchangeTopology, groupTopology } from '../cloud/amqp/topology.ts'
import { connectAmqp } from '../cloud/amqp/connection-rabbit.ts'
import { declareTopology } from '../cloud/amqp/topology-rabbit.ts'
import { obtainPostgres, obtainRabbit } from '../dev/servers/obtain.ts'
import { systemClock } from '../src/clock.ts'
import { joinBatch } from '../src/contract/batch.ts'
import { encodeEvent, genesis } from '../src/contract/codec.ts'
import { silentLog } from '../src/log.ts'
import { partitionOf, partitionQueue, routingKey, wire } from '../src/contract/wire.ts'
import { listOf, programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * How fast the cloud's history group consumes single events, batches and compressed batches, against the bare client that consumes
 * single events from the same queue type in the same run:
 *
 *     npm run bench:consume -- [--events 100000] [--devices 200] [--batch 100] [--consumers history,rollups]
 *
 * On private servers, or on those of TIDEGATE_AMQP_URL and TIDEGATE_PG_URL if both are empty. The bare client acknowledges and
 * forgets; `tidegate cloud` has so many events for each of the three ways.
 */
const {
  events: total,
  devices,
  batch,
  consumers,
} = programOf('npm run bench:consume --', 'how fast the cloud’s history group consumes')
  .option('--events <count>', 'events of each way', wholeNumber(), 100_000)
  .option('--devices <count>', 'devices they are of', wholeNumber(), 200)
  .option('--batch <count>', 'events of a batch', wholeNumber(), 100)
  .option('--consumers <names>', 'what tidegate cloud runs', listOf(String), ['history'])
  .parse()
  .opts<{ events: number; devices: number; batch: number; consumers: string[] }>()
const dir = mkdtempSync(join(tmpdir(), 'tidegate-bench-'))
chmodSync(dir, 0o711)
const say = (line: string): void => console.log(line)
const user = { name: 'bench', password: 'bench', permissions: { configure: '.*', write: '.*', read: '.*' } }
const [rabbit, postgres] = await Promise.all([
  obtainRabbit({ dir: join(dir, 'rabbit'), users: [user], env: process.env, say }),
  obtainPostgres({ dir: join(dir, 'postgres'), env: process.env, say }),
])
const url = rabbit.how === 'given' ? rabbit.url : rabbit.server.urlFor(user.name)
const databaseUrl = postgres.how === 'given' ? postgres.url : postgres.server.url
const partitions = 16
const gateway = 'bench'
const epoch = '01JGFJJZ00TESTTESTTESTTEST'
let eventBytes = 0
let sequence = 0
let chain = genesis(gateway, epoch)

/** How events come. */
const ways = [
  { name: 'single events', eventsMax: 1, compress: false },
  { name: 'batches', eventsMax: batch, compress: false },
  { name: 'batches, deflated', eventsMax: batch, compress: true },
]

const broker = await connectAmqp({ url, connectionName: 'bench', log: silentLog })
await declareTopology(broker, exchangeTopology())
const group = { types: ['#'], ordered: true, partitions }
await declareTopology(
  broker,
  groupTopology({ ...group, group: 'history', ladderMs: [5_000, 30_000, 300_000, 1_800_000] }),
)
await declareTopology(broker, groupTopology({ ...group, group: 'bare', ladderMs: [] }))

await publish({ eventsMax: 1, compress: false }, (partition) => ({
  routingKey: partitionQueue('bare', partition),
}))
const bareMs = await timed(consumeBare)
const barePerSecond = (total / bareMs) * 1000
console.log(`${total} events of ${eventBytes} bytes each`)
console.log(`bare rabbitmq-client, single events: ${rounded(barePerSecond)}/s`)
for (const way of ways) {
  const messages = await publish(way, (partition) => ({
    exchange: wire.exchange,
    routingKey: routingKey(partition, 'com.acme.climate'),
  }))
  const { perSecond, cpuMicros } = await consumeHistory()
  console.log(
    `tidegate cloud, ${way.name}: ${rounded(perSecond)}/s, committed to PostgreSQL; ratio ${(perSecond / barePerSecond).toFixed(2)}, ${cpuMicros.toFixed(1)} µs CPU an event, in ${rounded(messages)} messages`,
  )
}
await broker.close()
if (rabbit.how === 'private') await rabbit.server.close()
if (postgres.how === 'private') await postgres.server.close()
rmSync(dir, { recursive: true, force: true })

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}

/** So many events in messages of one partition, one after the other; returns how many those were. */
async function publish(
  { eventsMax, compress }: { eventsMax: number; compress: boolean },
  address: (partition: number) => Envelope,
): Promise<number> {
  const channel = await broker.client.acquire()
  await channel.confirmSelect()
  const waiting = Array.from({ length: partitions }, (): string[] => [])
  let confirms: Promise<void>[] = []
  let messages = 0
  const send = async (partition: number): Promise<void> => {
    const texts = waiting[partition]?.splice(0) ?? []
    const [first] = texts
    if (first === undefined) return
    const alone = texts.length === 1
    const contentType = alone ? wire.contentType : wire.batchContentType
    const envelope = { ...address(partition), durable: true, appId: gateway, contentType }
    messages += 1
    confirms.push(
      alone
        ? channel.basicPublish(envelope, Buffer.from(first))
        : channel.basicPublish(
            { ...envelope, ...(compress && { contentEncoding: wire.deflate }) },
            joinBatch(texts, compress),
          ),
    )
    if (confirms.length < 1000) return
    await Promise.all(confirms)
    confirms = []
  }
  for (let count = 0; count < total; count++) {
    sequence += 1
    const device = `device-${sequence % devices}`
    const encoded = encodeEvent(makeEvent(device, sequence), chain)
    chain = encoded.chain
    eventBytes = encoded.text.length
    const partition = partitionOf(device, partitions)
    const texts = waiting[partition] ?? []
    if (texts.push(encoded.text) === eventsMax) await send(partition)
  }
  for (let partition = 0; partition < partitions; partition++) await send(partition)
  await Promise.all(confirms)
  await channel.close()
  return messages
}

async function consumeBare(): Promise<void> {
  const connection = new Connection({ url, frameMax: 131_072 })
  const consumers: Consumer[] = []
  await new Promise<void>((resolve) => {
    let seen = 0
    for (let partition = 0; partition < partitions; partition++) {
      const queue = partitionQueue('bare', partition)
      const props = { queue, queueOptions: { passive: true }, qos: { prefetchCount: 400 } }
      consumers.push(
        connection.createConsumer(props, () => {
          if (++seen === total) resolve()
        }),
      )
    }
  })
  await Promise.all(consumers.map((consumer) => consumer.close()))
  await connection.close()
}

async function consumeHistory(): Promise<{ perSecond: number; cpuMicros: number }> {
  const stop = new AbortController()
  const running = runCloud(
    cloudConfigSchema.parse({
      broker: { url },
      database: { url: databaseUrl },
      consumers,
      ops: { port: 0 },
    }),
    { clock: systemClock, random: Math.random, log: silentLog, signal: stop.signal },
  )
  running.catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
  const client = new Client(databaseUrl)
  await client.connect()
  const stored = async (): Promise<number> => {
    const { rows } = await client
      .query<{ stored: string }>('select coalesce(max(position), 0) as stored from tidegate.events')
      .catch(() => ({ rows: [] }))
    return Number(rows[0]?.stored ?? 0)
  }
  const from = await stored()
  let begun: { before: number; ms: number; cpu: NodeJS.CpuUsage } | undefined
  for (let now = from; now < from + total; now = await stored()) {
    await systemClock.sleep(20)
    // Declaring queues and making tables is not consuming.
    if (now > from) begun ??= { before: now, ms: performance.now(), cpu: process.cpuUsage() }
  }
  const { before, ms, cpu } = begun ?? { before: from, ms: performance.now(), cpu: process.cpuUsage() }
  const consumed = from + total - before
  const perSecond = (consumed / (performance.now() - ms)) * 1000
  const { user, system } = process.cpuUsage(cpu)
  stop.abort()
  await running
  const { rows } = await client.query<{ count: string }>('select count(*) from tidegate.events')
  if (Number(rows[0]?.count) !== from + total)
    throw new Error(`${rows[0]?.count} events in history, ${from + total} published`)
  await client.end()
  return { perSecond, cpuMicros: (user + system) / consumed }
}

function makeEvent(device: string, sequence: number) {
  const time = new Date().toISOString()
  return {
    specversion: '1.0' as const,
    id: `${device}-${sequence}`,
    source: `/devices/${device}`,
    type: 'com.acme.climate',
    time,
    recordedtime: time,
    datacontenttype: 'application/json' as const,
    partitionkey: device,
    gateway,
    epoch,
    sequence,
    data: { temperature: 20 + (sequence % 100) / 10, humidity: 40 + (sequence % 50) },
  }
}

function rounded(count: number): string {
  return Math.round(count).toLocaleString('en')
}
