import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { issueDevelopmentPki } from '../certs/development.ts'
import { freePort, startEdge, stopped } from './edge-process.ts'
import { connectDevice, load } from './mqtt-load.ts'
import { programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * How fast a gateway takes events in over mutual TLS (QoS 1, 200-byte payloads, random UUIDs, 20 connections with
 * 50 in flight), everything included: admission, deduplication, ledger, fsync before PUBACK. Against bare aedes
 * that stores nothing, in the same run, twice in turn.
 *
 *     npm run bench:ingest -- [--messages 200000] [--rounds 2]
 */
const { messages, rounds } = programOf('npm run bench:ingest --', 'how fast a gateway takes events in')
  .option('--messages <count>', 'messages of each turn', wholeNumber(), 200_000)
  .option('--rounds <count>', 'turns of each', wholeNumber(), 2)
  .parse()
  .opts<{ messages: number; rounds: number }>()
const dir = mkdtempSync(join(tmpdir(), 'tidegate-bench-'))
const names = Array.from({ length: 20 }, (_, index) => `bench-${index}`)
const pki = await issueDevelopmentPki(join(dir, 'pki'), { devices: names, gateway: 'bench' })
const fleet = { caFile: pki.caFile, devices: pki.devices, inFlight: 50, messages }

const bareRates: number[] = []
const edgeRates: number[] = []
for (let round = 1; round <= rounds; round++) {
  const port = await freePort()
  const bare = fork(fileURLToPath(new URL('./bare-aedes.js', import.meta.url)), [
    String(port),
    pki.caFile,
    pki.edge.certFile,
    pki.edge.keyFile,
  ])
  await once(bare, 'message')
  const bareRate = (await load({ ...fleet, port })).perSecond
  await stopped(bare)

  const edge = await startEdge(join(dir, `edge-${round}`), pki)
  await untilConnack(edge.mqttPort)
  const edgeRate = (await load({ ...fleet, port: edge.mqttPort })).perSecond
  const rss = edge.rssBytes()
  await edge.stop()

  bareRates.push(bareRate)
  edgeRates.push(edgeRate)
  console.log(
    `round ${round}: bare aedes ${figure(bareRate)} msg/s   tidegate edge ${figure(edgeRate)} msg/s   ` +
      `ratio ${(edgeRate / bareRate).toFixed(2)}   RSS ${Math.round(rss / 2 ** 20)} MiB`,
  )
}
const sum = (rates: number[]): number => rates.reduce((total, rate) => total + rate, 0)
console.log(`ingest: ${(sum(edgeRates) / sum(bareRates)).toFixed(2)} of bare aedes`)
rmSync(dir, { recursive: true, force: true })

async function untilConnack(port: number): Promise<void> {
  const [device] = pki.devices
  for (;;) {
    try {
      if (device) (await connectDevice({ port, caFile: pki.caFile }, device)).destroy()
      return
    } catch {
      await delay(20)
    }
  }
}

function figure(rate: number): string {
  return Math.round(rate).toLocaleString('en').padStart(8)
}
