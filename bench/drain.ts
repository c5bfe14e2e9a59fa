import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { connectAmqp } from '../cloud/amqp/connection-rabbit.ts'
import { exchangeTopology, groupTopology } from '../cloud/amqp/topology.ts'
import { declareTopology } from '../cloud/amqp/topology-rabbit.ts'
import { createLatencies, type Latencies } from '../dev/fleet/latencies.ts'
import { obtainRabbit } from '../dev/servers/obtain.ts'
import { rabbitExchange } from '../edge/uplink/exchange-rabbit.ts'
import { forward } from '../edge/uplink/forwarder.ts'
import { silentForwarderObserver } from '../edge/uplink/observer.ts'
import type { Outbox } from '../edge/outbox/outbox.ts'
import { systemClock } from '../src/clock.ts'
import { silentLog } from '../src/log.ts'
import { partitionOf, partitionQueue, routingKey, wire } from '../src/contract/wire.ts'
import { fill, inFolder, open, reading, rssMb } from './outbox-load.ts'
import { printTable } from './table.ts'
import { programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * Draining a backlog through the real forwarder into RabbitMQ while new events come in, as single events, as batches and as compressed
 * batches, against bare confirmed publishing of the same events, which are in memory already, one by one to the same quorum
 * queues: in turns, so that whatever else the machine does hits all alike.
 */
const {
  events,
  rate: newPerSecond,
  window: windowEvents,
  rounds,
  batch: eventsMax,
  bytes: bytesMax,
} = programOf('npm run bench:drain --', 'draining a backlog while new events come in')
  .option('--events <count>', 'events of the backlog', wholeNumber(), 1_000_000)
  .option('--rate <count>', 'new events per second', wholeNumber(), 200)
  .option('--window <count>', 'events on their way at once', wholeNumber(), 1000)
  .option('--rounds <count>', 'turns the backlog is drained in', wholeNumber(), 10)
  .option('--batch <count>', 'events of a batch, at the most', wholeNumber(), 100)
  .option('--bytes <count>', 'bytes of a batch, at the most', wholeNumber(), 65_536)
  .parse()
  .opts<{ events: number; rate: number; window: number; rounds: number; batch: number; bytes: number }>()
/** How the backlog leaves; each has a part of every turn. */
const ways = [
  { name: 'single events', eventsMax: 1, bytesMax, compress: false },
  { name: 'batches', eventsMax, bytesMax, compress: false },
  { name: 'batches, deflated', eventsMax, bytesMax, compress: true },
] as const

type Way = (typeof ways)[number]

interface Spent {
  ms: number
  cpuMs: number
  bytes: number
}

const roundEvents = Math.floor(events / rounds / ways.length)
const partitions = 16
const type = 'com.acme.climate'

/** Of all that is connected to: what has been written since. */
const sockets = new Set<Socket>()
subscribe('net.client.socket', (message) => sockets.add((message as { socket: Socket }).socket))

function written(): number {
  return [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0)
}

function begin(): () => Spent {
  const [startedMs, cpu, bytes] = [performance.now(), process.cpuUsage(), written()]
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return { ms: performance.now() - startedMs, cpuMs: (user + system) / 1000, bytes: written() - bytes }
  }
}

function total(spent: readonly Spent[], what: keyof Spent): number {
  return spent.reduce((sum, one) => sum + one[what], 0)
}

