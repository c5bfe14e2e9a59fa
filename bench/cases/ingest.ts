import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { readFileSync } from 'node:fs'
import { type DevelopmentPki, issueDevelopmentPki } from '../../certs/development.ts'
import type { Bench, Prepare } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { cpuMicrosOf, memoryOf } from '../run/process.ts'
import { fleetOf, untilConnack } from '../subjects/device.ts'
import { type Running, startEdge } from '../subjects/edge.ts'
import { flood } from '../subjects/flood.ts'
import { mosquittoDurable, startBareAedes, startMosquitto } from '../subjects/references.ts'

/** Twenty devices, as every case over MQTT has them. */
export function issueFleet(dir: string): Promise<DevelopmentPki> {
  const devices = Array.from({ length: 20 }, (_, index) => `bench-${index}`)
  return issueDevelopmentPki(join(dir, 'pki'), { devices, gateway: 'bench' })
}

/** Each takes events in over mutual TLS, QoS 1, 20 connections with 50 in flight, in a process and a folder of its own. */
export const prepareIngest: Prepare = async (bench: Bench) => {
  const pki = await issueFleet(bench.dir)
  const fleet = fleetOf(pki)
  const messages = bench.full ? 1_000_000 : 200_000
  let folders = 0
  const folder = (): string => join(bench.dir, `run-${folders++}`)

  async function measured(running: Running & { port: number }, forMs?: number): Promise<Sample> {
    const { pid, port } = running
    try {
      await untilConnack(port, fleet)
      const limit = forMs === undefined ? {} : { forMs }
      await flood(port, fleet, { messages: 20_000, ...limit })
      const before = cpuMicrosOf(pid)
      const { messages: taken, perSecond } = await flood(port, fleet, { messages, ...limit })
      const { memoryMiB } = memoryOf(pid)
      return { eventsPerSecond: perSecond, cpuMicros: (cpuMicrosOf(pid) - before) / taken, memoryMiB }
    } finally {
      await running.close()
    }
  }
  return [
    { name: 'bare aedes', measure: async () => measured(await startBareAedes(pki)) },
    {
      name: 'Mosquitto, in memory',
      measure: async () => measured(await startMosquitto(folder(), pki, { lines: ['persistence false'] })),
    },
    {
      name: 'Mosquitto, durable',
      async measure() {
        const mosquitto = await startMosquitto(folder(), pki, { lines: mosquittoDurable })
        await untilConnack(mosquitto.port, fleet)
        await subscribeForGood(mosquitto.port, pki)
        return measured(mosquitto, 4_000)
      },
    },
    ...bench.products.map((product) => ({
      name: 'tidegate edge',
      product,
      async measure() {
        const edge = await startEdge(product, { dir: folder(), pki })
        return measured({ ...edge, port: edge.mqttPort })
      },
    })),
  ]
}

/** A session that is kept while it is away: without one there is nothing that Mosquitto would have to save. */
async function subscribeForGood(port: number, { caFile, gateway }: DevelopmentPki): Promise<void> {
  const client = await connectAsync(`mqtts://127.0.0.1:${port}`, {
    ca: readFileSync(caFile),
    cert: readFileSync(gateway.certFile),
    key: readFileSync(gateway.keyFile),
    clientId: 'keeper',
    clean: false,
  })
  await client.subscribeAsync('devices/#', { qos: 1 })
  await client.endAsync()
}
