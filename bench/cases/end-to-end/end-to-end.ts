import { setTimeout as delay } from 'node:timers/promises'
import type { Prepare, Subject } from '../../run/case.ts'
import { ends } from '../../run/catalogue.ts'
import type { Sample } from '../../run/figures.ts'
import { percentile } from '../../run/statistics.ts'
import { flood } from '../../subjects/flood.ts'
import { pace } from '../../subjects/pace.ts'
import { startProbe } from '../../subjects/probe.ts'
import { issueFleet } from '../ingest.ts'
import { startBridgedWay } from './bridged-way.ts'
import { startTidegateWay } from './tidegate-way.ts'
import type { Part, Way } from './way.ts'

/** Both ways are there all the time; what has not its turn is idle. */
export const prepareEndToEnd: Prepare = async (bench) => {
  const pki = await issueFleet(bench.dir)
  const names = pki.devices.map(({ commonName }) => commonName)
  const ways = [
    { way: await startBridgedWay(bench, pki, ends.bridge) },
    ...(await Promise.all(
      bench.products.map(async (product) => ({
        way: await startTidegateWay(bench, names, ends.whole),
        product,
      })),
    )),
  ]
  for (const { way } of ways) await rateOf(way, 2_000)
  const events = bench.full ? 200_000 : 30_000
  const each = (subject: (way: Way) => Subject): Subject[] =>
    ways.map(({ way, ...whose }) => ({ ...subject(way), ...whose }))
  return [
    ...each((way) => ({ name: way.name, measure: () => rateOf(way, events) })),
    ...each((way) => ({ name: `${way.name}, 500/s`, measure: () => latenciesOf(way, 500, 6_000) })),
    ...ways.flatMap(({ way, ...whose }) => {
      const once = (what: string, parts: readonly Part[]): Subject => ({
        ...whose,
        name: `${way.name}, kill -9 of ${what}`,
        once: true,
        measure: () => hit(way, parts),
      })
      const { site, broker, end } = way.parts
      return [
        ...[site, broker, end].map((part) => once(part.name, [part])),
        once(`${site.name} while RabbitMQ is down`, [broker, site]),
      ]
    }),
  ]
}

/** A flood; from its first event to when the last is at the end. */
async function rateOf(way: Way, events: number): Promise<Sample> {
  await way.mark()
  const [startedMs, cpu] = [Date.now(), way.cpuMicros()]
  const { messages } = await flood(way.mqttPort, way.fleet, { messages: events })
  const came = await untilAtEnd(way, messages)
  if (came < messages) throw new Error(`${came} of ${messages} events came to the end of: ${way.name}`)
  const cpuMicros = (way.cpuMicros() - cpu) / messages
  const lastMs = Math.max(...[...(await way.arrivals()).values()].map(({ atMs }) => atMs))
  return { eventsPerSecond: (messages / (lastMs - startedMs)) * 1000, cpuMicros }
}

/** Until so many are at the end, or none has come for twenty seconds; how many there are. */
async function untilAtEnd(way: Way, events: number): Promise<number> {
  let [count, sinceMs] = [0, performance.now()]
  while (count < events && performance.now() - sinceMs < 20_000) {
    await delay(100)
    const now = await way.count()
    if (now > count) sinceMs = performance.now()
    count = now
  }
  return count
}

async function latenciesOf(way: Way, perSecond: number, forMs: number): Promise<Sample> {
  await way.mark()
  const { url, ...binding } = way.probe
  const probe = await startProbe(url, binding)
  const sent = new Map<number, number>()
  const acknowledged: number[] = []
  const stop = new AbortController()
  // Both clocks at once, as near as can be: a commit is told by the wall clock.
  const wallMs = Date.now() - performance.now()
  const pacing = pace(way.mqttPort, way.fleet, {
    perSecond,
    signal: stop.signal,
    onSent: (number, atMs) => sent.set(number, atMs),
    onAcknowledged: (_, latencyMs) => acknowledged.push(latencyMs),
  })
  await Promise.race([pacing, delay(forMs)])
  stop.abort()
  await pacing
  await untilAtEnd(way, sent.size)
  await probe.close()
  const arrivals = await way.arrivals()
  const toBroker = [...sent].map(([number, atMs]) => (probe.arrivals.get(number) ?? Number.NaN) - atMs)
  const toEnd = [...sent].map(([number, atMs]) => (arrivals.get(number)?.atMs ?? Number.NaN) - wallMs - atMs)
  return {
    p50Ms: percentile(acknowledged, 0.5),
    p99Ms: percentile(acknowledged, 0.99),
    brokerP50Ms: percentile(toBroker, 0.5),
    brokerP99Ms: percentile(toBroker, 0.99),
    endP50Ms: percentile(toEnd, 0.5),
    endP99Ms: percentile(toEnd, 0.99),
  }
}

/**
 * kill -9 while events come in, of one part after the other, and starts in the opposite order a second later; what became of what had its
 * PUBACK.
 */
async function hit(way: Way, parts: readonly Part[]): Promise<Sample> {
  await way.mark()
  const acknowledged = new Set<number>()
  const stop = new AbortController()
  const pacing = pace(way.mqttPort, way.fleet, {
    perSecond: 1_000,
    signal: stop.signal,
    onAcknowledged: (number) => acknowledged.add(number),
  })
  try {
    for (const part of parts) {
      await Promise.race([pacing, delay(3_000)])
      await part.kill()
    }
    await delay(1_000)
    for (const part of parts.toReversed()) await part.start()
    await delay(3_000)
  } finally {
    stop.abort()
  }
  await pacing
  await untilAtEnd(way, acknowledged.size)
  // What comes twice may come later than what is awaited.
  await delay(3_000)
  const arrivals = await way.arrivals()
  return {
    acknowledged: acknowledged.size,
    lost: [...acknowledged].filter((number) => !arrivals.has(number)).length,
    repeated: [...arrivals.values()].filter(({ times }) => times > 1).length,
  }
}
