import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { partitionQueue, wire } from '../../src/contract/wire.ts'
import { scrape } from '../../dev/watch/scrape.ts'
import type { DevelopmentPki } from '../../certs/development.ts'
import type { Bench, Prepare, Product, Subject } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { cpuMicrosOf, memoryOf } from '../run/process.ts'
import { percentile } from '../run/statistics.ts'
import { runWorker } from '../run/worker.ts'
import { fleetOf, untilConnack } from '../subjects/device.ts'
import { startEdge } from '../subjects/edge.ts'
import { pace } from '../subjects/pace.ts'
import { startProbe } from '../subjects/probe.ts'
import { partitions, type Rabbit, startBenchRabbit } from '../subjects/servers.ts'
import type { PublisherTask } from '../workers/publisher.ts'
import { issueFleet } from './ingest.ts'
import { outboxWorker } from './outbox.ts'

const ways = [
  { name: 'single events', batch: { eventsMax: 1 }, share: 0.2 },
  { name: 'batches', batch: {}, share: 1 },
  { name: 'batches, deflated', batch: { compress: true }, share: 1 },
] as const

type Way = (typeof ways)[number]

/** New events have a type of their own, so that they can be watched as they arrive. */
const liveType = 'com.acme.live'
const livePerSecond = 200
const windowEvents = 1000
/** A process that has just started is not yet as fast as it will be. */
const warmUpEvents = 20_000

/** A backlog leaves `tidegate edge` for RabbitMQ's quorum queues while new events come in; every turn has the same backlog in a copy of its folder. */
export const prepareDrain: Prepare = async (bench: Bench) => {
  const events = bench.full ? 1_000_000 : 250_000
  const pki = await issueFleet(bench.dir)
  const rabbit = await startBenchRabbit(bench, { group: 'bench', bound: true })
  const { arrivals } = bench.scope.own(
    await startProbe(rabbit.url, { exchange: wire.exchange, routingKey: `*.${liveType}` }),
  )
  const subjects: Subject[] = []
  const bare = (): Promise<Sample> =>
    purge(rabbit).then(async () => (await runWorker<Sample>('publisher', bareTask(rabbit, events / 5))) ?? {})
  bench.say('  warming RabbitMQ up')
  await bare()
  subjects.push({ name: 'bare publishing', measure: bare })
  for (const [index, product] of bench.products.entries()) {
    const filled = join(bench.dir, `filled-${index}`)
    bench.say(`  filling an outbox with ${events.toLocaleString('en')} events`)
    await outboxWorker({
      work: 'fill',
      folder: filled,
      root: product.root,
      events: warmUpEvents + events,
      end: 'close',
    })
    for (const way of ways) {
      const dir = join(bench.dir, `edge-${index}`)
      const measure = async (): Promise<Sample> => {
        await purge(rabbit)
        rmSync(dir, { recursive: true, force: true })
        cpSync(filled, join(dir, 'data', 'outbox'), { recursive: true })
        return drain({ product, way, dir, pki, rabbit, events: events * way.share, arrivals })
      }
      subjects.push({ name: way.name, product, measure })
    }
  }
  return subjects
}

function bareTask(rabbit: Rabbit, events: number): PublisherTask {
  return { url: rabbit.subjectUrl, events, warmUpEvents, windowEvents, partitions, text: 'x'.repeat(560) }
}

async function purge({ connection }: Rabbit): Promise<void> {
  for (let partition = 0; partition < partitions; partition++)
    await connection.client.queuePurge({ queue: partitionQueue('bench', partition) })
}

interface Drain {
  product: Product
  way: Way
  dir: string
  pki: DevelopmentPki
  rabbit: Rabbit
  events: number
  arrivals: ReadonlyMap<number, number>
}

/** As the edge itself counts what was confirmed. */
async function drain({ product, way, dir, pki, rabbit, events, arrivals }: Drain): Promise<Sample> {
  const edge = await startEdge(product, {
    dir,
    pki,
    uplink: {
      url: rabbit.subjectUrl,
      partitions,
      windowEvents,
      batch: way.batch,
      backlog: { inOrderBelow: 0 },
    },
  })
  const stop = new AbortController()
  const sentAt = new Map<number, number>()
  try {
    await untilConnack(edge.mqttPort, fleetOf(pki))
    const pacing = pace(edge.mqttPort, fleetOf(pki), {
      perSecond: livePerSecond,
      signal: stop.signal,
      type: liveType,
      onSent: (number, atMs) => sentAt.set(number, atMs),
    })
    const forwarded = async (): Promise<number> =>
      (await scrape(`${edge.opsUrl}/metrics`, stop.signal))?.value('tidegate_edge_forwarded_total') ?? 0
    let begun: { events: number; ms: number; cpu: number } | undefined
    let now = await forwarded()
    while (now < warmUpEvents + events) {
      await Promise.race([delay(100), pacing])
      now = await forwarded()
      const here = { events: now, ms: performance.now(), cpu: cpuMicrosOf(edge.pid) }
      if (now >= warmUpEvents) begun ??= here
    }
    if (!begun || begun.events === now) throw new Error('it was over before it was looked at')
    const [ms, cpu] = [performance.now() - begun.ms, cpuMicrosOf(edge.pid) - begun.cpu]
    const { ownMemoryMiB } = memoryOf(edge.pid)
    const bytes = await rabbit.receivedBytes()
    const forwardedByNow = await forwarded()
    stop.abort()
    await pacing
    const latencies = await liveLatencies(sentAt, arrivals)
    return {
      eventsPerSecond: ((now - begun.events) / ms) * 1000,
      cpuMicros: cpu / (now - begun.events),
      wireBytes: bytes / forwardedByNow,
      ownMemoryMiB,
      brokerP50Ms: percentile(latencies, 0.5),
      brokerP99Ms: percentile(latencies, 0.99),
    }
  } finally {
    stop.abort()
    await edge.close()
  }
}

async function liveLatencies(
  sentAt: ReadonlyMap<number, number>,
  arrivals: ReadonlyMap<number, number>,
): Promise<number[]> {
  const latencies: number[] = []
  const giveUpMs = performance.now() + 10_000
  for (const [number, atMs] of sentAt) {
    while (!arrivals.has(number) && performance.now() < giveUpMs) await delay(5)
    latencies.push((arrivals.get(number) ?? Number.NaN) - atMs)
  }
  return latencies
}
