import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { issueDevelopmentPki } from '../certs/development.ts'
import { silentOutboxObserver } from '../edge/outbox/observer.ts'
import { openOutbox } from '../edge/outbox/open.ts'
import { levelFolder } from '../edge/store/store-level.ts'
import { systemClock } from '../src/clock.ts'
import { writeCandidate } from '../src/contract/codec.ts'
import { silentLog } from '../src/log.ts'
import { startEdge } from './edge-process.ts'
import { connectDevice } from './mqtt-load.ts'
import { listOf, programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * How long a device waits for its first CONNACK after `tidegate edge` was started on a folder with so many events
 * queued, and how much memory the gateway then holds; against an empty folder in the same run.
 *
 *     npm run bench:connack -- [--queued 10000,1000000]
 */
const { queued: depths } = programOf(
  'npm run bench:connack --',
  'how long a device waits for its first CONNACK',
)
  .option('--queued <counts>', 'events queued, one run each', listOf(wholeNumber()), [10_000, 1_000_000])
  .parse()
  .opts<{ queued: number[] }>()
const dir = mkdtempSync(join(tmpdir(), 'tidegate-bench-'))
const pki = await issueDevelopmentPki(join(dir, 'pki'), { devices: ['bench-0'], gateway: 'bench' })
const runs = 3
let emptyMs = 0
let emptyRss = 0
let emptyOwn = 0

for (const queued of [0, ...depths]) {
  const place = join(dir, `queued-${queued}`)
  await fill(join(place, 'data', 'outbox'), queued)
  const times: number[] = []
  const memory: number[] = []
  const own: number[] = []
  for (let run = 0; run < runs; run++) {
    const edge = await startEdge(place, pki)
    await firstConnack(edge.mqttPort)
    times.push(performance.now() - edge.startedMs)
    // What it does in the background (checking, filters) is part of its memory.
    await delay(3000)
    memory.push(edge.rssBytes())
    own.push(edge.ownBytes())
    await edge.stop()
  }
  const ms = median(times)
  const rss = median(memory)
  const ownBytes = median(own)
  if (queued === 0) {
    emptyMs = ms
    emptyRss = rss
    emptyOwn = ownBytes
  }
  console.log(
    `${queued.toLocaleString('en').padStart(12)} queued: first CONNACK after ${Math.round(ms)} ms (${(ms / emptyMs).toFixed(2)}×), ` +
      `RSS ${Math.round(rss / 2 ** 20)} MiB (${(rss / emptyRss).toFixed(2)}×), ` +
      `without mapped files ${Math.round(ownBytes / 2 ** 20)} MiB (${(ownBytes / emptyOwn).toFixed(2)}×)`,
  )
}
rmSync(dir, { recursive: true, force: true })

async function fill(folder: string, count: number): Promise<void> {
  const outbox = await openOutbox({
    folder: levelFolder({ folder, reserveBytes: 0, clock: systemClock }),
    gateway: 'bench',
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    observer: silentOutboxObserver,
    quota: { deviceShare: 1, bytesMax: 2 ** 40, eventsMax: 1e9 },
    batchEventsMax: 5000,
    waitingMax: 100_000,
  })
  for (let from = 0; from < count; from += 5000) {
    const ids = Array.from({ length: Math.min(5000, count - from) }, (_, index) => from + index)
    await Promise.all(
      ids.map((id) =>
        outbox.append({
          lane: 'normal',
          qos: 1,
          candidate: writeCandidate({
            specversion: '1.0',
            id: crypto.randomUUID(),
            source: `/devices/bench-${id % 100}`,
            type: 'com.acme.climate',
            time: '2026-01-01T00:00:00.000Z',
            datacontenttype: 'application/json',
            partitionkey: `bench-${id % 100}`,
            data: { temperature: 21.5, humidity: 40.25, note: 'x'.repeat(41) },
          }),
        }),
      ),
    )
  }
  await outbox.close()
}

async function firstConnack(port: number): Promise<void> {
  const [device] = pki.devices
  if (!device) return
  for (;;) {
    try {
      const socket = await connectDevice({ port, caFile: pki.caFile }, device)
      socket.destroy()
      return
    } catch {
      await delay(5)
    }
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
