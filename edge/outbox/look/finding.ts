import {
  deviceSource,
  type Event,
  eventKey,
  rejectedType,
  type Rejection,
} from '../../../src/contract/event.ts'
import type { Lane } from '../outbox.ts'
import type { StoreReader } from '../../store/store.ts'
import { headOf } from './inspection.ts'
import { sequenceOf } from '../layout/head.ts'
import { allGenerations, parseGenerationKey, rememberedRange, sortedRange } from '../layout/keys.ts'
import { readable } from '../layout/record.ts'
import { queued } from '../layout/queued.ts'
import { hashOf } from '../rules/dedup.ts'
import { holdsHash } from '../rules/generation.ts'
import { readUndelivered } from '../rules/undelivered.ts'

export interface FindAsked {
  /** Of the event, or the one that its device gave a reading that was rejected. */
  id: string
  /** Whose; without it nobody can ask whether it is remembered: only a hash of both is. */
  deviceId?: string | undefined
}

export interface FoundEvent {
  deviceId: string
  type: string
  epoch: string
  sequence: number
  lane: Lane
  recordedAt: string
  /** Of a reading that was rejected: why. */
  rejected?: string
}

/** As far as a folder can know. */
export interface Finding {
  queued: FoundEvent[]
  /** It was admitted within the dedup window; undefined: the device was not named. */
  remembered?: boolean
  /** Places that nothing will be delivered for, and of which the cloud has not been told yet. */
  undelivered: { from: number; to: number; reason: string; epoch: string }[]
  /** Records that cannot be read: one of them may be it. */
  damaged: number
  epoch: string
  lastSequence: number
}

const undeliveredMax = 1000

/** Reads the whole queue, in flat memory. @throws TidegateError `OUTBOX_HEADLESS` */
export async function find(store: StoreReader, { id, deviceId }: FindAsked): Promise<Finding> {
  const head = await headOf(store)
  const found: FoundEvent[] = []
  let damaged = 0
  for await (const entry of queued(store)) {
    const event = readable(entry)
    if (event instanceof Error) {
      damaged += 1
      continue
    }
    if (deviceId !== undefined && event.deviceId !== deviceId) continue
    const rejection = event.type === rejectedType ? rejectionIn(event.text) : undefined
    if (event.id !== id && rejection?.id !== id) continue
    found.push({
      deviceId: event.deviceId,
      type: event.type,
      epoch: (JSON.parse(event.text) as Event).epoch,
      sequence: event.sequence,
      lane: event.lane,
      recordedAt: new Date(event.recordedAtMs).toISOString(),
      ...(rejection && { rejected: rejection.reason }),
    })
  }
  const { readable: ranges } = await readUndelivered(store, undeliveredMax)
  return {
    queued: found,
    ...(deviceId !== undefined && {
      remembered: await remembers(
        store,
        head.generation.number,
        hashOf(eventKey({ source: deviceSource(deviceId), id })),
      ),
    }),
    undelivered: ranges.map(({ from, to, epochBase, reason, epoch }) => ({
      from: from - epochBase,
      to: to - epochBase,
      reason,
      epoch,
    })),
    damaged,
    epoch: head.epoch,
    lastSequence: sequenceOf(head, head.position),
  }
}

function rejectionIn(text: string): Rejection | undefined {
  try {
    return (JSON.parse(text) as { data: Rejection }).data
  } catch {
    return undefined
  }
}

async function remembers(store: StoreReader, current: number, hash: string): Promise<boolean> {
  const closed = (await store.entries(allGenerations, 10_000)).map(([key]) => parseGenerationKey(key))
  for (const generation of new Set([current, ...closed])) {
    const sorted = await store.entries(sortedRange(generation, hash), 1)
    if (sorted.some((record) => holdsHash(record, hash))) return true
    for await (const chunk of store.chunks(rememberedRange(generation)))
      if (chunk.some((record) => holdsHash(record, hash))) return true
  }
  return false
}
