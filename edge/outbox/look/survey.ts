import type { Lane } from '../outbox.ts'
import type { StoreReader } from '../../store/store.ts'
import type { Head } from '../layout/head.ts'
import { type OldestEvent, oldestOf } from './oldest-event.ts'
import type { Usage } from '../layout/usage.ts'
import { readable, type StoredEvent } from '../layout/record.ts'
import { queuedOf } from '../layout/queued.ts'

export interface DeviceInspection extends Usage {
  deviceId: string
  /** Absent: the high lane holds more than is looked at. */
  lanes?: Record<Lane, Usage>
  /** Absent: none of it is among the oldest of its lane, which are all that is looked at. */
  oldest?: OldestEvent
}

export interface SurveyOptions {
  nowMs: number
  /** Events of a lane that are looked at, the oldest first. */
  looksMax: number
}

/** What each of these devices has in which lane, and since when. Only totals are kept for each, so events are read. */
export async function survey(
  store: StoreReader,
  head: Head,
  devices: ReadonlyMap<string, Usage>,
  { nowMs, looksMax }: SurveyOptions,
): Promise<DeviceInspection[]> {
  const high = await walk(store, head, 'high', { devices: new Set(devices.keys()), looksMax })
  const highOf = (deviceId: string): Usage => high.seen.get(deviceId)?.usage ?? { events: 0, bytes: 0 }
  const inNormal = [...devices].filter(
    ([deviceId, { events }]) => !high.whole || events > highOf(deviceId).events,
  )
  const normal = await walk(store, head, 'normal', {
    devices: new Set(inNormal.map(([deviceId]) => deviceId)),
    looksMax,
    untilAllSeen: true,
  })
  return [...devices].map(([deviceId, { events, bytes }]) => {
    const urgent = highOf(deviceId)
    const lanes = { high: urgent, normal: { events: events - urgent.events, bytes: bytes - urgent.bytes } }
    const firsts = [high.seen.get(deviceId), normal.seen.get(deviceId)].flatMap((seen) => seen?.first ?? [])
    const [first] = firsts.toSorted((a, b) => a.position - b.position)
    const oldest = first && oldestOf(head, first, nowMs)
    // Where one lane was not looked through, an older one may be there.
    const certain = (high.whole || high.seen.has(deviceId)) && (normal.whole || normal.seen.has(deviceId))
    return {
      deviceId,
      events,
      bytes,
      ...(high.whole ? { lanes } : {}),
      ...(oldest ? { oldest: { ...oldest, ageAtLeast: oldest.ageAtLeast || !certain } } : {}),
    }
  })
}

interface Walk {
  seen: Map<string, { first: StoredEvent; usage: Usage }>
  /** What was not seen is not there. */
  whole: boolean
}

async function walk(
  store: StoreReader,
  head: Head,
  lane: Lane,
  options: { devices: ReadonlySet<string>; looksMax: number; untilAllSeen?: boolean },
): Promise<Walk> {
  const { devices, looksMax, untilAllSeen = false } = options
  const seen: Walk['seen'] = new Map()
  if (devices.size === 0) return { seen, whole: true }
  let looks = 0
  for await (const entry of queuedOf(store, lane, head.first[lane])) {
    if (looks++ === looksMax) return { seen, whole: false }
    const event = readable(entry)
    if (event instanceof Error || !devices.has(event.deviceId)) continue
    const known = seen.get(event.deviceId)
    if (!known) seen.set(event.deviceId, { first: event, usage: { events: 1, bytes: event.bytes } })
    else {
      known.usage.events += 1
      known.usage.bytes += event.bytes
    }
    if (untilAllSeen && seen.size === devices.size) break
  }
  return { seen, whole: true }
}
