import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { ClassicLevel } from 'classic-level'
import type { OutboxObserver } from '../../edge/outbox/observer.ts'
import type { Outbox, Submission } from '../../edge/outbox/outbox.ts'
import { systemClock } from '../../src/clock.ts'
import { writeCandidate } from '../../src/contract/codec.ts'
import { silentLog } from '../../src/log.ts'
import type { Sample } from '../run/figures.ts'
import { diskBytesOf, memoryOf } from '../run/process.ts'
import { moduleOf, onTask } from '../run/worker.ts'

interface OutboxPlace {
  folder: string
  root: string
  /** IDs it remembers at the most; default: the product's. */
  rememberedMax?: number
}

/** What is done with the outbox of a checkout, in one folder. */
export type OutboxTask = OutboxPlace &
  (
    | { work: 'fill'; events: number; end: 'close' | 'release all' | 'kill -9' }
    | { work: 'append'; events: number }
    | { work: 'append to bare LevelDB'; events: number }
    | { work: 'open' }
    | { work: 'wear'; seconds: number; perSecond: number; deliver: boolean }
  )

onTask(async (task: OutboxTask): Promise<Sample> => {
  const open = await openerOf(task)
  switch (task.work) {
    case 'append to bare LevelDB':
      return appendToLevel(task.folder, task.events)
    case 'open':
      return openOnly(open)
    case 'wear':
      return wearOf(task, open)
    case 'fill': {
      const outbox = await open()
      await fill(outbox, task.events)
      if (task.end === 'kill -9') process.kill(process.pid, 'SIGKILL')
      if (task.end === 'release all') await releaseAll(outbox)
      await outbox.close()
      return {}
    }
    case 'append': {
      const outbox = await open()
      await settled()
      const sample = await measured(task.events, () => fill(outbox, task.events))
      await releaseAll(outbox)
      await outbox.close()
      return sample
    }
  }
})

/** Opens the outbox of a checkout; its modules are loaded by then. */
type Open = (observer?: Partial<OutboxObserver>) => Promise<Outbox>

async function openerOf({ root, folder, rememberedMax }: OutboxPlace): Promise<Open> {
  const [{ openOutbox }, { silentOutboxObserver }, { levelFolder }] = await Promise.all([
    moduleOf<typeof import('../../edge/outbox/open.ts')>(root, 'edge/outbox/open.ts'),
    moduleOf<typeof import('../../edge/outbox/observer.ts')>(root, 'edge/outbox/observer.ts'),
    moduleOf<typeof import('../../edge/store/store-level.ts')>(root, 'edge/store/store-level.ts'),
  ])
  return (observer) =>
    openOutbox({
      folder: levelFolder({ folder, reserveBytes: 0, clock: systemClock }),
      gateway: 'bench',
      clock: systemClock,
      random: Math.random,
      log: silentLog,
      observer: { ...silentOutboxObserver, ...observer },
      ...(rememberedMax !== undefined && { dedup: { ageMs: 86_400_000, count: rememberedMax } }),
      quota: { eventsMax: 50_000_000, bytesMax: 1e12, diskFreeBytesMin: 0, deviceShare: 1 },
      waitingMax: 1_000_000,
    })
}

/** A reading of about 200 bytes of payload, under a random UUID: the hard case for remembering. */
function reading(number: number): Submission {
  const device = `bench-${number % 100}`
  return {
    candidate: writeCandidate({
      specversion: '1.0',
      id: randomUUID(),
      source: `/devices/${device}`,
      type: 'com.acme.climate',
      time: '2026-01-01T00:00:00.000Z',
      datacontenttype: 'application/json',
      dataschema: 'com.acme.climate/1',
      partitionkey: device,
      data: { temperatureC: 20 + (number % 100) / 10, humidityPercent: 45.5, note: noise(number) },
    }),
    lane: 'normal',
    qos: 1,
  }
}

function noise(number: number): string {
  return Math.sin(number).toString(36).repeat(20).slice(0, 140)
}

