import type { Fate, Message } from './sensors.ts'
import { createLatencies, type LatencySummary } from './latencies.ts'

/** Messages of one fate: sent for the first time, and acknowledged. */
export interface Count {
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

/** The numbers of a device's events, as ranges would be: everything up to one, and what came ahead of its turn. */
interface Numbers {
  upTo: number
  ahead: Set<number>
}

export interface Book {
  published(message: Message): void
  acknowledged(deviceId: string, message: Message, latencyMs: number): void
  totals(): Totals
  /** Every acknowledged event that has an ID of its own, device by device. */
  acknowledgedEvents(): Iterable<{ deviceId: string; n: number }>
}

/** The fleet's own book: memory grows with the number of devices, not of events. */
export function openBook(): Book {
  const zero = (): Count => ({ published: 0, acknowledged: 0 })
  const byFate: Record<Fate, Count> = {
    stored: zero(),
    implausible: zero(),
    repeat: zero(),
    rejected: zero(),
  }
  const devices = new Map<string, Numbers>()
  const latencies = createLatencies()

  return {
    published(message) {
      byFate[message.fate].published += 1
    },
    acknowledged(deviceId, message, latencyMs) {
      byFate[message.fate].acknowledged += 1
      latencies.add(latencyMs)
      if (message.n === undefined || message.fate === 'repeat') return
      let numbers = devices.get(deviceId)
      if (!numbers) devices.set(deviceId, (numbers = { upTo: 0, ahead: new Set() }))
      add(numbers, message.n)
    },
    totals() {
      const { stored, implausible, rejected, repeat } = byFate
      const sum = (field: keyof Count): number => stored[field] + implausible[field] + rejected[field]
      const published = sum('published')
      const acknowledged = sum('acknowledged')
      return {
        byFate: structuredClone(byFate),
        published,
        acknowledged,
        unacknowledged: published - acknowledged + repeat.published - repeat.acknowledged,
        pubackMs: latencies.summary(),
      }
    },
    *acknowledgedEvents() {
      for (const [deviceId, { upTo, ahead }] of devices) {
        for (let n = 1; n <= upTo; n += 1) yield { deviceId, n }
        for (const n of ahead) yield { deviceId, n }
      }
    },
  }
}

function add(numbers: Numbers, n: number): void {
  if (n <= numbers.upTo) return
  numbers.ahead.add(n)
  while (numbers.ahead.delete(numbers.upTo + 1)) numbers.upTo += 1
}
