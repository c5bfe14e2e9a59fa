import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { issueDevelopmentPki } from '../../certs/development.ts'
import type { Prepare, Subject } from '../run/case.ts'
import type { Sample } from '../run/figures.ts'
import { memoryOf } from '../run/process.ts'
import { percentile } from '../run/statistics.ts'
import { runWorker } from '../run/worker.ts'
import { attacks } from '../subjects/attacks.ts'
import { type DeviceFiles, fleetOf, untilConnack } from '../subjects/device.ts'
import { type Running, startEdge } from '../subjects/edge.ts'
import { waitedBy } from '../subjects/reading-device.ts'
import { startMosquitto } from '../subjects/references.ts'
import type { AttackTask } from '../workers/attacker.ts'

const undisturbedMs = 4000
const attackMs = 6000
/** Until all of its connections are made. */
const beginsMs = 1000

/** One device does its worst, in a process of its own, while another sends a reading each 50 ms. Each attack has a broker of its own. */
export const prepareAttacks: Prepare = async ({ products, full, dir, scope }) => {
  const pki = await issueDevelopmentPki(join(dir, 'pki'), { devices: ['good', 'bad'], gateway: 'bench' })
  const [good, bad] = fleetOf(pki).devices as [DeviceFiles, DeviceFiles]
  const times = full ? 4 : 1
  let folders = 0
  const folder = (): string => join(dir, `run-${folders++}`)

  async function measured(start: () => Promise<Running & { port: number }>, attack: string): Promise<Sample> {
    const running = scope.own(await start())
    const { pid, port } = running
    const target = { port, caFile: pki.caFile }
    await untilConnack(port, fleetOf(pki))
    await waitedBy(target, good, 1000)
    const { latencies: undisturbed } = await waitedBy(target, good, undisturbedMs * times)
    const task: AttackTask = {
      attack,
      ...target,
      device: bad,
      forMs: beginsMs + attackMs * times + 500,
    }
    const attacking = runWorker('attacker', task)
    await delay(beginsMs)
    let memoryMiB = 0
    const watch = setInterval(() => (memoryMiB = Math.max(memoryMiB, memoryOf(pid).memoryMiB)), 200)
    const { latencies, unanswered } = await waitedBy(target, good, attackMs * times)
    clearInterval(watch)
    await attacking
    await running.close()
    const p99Ms = percentile(latencies, 0.99)
    return {
      p50Ms: percentile(latencies, 0.5),
      p99Ms,
      timesUndisturbed: p99Ms / percentile(undisturbed, 0.99),
      unanswered,
      memoryMiB,
    }
  }

  return attacks.flatMap(({ name }): Subject[] => [
    {
      name: `Mosquitto, ${name}`,
      measure: () => measured(() => startMosquitto(folder(), pki, { lines: ['persistence false'] }), name),
    },
    ...products.map((product) => ({
      name: `tidegate edge, ${name}`,
      product,
      measure: () =>
        measured(async () => {
          const edge = await startEdge(product, { dir: folder(), pki })
          return { ...edge, port: edge.mqttPort }
        }, name),
    })),
  ])
}