/** Appends so many events, a thousand at a time. */
async function fill(outbox: Outbox, count: number): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => {
    while (next < count) {
      const admission = await outbox.append(reading(next++))
      if (admission.kind !== 'accepted') throw new Error(`a new event was ${admission.kind}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(1000, count) }, run))
}

/** Only the memory of their IDs is left. */
async function releaseAll(outbox: Outbox): Promise<void> {
  for (let taken = await outbox.take(1000); taken.length > 0; taken = await outbox.take(1000))
    await outbox.release(taken)
}

async function measured(events: number, work: () => Promise<void>): Promise<Sample> {
  const [startedMs, cpu] = [performance.now(), process.cpuUsage()]
  await work()
  const { user, system } = process.cpuUsage(cpu)
  return {
    eventsPerSecond: (events / (performance.now() - startedMs)) * 1000,
    cpuMicros: (user + system) / events,
    ownMemoryMiB: memoryOf(process.pid).ownMemoryMiB,
  }
}

/** The reference: the same texts in synced batches of 400, and nothing else. */
async function appendToLevel(folder: string, events: number): Promise<Sample> {
  const level = new ClassicLevel(folder, { writeBufferSize: 8 << 20 })
  await level.open()
  const sample = await measured(events, async () => {
    for (let first = 1; first <= events; first += 400) {
      const batch = Array.from({ length: 400 }, (_, index) => ({
        type: 'put' as const,
        key: `e!n!${String(first + index).padStart(16, '0')}`,
        value: reading(first + index).candidate.text,
      }))
      await level.batch(batch, { sync: true })
    }
  })
  await level.close()
  return sample
}

/** LevelDB has compacted what was stored before: that is no part of what comes next. A minute at the most. */
async function settled(): Promise<void> {
  for (let second = 0; second < 60; second++) {
    const cpu = process.cpuUsage()
    await delay(1000)
    const { user, system } = process.cpuUsage(cpu)
    if (user + system < 50_000) return
  }
}

/** What a gateway does before it listens. */
async function openOnly(open: Open): Promise<Sample> {
  const startedMs = performance.now()
  const outbox = await open()
  const readyMs = performance.now() - startedMs
  const { ownMemoryMiB } = memoryOf(process.pid)
  await outbox.close()
  return { readyMs, ownMemoryMiB }
}

async function wearOf(task: OutboxTask & { work: 'wear' }, open: Open): Promise<Sample> {
  const { seconds, perSecond, deliver } = task
  const wear = { events: 0, payloadBytes: 0, writtenBytes: 0, fsyncs: 0 }
  const outbox = await open({
    wrote(bytes, syncMs) {
      wear.writtenBytes += bytes
      if (syncMs !== undefined) wear.fsyncs += 1
    },
    batch(events, payloadBytes) {
      wear.events += events
      wear.payloadBytes += payloadBytes
    },
  })
  const stop = new AbortController()
  const delivering = deliver ? deliverAll(outbox, stop.signal) : Promise.resolve()
  const before = diskBytesOf(process.pid)
  const startedMs = performance.now()
  for (let number = 0; performance.now() < startedMs + seconds * 1000;) {
    if (perSecond === 0) await fill(outbox, 5000)
    else {
      const due = Math.floor(((performance.now() - startedMs) * perSecond) / 1000)
      for (; number < due; number++) await outbox.append(reading(number))
      await delay(10)
    }
  }
  const diskBytes = diskBytesOf(process.pid) - before
  const ms = performance.now() - startedMs
  stop.abort()
  await delivering
  await outbox.close()
  return {
    eventsPerSecond: (wear.events / ms) * 1000,
    storeBytes: wear.writtenBytes / wear.payloadBytes,
    diskBytes: diskBytes / wear.payloadBytes,
    fsyncsPerSecond: (wear.fsyncs / ms) * 1000,
  }
}

async function deliverAll(outbox: Outbox, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const events = await outbox.take(500)
    if (events.length > 0) await outbox.release(events)
    else await outbox.ready(signal)
  }
}
