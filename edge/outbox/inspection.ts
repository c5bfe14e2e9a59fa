import { claimedChain, genesis, verifyChain } from '../../src/codec.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Lane } from '../outbox.ts'
import type { StoreReader } from '../store.ts'
import { bothLanes } from './core.ts'
import { creditOf, decodeHead, type Head, sequenceOf } from './head.ts'
import {
  allDamaged,
  allDevices,
  allExpiries,
  allGenerations,
  allUndelivered,
  eventRange,
  headKey,
  parseExpiryKey,
} from './keys.ts'
import type { Usage } from './quota.ts'
import { decodeRecord, type StoredEvent } from './record.ts'
import { type Entry, inOrder } from './recount.ts'
import type { UndeliveredRange } from './undelivered.ts'

/** What a queue looks like from outside. */
export interface Inspection {
  gateway: string
  epoch: string
  lastSequence: number
  lanes: Record<Lane, LaneInspection>
  deviceCount: number
  /** Those with the most bytes first. */
  devices: ({ deviceId: string } & Usage)[]
  rememberedIds: number
  /** Numbered, undelivered and not yet reported to the cloud. */
  unreported: { from: number; to: number; reason: string }[]
  /** Records that were found altered and were set aside inside the store. */
  damagedRecords: number
}

export interface LaneInspection {
  events: number
  bytes: number
  oldest?: { sequence: number; deviceId: string; type: string; recordedAt: string; ageMs: number }
}

/** Reads a few records, whatever the backlog. @throws TidegateError `OUTBOX_HEADLESS` */
export async function inspect(store: StoreReader, devicesMax: number): Promise<Inspection> {
  const head = await headOf(store)
  const devices = await devicesOf(store)
  const closed = await store.entries(allGenerations, 10_000)
  const remembered = closed.reduce(
    (sum, [, value]) => sum + (JSON.parse(value) as { count: number }).count,
    0,
  )
  return {
    gateway: head.gateway,
    epoch: head.epoch,
    lastSequence: sequenceOf(head, head.position),
    lanes: { high: await inspectLane(store, head, 'high'), normal: await inspectLane(store, head, 'normal') },
    deviceCount: devices.size,
    devices: [...devices]
      .map(([deviceId, usage]) => ({ deviceId, ...usage }))
      .toSorted((a, b) => b.bytes - a.bytes)
      .slice(0, devicesMax),
    rememberedIds: remembered + head.generation.count,
    unreported: (await store.entries(allUndelivered, 1000))
      .map(([, value]) => JSON.parse(value) as UndeliveredRange)
      .map(({ from, to, epochBase, reason }) => ({ from: from - epochBase, to: to - epochBase, reason })),
    damagedRecords: (await store.entries(allDamaged, 100_000)).length,
  }
}

/** A fault of the store, in words. */
export interface Verification {
  events: number
  faults: string[]
}

const faultsMax = 100

/**
 * Reads everything: that each record is what was written, that the counts are right, that every time to live
 * is indexed, and that the hash chain holds wherever two neighbours are still queued.
 */
export async function verify(store: StoreReader): Promise<Verification> {
  const faults: string[] = []
  const fault = (text: string): void => {
    if (faults.length < faultsMax) faults.push(text)
  }
  const head = await headOf(store)
  const found: Record<Lane, Usage> = { high: { events: 0, bytes: 0 }, normal: { events: 0, bytes: 0 } }
  const devices = new Map<string, Usage>()
  let before: StoredEvent | undefined
  let deadlines = 0
  for await (const entry of inOrder(store)) {
    const { lane, position } = entry
    const event = readable(entry)
    if (event instanceof Error) {
      fault(event.message)
      before = undefined
      continue
    }
    if (position > head.position)
      fault(`position ${position} was never given out: the head stands at ${head.position}`)
    count(found[lane], event.bytes)
    const usage = devices.get(event.deviceId) ?? { events: 0, bytes: 0 }
    devices.set(event.deviceId, count(usage, event.bytes))
    if (event.deadlineSteadyMs !== undefined) deadlines += 1
    if (!chained(head, before, event))
      fault(`the chain breaks at sequence ${event.sequence} (${event.deviceId}, ${event.id})`)
    before = event
  }
  for (const lane of bothLanes) {
    const { events, bytes } = found[lane]
    if (events !== head.depth[lane])
      fault(`lane ${lane} holds ${events} events, the head says ${head.depth[lane]}`)
    if (bytes !== head.bytes[lane])
      fault(`lane ${lane} holds ${bytes} bytes, the head says ${head.bytes[lane]}`)
  }
  const counted = await devicesOf(store)
  for (const deviceId of new Set([...devices.keys(), ...counted.keys()])) {
    const [is, said] = [devices.get(deviceId)?.events ?? 0, counted.get(deviceId)?.events ?? 0]
    if (is !== said) fault(`${deviceId} has ${is} events queued, its count says ${said}`)
  }
  const indexed = await countDeadlines(store)
  if (indexed < deadlines)
    fault(`${deadlines} queued events have a time to live, ${indexed} are in its index`)
  return { events: found.high.events + found.normal.events, faults }
}

