import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { Connection, type Consumer } from 'rabbitmq-client'
import { cloudConfigSchema } from '../cloud/config.ts'
import { runCloud } from '../cloud/main.ts'
import { exchangeTopology, groupTopology } from '../cloud/amqp/topology.ts'
import { connectAmqp } from '../cloud/amqp/connection-rabbit.ts'
import { declareTopology } from '../cloud/amqp/topology-rabbit.ts'
import { obtainPostgres, obtainRabbit } from '../dev/servers/obtain.ts'
import { systemClock } from '../src/clock.ts'
import { encodeEvent, genesis } from '../src/contract/codec.ts'
import { silentLog } from '../src/log.ts'
import { partitionOf, partitionQueue, routingKey, wire } from '../src/contract/wire.ts'
import { listOf, programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * How fast the cloud's history group consumes, against the bare client on the same queue type in the same run:
 *
 *     npm run bench:consume -- [--events 100000] [--devices 200] [--consumers history,rollups]
 *
 * On private servers, or on those of TIDEGATE_AMQP_URL and TIDEGATE_PG_URL if both are empty. Each event is published once and consumed twice: first by the bare
 * client, which acknowledges and forgets, then by `tidegate cloud`.
 */
const {
  events: total,
  devices,
  consumers,
} = programOf('npm run bench:consume --', 'how fast the cloud’s history group consumes')
  .option('--events <count>', 'events, each consumed twice', wholeNumber(), 100_000)
  .option('--devices <count>', 'devices they are of', wholeNumber(), 200)
  .option('--consumers <names>', 'what tidegate cloud runs', listOf(String), ['history'])
  .parse()
  .opts<{ events: number; devices: number; consumers: string[] }>()
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

const broker = await connectAmqp({ url, connectionName: 'bench', log: silentLog })
await declareTopology(broker, exchangeTopology())
const group = { types: ['#'], ordered: true, partitions }
await declareTopology(
  broker,
  groupTopology({ ...group, group: 'history', ladderMs: [5_000, 30_000, 300_000, 1_800_000] }),
)
await declareTopology(broker, groupTopology({ ...group, group: 'bare', ladderMs: [] }))

const publishedMs = await timed(publish)
console.log(
  `published ${total} events of ${eventBytes} bytes at ${rate(total, publishedMs)}/s (two groups' queues)`,
)

const bareMs = await timed(consumeBare)
console.log(`bare rabbitmq-client: ${rate(total, bareMs)}/s`)
const perSecond = await consumeHistory()
console.log(`tidegate cloud:       ${Math.round(perSecond).toLocaleString('en')}/s, committed to PostgreSQL`)
console.log(`ratio:                ${(perSecond / (total / (bareMs / 1000))).toFixed(2)}`)
await broker.close()
if (rabbit.how === 'private') await rabbit.server.close()
if (postgres.how === 'private') await postgres.server.close()
rmSync(dir, { recursive: true, force: true })

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}

async function publish(): Promise<void> {
  const channel = await broker.client.acquire()
  await channel.confirmSelect()
  let chain = genesis(gateway, epoch)
  let confirms: Promise<void>[] = []
  for (let sequence = 1; sequence <= total; sequence++) {
    const device = `device-${sequence % devices}`
    const event = makeEvent(device, sequence)
    const encoded = encodeEvent(event, chain)
    chain = encoded.chain
    eventBytes = encoded.text.length
    confirms.push(
      channel.basicPublish(
        {
          exchange: wire.exchange,
          routingKey: routingKey(partitionOf(device, partitions), event.type),
          durable: true,
          messageId: event.id,
          appId: gateway,
          contentType: wire.contentType,
        },
        Buffer.from(encoded.text),
      ),
    )
    if (confirms.length === 1000) {
      await Promise.all(confirms)
      confirms = []
    }
  }
  await Promise.all(confirms)
  await channel.close()
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

async function consumeHistory(): Promise<number> {
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
  let startedMs = 0
  let before = 0
  for (let stored = 0; stored < total;) {
    await systemClock.sleep(20)
    const { rows } = await client
      .query<{ stored: string }>('select coalesce(max(position), 0) as stored from tidegate.events')
      .catch(() => ({ rows: [] }))
    stored = Number(rows[0]?.stored ?? 0)
    // Declaring queues and making tables is not consuming.
    if (startedMs === 0 && stored > 0) {
      startedMs = performance.now()
      before = stored
    }
  }
  const perSecond = ((total - before) / (performance.now() - startedMs)) * 1000
  stop.abort()
  await running
  const { rows } = await client.query<{ count: string }>('select count(*) from tidegate.events')
  if (Number(rows[0]?.count) !== total)
    throw new Error(`${rows[0]?.count} events in history, ${total} published`)
  await client.end()
  return perSecond
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

function rate(count: number, tookMs: number): string {
  return Math.round((count / tookMs) * 1000).toLocaleString('en')
}
