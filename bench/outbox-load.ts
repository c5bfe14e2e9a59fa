import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentOutboxObserver } from '../edge/outbox/observer.ts'
import type { Outbox, Submission } from '../edge/outbox/outbox.ts'
import { openOutbox } from '../edge/outbox/open.ts'
import type { OutboxOptions } from '../edge/outbox/options.ts'
import { levelFolder } from '../edge/store/store-level.ts'
import { systemClock } from '../src/clock.ts'
import { writeCandidate } from '../src/contract/codec.ts'
import { silentLog } from '../src/log.ts'

const devices = 100

/** Runs with a folder of its own, which is gone afterwards. `TIDEGATE_BENCH_DIR` chooses the disk. */
export async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(process.env['TIDEGATE_BENCH_DIR'] ?? tmpdir(), 'tidegate-bench-'))
  try {
    return await run(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export function open(folder: string, options: Partial<OutboxOptions> = {}): Promise<Outbox> {
  return openOutbox({
    folder: levelFolder({ folder, reserveBytes: 0, clock: systemClock }),
    gateway: 'bench',
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    observer: silentOutboxObserver,
    dedup: { ageMs: 86_400_000, count: 20_000_000 },
    quota: { eventsMax: 50_000_000, bytesMax: 1e12, diskFreeBytesMin: 0, deviceShare: 1 },
    waitingMax: 1_000_000,
    ...options,
  })
}

/** A reading of about 200 bytes of payload, under a random UUID: the hard case for remembering. */
export function reading(number: number): Submission {
  return {
    candidate: writeCandidate({
      specversion: '1.0',
      id: randomUUID(),
      source: `/devices/bench-${number % devices}`,
      type: 'com.acme.climate',
      time: '2026-01-01T00:00:00.000Z',
      datacontenttype: 'application/json',
      dataschema: 'com.acme.climate/1',
      partitionkey: `bench-${number % devices}`,
      data: { temperatureC: 20 + (number % 100) / 10, humidityPercent: 45.5, note: noise(number) },
    }),
    lane: 'normal',
    qos: 1,
  }
}

function noise(number: number): string {
  return Math.sin(number).toString(36).repeat(20).slice(0, 140)
}

/** Appends `count` events, `inFlight` at a time; returns events/s. */
export async function fill(outbox: Pick<Outbox, 'append'>, count: number, inFlight = 1000): Promise<number> {
  const startedMs = performance.now()
  let next = 0
  const run = async (): Promise<void> => {
    while (next < count) {
      const admission = await outbox.append(reading(next++))
      if (admission.kind !== 'accepted') throw new Error(`a new event was ${admission.kind}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, run))
  return (count / (performance.now() - startedMs)) * 1000
}

/** Resident memory, MB, without the tables that LevelDB maps: those pages are the kernel's to take back. */
export function rssMb(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}

/** CPU time of this process, all threads, µs: it says more than the clock on a machine that does other things too. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
