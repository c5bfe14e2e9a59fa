import type { Fate, Message } from './sensors.ts'
import { createLatencies, type LatencySummary } from './latencies.ts'

/** Messages of one fate: sent for the first time, and acknowledged. */
interface Count {
  published: number
  acknowledged: number
}

/** What the fleet itself knows, independent of what it tests. */
export interface Totals {
  byFate: Record<Fate, Count>
  /** Distinct events: every fate but repeats. */
  published: number
  acknowledged: number
  /** Messages without their acknowledgement. */
  unacknowledged: number
  /** From the first sending of a message to its PUBACK. */
  pubackMs: LatencySummary
}

interface Page {
  byFate: Record<Fate, Count>
  /** The one topic within which the device's IDs are unique, if they are so within a topic. */
  topic?: string
  numbers: Numbers
}

/** The numbers of a device's events, as ranges would be: everything up to one, and what came ahead of its turn. */
interface Numbers {
  upTo: number
  ahead: Set<number>
}

const fates = ['stored', 'implausible', 'repeat', 'rejected'] as const

function nothing(): Record<Fate, Count> {
  return {
    stored: { published: 0, acknowledged: 0 },
    implausible: { published: 0, acknowledged: 0 },
    repeat: { published: 0, acknowledged: 0 },
    rejected: { published: 0, acknowledged: 0 },
  }
}

export interface Book {
  published(deviceId: string, message: Message): void
  acknowledged(deviceId: string, message: Message, latencyMs: number): void
  /** Of one device, or of all. */
  totals(deviceId?: string): Totals
  /** Every acknowledged event that has an ID of its own, device by device. */
  acknowledgedEvents(): Iterable<NumberedEvent>
}

export interface NumberedEvent {
  deviceId: string
  n: number
  /** Within which its ID is unique; absent: among all that the device says. */
  topic?: string
}

/** The fleet's own book: memory grows with the number of devices, not of events. */
export function createBook(): Book {
  const devices = new Map<string, Page>()
  const latencies = createLatencies()

  function pageOf(deviceId: string): Page {
    let page = devices.get(deviceId)
    if (!page) devices.set(deviceId, (page = { byFate: nothing(), numbers: { upTo: 0, ahead: new Set() } }))
    return page
  }

  return {
    published(deviceId, message) {
      pageOf(deviceId).byFate[message.fate].published += 1
    },
    acknowledged(deviceId, message, latencyMs) {
      const page = pageOf(deviceId)
      const { byFate, numbers } = page
      if (message.idWithinTopic) page.topic = message.topic
      byFate[message.fate].acknowledged += 1
      latencies.add(latencyMs)
      if (message.n !== undefined && message.fate !== 'repeat') add(numbers, message.n)
    },
    totals(deviceId) {
      const pages = deviceId === undefined ? [...devices.values()] : [pageOf(deviceId)]
      const byFate = nothing()
      for (const page of pages) {
        for (const fate of fates) {
          byFate[fate].published += page.byFate[fate].published
          byFate[fate].acknowledged += page.byFate[fate].acknowledged
        }
      }
      const { stored, implausible, rejected, repeat } = byFate
      const sum = (field: keyof Count): number => stored[field] + implausible[field] + rejected[field]
      const published = sum('published')
      const acknowledged = sum('acknowledged')
      return {
        byFate,
        published,
        acknowledged,
        unacknowledged: published - acknowledged + repeat.published - repeat.acknowledged,
        pubackMs: latencies.summary(),
      }
    },
    *acknowledgedEvents() {
      for (const [deviceId, { numbers, topic }] of devices) {
        const { upTo, ahead } = numbers
        const within = topic === undefined ? {} : { topic }
        for (let n = 1; n <= upTo; n += 1) yield { deviceId, n, ...within }
        for (const n of ahead) yield { deviceId, n, ...within }
      }
    },
  }
}

function add(numbers: Numbers, n: number): void {
  if (n <= numbers.upTo) return
  numbers.ahead.add(n)
  while (numbers.ahead.delete(numbers.upTo + 1)) numbers.upTo += 1
}