/** Which events to export. Sequences are those of the present epoch. */
export interface ExportFilter {
  deviceId?: string | undefined
  type?: string | undefined
  lane?: Lane | undefined
  fromSequence?: number | undefined
  toSequence?: number | undefined
}

/** The text of an event, a JSON object; or of which record there is nothing to export, and why. */
export type Exported = { text: string } | { damaged: string }

/**
 * Queued events in the order of admission; flat memory at any backlog. A damaged record does not say whose event it
 * was, so it is told of whatever the filter.
 */
export async function* exportTexts(store: StoreReader, filter: ExportFilter): AsyncIterable<Exported> {
  const { deviceId, type, lane, fromSequence = 0, toSequence = Infinity } = filter
  for await (const entry of inOrder(store)) {
    if (lane !== undefined && entry.lane !== lane) continue
    const event = readable(entry)
    if (event instanceof Error) {
      yield { damaged: event.message }
      continue
    }
    if (deviceId !== undefined && event.deviceId !== deviceId) continue
    if (type !== undefined && event.type !== type) continue
    if (event.sequence < fromSequence || event.sequence > toSequence) continue
    yield { text: event.text }
  }
}

/** The event in an entry, or what is wrong with it. */
function readable({ lane, position, value }: Entry): StoredEvent | Error {
  try {
    return decodeRecord(lane, position, value)
  } catch (error) {
    if (error instanceof Error && codeOf(error) === 'STORE_CORRUPT') return error
    throw error
  }
}

async function inspectLane(store: StoreReader, head: Head, lane: Lane): Promise<LaneInspection> {
  const [entry] = await store.entries(eventRange(lane, head.first[lane], head.position), 1)
  const about = { events: head.depth[lane], bytes: head.bytes[lane] }
  if (!entry) return about
  const event = decodeRecord(lane, Number(entry[0].slice(4)), entry[1])
  const { sequence, deviceId, type, recordedAtMs, admittedSteadyMs, position } = event
  const ageMs = Math.max(0, head.steadyMs - admittedSteadyMs - creditOf(head, position))
  return {
    ...about,
    oldest: { sequence, deviceId, type, recordedAt: new Date(recordedAtMs).toISOString(), ageMs },
  }
}

async function headOf(store: StoreReader): Promise<Head> {
  const head = decodeHead(await store.get(headKey))
  if (head) return head
  throw new TidegateError('OUTBOX_HEADLESS', {
    message: 'the outbox has no head record that can be read',
    retryable: false,
    hint: 'tidegate outbox repair counts what is there and begins a new epoch; so does the gateway when it starts',
  })
}

async function devicesOf(store: StoreReader): Promise<Map<string, Usage>> {
  return new Map(
    (await store.entries(allDevices, 10_000_000)).map(([key, value]) => {
      const [events = 0, bytes = 0] = value.split(' ').map(Number)
      return [key.slice(2), { events, bytes }]
    }),
  )
}

/** Whether `event` follows `before` where the two are neighbours in one epoch, or begins its epoch. */
function chained(head: Head, before: StoredEvent | undefined, event: StoredEvent): boolean {
  if (event.sequence === 1 && event.position - 1 === head.epochBase) {
    return verifyChain(event.text, genesis(head.gateway, head.epoch))
  }
  const neighbours = before?.position === event.position - 1 && before.sequence === event.sequence - 1
  return !neighbours || verifyChain(event.text, claimedChain(before.text) ?? '')
}

/** Deadlines of queued events. One whose event was lost does no harm: it goes when it is due. */
async function countDeadlines(store: StoreReader): Promise<number> {
  let indexed = 0
  for (let { gte, lt } = allExpiries; ;) {
    const entries = await store.entries({ gte, lt }, 1000)
    for (const [key] of entries) {
      const { position, lane } = parseExpiryKey(key)
      const [event] = await store.entries(eventRange(lane, position, position), 1)
      if (event) indexed += 1
    }
    const last = entries.at(-1)
    if (!last || entries.length < 1000) return indexed
    gte = `${last[0]}\u0000`
  }
}

function count(usage: Usage, bytes: number): Usage {
  usage.events += 1
  usage.bytes += bytes
  return usage
}