async function main(folder: string): Promise<void> {
  const user = { name: 'bench', password: 'bench', permissions: { configure: '.*', write: '.*', read: '.*' } }
  const obtained = await obtainRabbit({
    dir: join(folder, 'rabbit'),
    users: [user],
    env: process.env,
    say: (line) => console.log(line),
  })
  const url = obtained.how === 'given' ? obtained.url : obtained.server.urlFor(user.name)
  const broker = await connectAmqp({ url, connectionName: 'bench', log: silentLog })
  await declareTopology(broker, exchangeTopology())
  await declareTopology(
    broker,
    groupTopology({ types: ['#'], ordered: true, partitions, group: 'bench', ladderMs: [] }),
  )
  const purge = async (): Promise<void> => {
    for (let partition = 0; partition < partitions; partition++)
      await broker.client.queuePurge({ queue: partitionQueue('bench', partition) })
  }
  const outbox = await open(join(folder, 'outbox'), { lanes: { inOrderBelow: 0 } })
  console.log(`filling the outbox with ${events} events`)
  // A turn ends with some more proven than it counts.
  await fill(outbox, events + rounds * ways.length * 2 * windowEvents)
  const sample = (await outbox.take(1))[0]?.text ?? ''
  outbox.rewind()

  const channel = await broker.client.acquire()
  await channel.confirmSelect()
  const bare = async (): Promise<Spent> => {
    const body = Buffer.from(sample)
    const spent = begin()
    let next = 0
    const run = async (): Promise<void> => {
      while (next < roundEvents) {
        const number = next++
        const envelope = {
          exchange: wire.exchange,
          routingKey: routingKey(partitionOf(`bench-${number % 100}`, partitions), type),
          mandatory: true,
          durable: true,
          messageId: String(number).padStart(36, '0'),
          appId: 'bench',
          type,
          contentType: wire.contentType,
          timestamp: 1_790_000_000,
        }
        await channel.basicPublish(envelope, body)
      }
    }
    await Promise.all(Array.from({ length: windowEvents }, run))
    return spent()
  }

  // The first round warms RabbitMQ up and does not count.
  await bare()
  const bareSpent: Spent[] = []
  const spentOn = new Map<Way, Spent[]>(ways.map((way) => [way, []]))
  const latencies = createLatencies()
  for (let round = 0; round < rounds; round++) {
    await purge()
    bareSpent.push(await bare())
    for (const [way, spent] of spentOn) {
      await purge()
      spent.push(await drain(outbox, url, way, latencies))
    }
  }
  const perSecond = (spent: Spent[]): number => (roundEvents * rounds * 1000) / total(spent, 'ms')
  const best = (spent: Spent[]): number => (roundEvents * 1000) / Math.min(...spent.map(({ ms }) => ms))
  const row = (name: string, spent: Spent[]): (string | number)[] => [
    name,
    perSecond(spent),
    perSecond(spent) / perSecond(bareSpent),
    best(spent) / best(bareSpent),
    (total(spent, 'cpuMs') * 1000) / (roundEvents * rounds),
    total(spent, 'bytes') / (roundEvents * rounds),
  ]
  printTable(
    `Drain of ${events} events of ${sample.length} bytes in ${rounds} turns, window ${windowEvents}, batches of at most ${eventsMax} events and ${bytesMax} bytes`,
    [
      ['', 'events/s', 'ratio', 'best turns', 'CPU µs/event', 'bytes/event'],
      row('bare confirmed publishing', bareSpent),
      ...[...spentOn].map(([{ name }, spent]) => row(`forwarder, ${name}`, spent)),
    ],
  )
  const { count, p50, p99, max } = latencies.summary()
  printTable(`New events, ${newPerSecond}/s, from append to proof while the backlog drained`, [
    ['count', 'p50 ms', 'p99 ms', 'max ms', 'memory MB'],
    [String(count), p50, p99, max, rssMb()],
  ])
  await channel.close()
  await broker.close()
  await outbox.close()
  if (obtained.how === 'private') await obtained.server.close()
}

/** Drains one turn's events, measured from the first proof on. */
async function drain(outbox: Outbox, url: string, way: Way, latencies: Latencies): Promise<Spent> {
  const stop = new AbortController()
  const submittedAtMs = new Map<string, number>()
  let left = roundEvents
  let measured: (() => Spent) | undefined
  let done!: () => void
  const finished = new Promise<void>((resolve) => (done = resolve))
  const watched: Outbox = {
    append: (submission) => outbox.append(submission),
    appendAll: (submissions, answered) => outbox.appendAll(submissions, answered),
    take: (eventsMax) => outbox.take(eventsMax),
    ready: (signal) => outbox.ready(signal),
    rewind: () => outbox.rewind(),
    resumed: () => outbox.resumed(),
    stats: () => outbox.stats(),
    close: () => outbox.close(),
    async release(proven) {
      const nowMs = performance.now()
      measured ??= begin()
      for (const { id } of proven) {
        const atMs = submittedAtMs.get(id)
        left -= 1
        if (atMs !== undefined) latencies.add(nowMs - atMs)
      }
      await outbox.release(proven)
      if (left <= 0) done()
    },
  }
  const exchange = rabbitExchange({
    url,
    tls: undefined,
    exchange: wire.exchange,
    partitions,
    gateway: 'bench',
    compress: way.compress,
    connectTimeoutMs: 10_000,
    heartbeatS: 20,
    reconnect: { delayMsMin: 100, delayMsMax: 1000 },
    clock: systemClock,
    random: Math.random,
    log: silentLog,
  })
  let number = 0
  const ticker = setInterval(() => {
    for (let count = 0; count < newPerSecond / 20; count++) {
      const submission = reading(number++)
      submittedAtMs.set(submission.candidate.id, performance.now())
      void outbox.append(submission)
    }
  }, 50)
  const forwarding = forward(
    {
      outbox: watched,
      exchange,
      clock: systemClock,
      random: Math.random,
      log: silentLog,
      observer: silentForwarderObserver,
      batch: { eventsMax: way.eventsMax, bytesMax: way.bytesMax, partitions },
      windowEvents,
      confirmTimeoutMs: 30_000,
      retry: { delayMsMin: 100, delayMsMax: 1000 },
    },
    stop.signal,
  )
  await finished
  const spent = (measured ?? begin())()
  clearInterval(ticker)
  stop.abort()
  await forwarding
  return spent
}

await inFolder(main)
