import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Prepare, Product, Subject } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { cpuMicrosOf } from '../run/process.ts'
import { percentile } from '../run/statistics.ts'
import { fleetOf, untilConnack } from '../subjects/device.ts'
import { type Running, type RunningEdge, startEdge } from '../subjects/edge.ts'
import { pace } from '../subjects/pace.ts'
import { startBareAedes, startMosquitto } from '../subjects/references.ts'
import { issueFleet } from './ingest.ts'

const rates: [name: string, perSecond: number, seconds: number][] = [
  ['10/s', 10, 10],
  ['1,000/s', 1_000, 4],
  ['10,000/s', 10_000, 4],
]

/** From when an event is due to its PUBACK, at rates that are kept whatever comes back. All are started once, and idle while others run. */
export const prepareLatency: Prepare = async ({ products, full, dir, scope }) => {
  const pki = await issueFleet(dir)
  const fleet = fleetOf(pki)
  const aedes = scope.own(await startBareAedes(pki))
  const mosquitto = scope.own(
    await startMosquitto(join(dir, 'mosquitto'), pki, { lines: ['persistence false'] }),
  )
  const edges: { product: Product; edge: RunningEdge }[] = []
  for (const [index, product] of products.entries())
    edges.push({
      product,
      edge: scope.own(await startEdge(product, { dir: join(dir, `edge-${index}`), pki })),
    })

  async function measured(
    { pid, port }: Running & { port: number },
    perSecond: number,
    ms: number,
  ): Promise<Sample> {
    await untilConnack(port, fleet)
    const latencies: number[] = []
    const stop = new AbortController()
    const started = { ms: performance.now(), cpu: 0 }
    const pacing = pace(port, fleet, {
      perSecond,
      signal: stop.signal,
      onStarted: () => Object.assign(started, { ms: performance.now(), cpu: cpuMicrosOf(pid) }),
      onAcknowledged: (_, latencyMs) => latencies.push(latencyMs),
    })
    await Promise.race([pacing, delay(ms)])
    stop.abort()
    await pacing
    return {
      eventsPerSecond: (latencies.length / (performance.now() - started.ms)) * 1000,
      cpuMicros: (cpuMicrosOf(pid) - started.cpu) / latencies.length,
      p50Ms: percentile(latencies, 0.5),
      p99Ms: percentile(latencies, 0.99),
    }
  }
  return rates.flatMap(([rate, perSecond, seconds]): Subject[] => {
    const ms = seconds * (full ? 5_000 : 1_000)
    return [
      { name: `bare aedes, ${rate}`, measure: () => measured(aedes, perSecond, ms) },
      { name: `Mosquitto, in memory, ${rate}`, measure: () => measured(mosquitto, perSecond, ms) },
      ...edges.map(({ product, edge }) => ({
        name: `tidegate edge, ${rate}`,
        product,
        measure: () => measured({ ...edge, port: edge.mqttPort }, perSecond, ms),
      })),
    ]
  })
}
