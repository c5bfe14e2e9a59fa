import { TidegateError } from '../../../src/errors.ts'
import type { Lane } from '../outbox.ts'
import type { StoreReader } from '../../store/store.ts'
import { parseClosed } from '../rules/generation.ts'
import { decodeHead, type Head, sequenceOf } from '../layout/head.ts'
import { allDamaged, allGenerations, headKey } from '../layout/keys.ts'
import { type OldestEvent, oldestOf } from './oldest-event.ts'
import { readUsage, type Usage } from '../layout/usage.ts'
import { readable } from '../layout/record.ts'
import { queuedOf } from '../layout/queued.ts'
import { readUndelivered } from '../rules/undelivered.ts'
import { type DeviceInspection, survey } from './survey.ts'

/** What a queue looks like from outside. */
export interface Inspection {
  gateway: string
  epoch: string
  lastSequence: number
  lanes: Record<Lane, LaneInspection>
  deviceCount: number
  /** Those with the most bytes first. */
  devices: DeviceInspection[]
  rememberedIds: number
  /** Numbered, undelivered and not yet reported to the cloud. */
  unreported: { from: number; to: number; reason: string }[]
  /** Records that were found altered and were set aside inside the store. */
  damagedRecords: number
}

export interface LaneInspection extends Usage {
  oldest?: OldestEvent
}

export interface InspectOptions {
  devicesMax: number
  /** The wall clock, ms since the Unix epoch. */
  nowMs: number
  /** Events of a lane that are read for the devices' sake, the oldest first; 100,000 take about a second. */
  looksMax?: number
}

/** Reads a bounded number of records, whatever the backlog. @throws TidegateError `OUTBOX_HEADLESS` */
export async function inspect(store: StoreReader, options: InspectOptions): Promise<Inspection> {
  const { devicesMax, nowMs, looksMax = 100_000 } = options
  const head = await headOf(store)
  const { readable: devices } = await readUsage(store)
  const listed = [...devices].toSorted(([, a], [, b]) => b.bytes - a.bytes).slice(0, devicesMax)
  const closed = await store.entries(allGenerations, 10_000)
  const remembered = closed.reduce((sum, [, value]) => sum + parseClosed(value).count, 0)
  return {
    gateway: head.gateway,
    epoch: head.epoch,
    lastSequence: sequenceOf(head, head.position),
    lanes: {
      high: await inspectLane(store, head, 'high', nowMs),
      normal: await inspectLane(store, head, 'normal', nowMs),
    },
    deviceCount: devices.size,
    devices: await survey(store, head, new Map(listed), { nowMs, looksMax }),
    rememberedIds: remembered + head.generation.count,
    unreported: (await readUndelivered(store, 1000)).readable.map(({ from, to, epochBase, reason }) => ({
      from: from - epochBase,
      to: to - epochBase,
      reason,
    })),
    damagedRecords: (await store.entries(allDamaged, 100_000)).length,
  }
}

async function inspectLane(
  store: StoreReader,
  head: Head,
  lane: Lane,
  nowMs: number,
): Promise<LaneInspection> {
  const about = { events: head.depth[lane], bytes: head.bytes[lane] }
  for await (const entry of queuedOf(store, lane, head.first[lane])) {
    const event = readable(entry)
    if (!(event instanceof Error)) return { ...about, oldest: oldestOf(head, event, nowMs) }
  }
  return about
}

/** @throws TidegateError `OUTBOX_HEADLESS`, `STORE_NEWER` */
export async function headOf(store: StoreReader): Promise<Head> {
  const head = decodeHead(await store.get(headKey))
  if (head) return head
  throw new TidegateError('OUTBOX_HEADLESS', {
    message: 'the outbox has no head record that can be read',
    retryable: false,
    hint: 'tidegate outbox repair counts what is there and begins a new epoch; so does the gateway when it starts',
  })
}
