import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type DevelopmentPki, issueDevelopmentPki } from '../../certs/development.ts'
import type { Prepare, Product, Subject } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { memoryOf } from '../run/process.ts'
import { connectDevice, fleetOf, untilConnack } from '../subjects/device.ts'
import { startEdge } from '../subjects/edge.ts'
import { startBareAedes } from '../subjects/references.ts'
import { outboxWorker } from './outbox.ts'

/** Connections of one device: as many as an edge lets in by default. */
const connectionsEach = 8

/** How long a device waits after `tidegate edge` was started, and what that weighs once it has done what it does in the background. */
export const prepareConnack: Prepare = async ({ products, full, dir, say }) => {
  const devices = Array.from({ length: 1000 / connectionsEach }, (_, index) => `bench-${index}`)
  const pki = await issueDevelopmentPki(join(dir, 'pki'), { devices, gateway: 'bench' })
  const subjects: Subject[] = []
  for (const [index, product] of products.entries()) {
    for (const [name, queued, connections] of [
      ['empty', 0, 1],
      ['10 k queued', 10_000, 1],
      ['1 M queued', 1_000_000, 1],
      ['1 M queued, 1,000 connections', 1_000_000, 1_000],
      ...(full ? [['10 M queued', 10_000_000, 1] as const] : []),
    ] as const) {
      const place = join(dir, `edge-${index}-${queued}`)
      if (connections === 1) {
        say(`  filling an outbox with ${queued.toLocaleString('en')} events`)
        const folder = join(place, 'data', 'outbox')
        await outboxWorker({ work: 'fill', folder, root: product.root, events: queued, end: 'close' })
      }
      subjects.push({ name, product, measure: () => firstConnack(product, place, pki, connections) })
    }
  }
  // Of one checkout: against another revision the references are left out.
  const measure = (): Promise<Sample> => bareConnections(pki, 1_000)
  if (products.length === 1) subjects.push({ name: 'bare aedes, 1,000 connections', measure })
  return subjects
}

/** What connections weigh where nothing is kept for them: TLS, the runtime, the broker. */
async function bareConnections(pki: DevelopmentPki, connections: number): Promise<Sample> {
  const aedes = await startBareAedes(pki)
  const sockets = []
  try {
    await untilConnack(aedes.port, fleetOf(pki))
    const target = { port: aedes.port, caFile: pki.caFile }
    sockets.push(...(await connectAll(target, pki, connections)))
    await delay(3000)
    return memoryOf(aedes.pid)
  } finally {
    for (const socket of sockets) socket.destroy()
    await aedes.close()
  }
}

async function connectAll(
  target: Parameters<typeof connectDevice>[0],
  pki: DevelopmentPki,
  connections: number,
): Promise<Awaited<ReturnType<typeof connectDevice>>[]> {
  const sockets = []
  for (let number = 0; number < connections; number++) {
    const device = pki.devices[number % pki.devices.length]
    if (device) sockets.push(await connectDevice(target, device, `${device.commonName}-${number}`))
  }
  return sockets
}

async function firstConnack(
  product: Product,
  dir: string,
  pki: DevelopmentPki,
  connections: number,
): Promise<Sample> {
  const edge = await startEdge(product, { dir, pki, outbox: { eventsMax: 50_000_000, bytesMax: '64GiB' } })
  const target = { port: edge.mqttPort, caFile: pki.caFile }
  const sockets = []
  try {
    await untilConnack(edge.mqttPort, fleetOf(pki))
    const connackMs = performance.now() - edge.startedMs
    sockets.push(...(await connectAll(target, pki, connections)))
    await delay(3000)
    return { connackMs, ...memoryOf(edge.pid) }
  } finally {
    for (const socket of sockets) socket.destroy()
    await edge.close()
  }
}
