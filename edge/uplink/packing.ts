import { partitionOf } from '../../src/contract/wire.ts'
import type { Queued } from '../outbox/outbox.ts'
import type { Shipment } from './exchange.ts'

export interface PackingOptions {
  /** Events in one message, at the most; with 1 each leaves alone. */
  eventsMax: number
  /** Of the array that they make; what is longer by itself leaves alone. */
  bytesMax: number
  /** Must equal the exchange's. */
  partitions: number
}

interface Open {
  events: [Queued, ...Queued[]]
  bytes: number
}

/**
 * What leaves together. Nobody waits for company: what is there is packed. Events of one partition stay in their order,
 * whatever their types, so that each device's do (G6); and no lane shares a message with another. What a batch says of itself is true of
 * all of it: one gateway, one epoch, sequences that rise.
 */
export class Packing {
  readonly #options: PackingOptions
  /** Positions of events that leave alone, because a message that they were in did not arrive. */
  #alone: ReadonlySet<number> = new Set()

  constructor(options: PackingOptions) {
    this.#options = options
  }

  /** Whether events are put together at all. */
  get joins(): boolean {
    return this.#options.eventsMax > 1
  }

  pack(events: readonly Queued[]): Shipment[] {
    if (!this.joins) return events.map((event) => [event])
    const packed: Shipment[] = []
    /** The last of each partition: what comes next may be joined to it. */
    const open = new Map<number, Open>()
    for (const event of events) {
      const partition = partitionOf(event.deviceId, this.#options.partitions)
      // With a comma or a bracket.
      const bytes = Buffer.byteLength(event.text) + 1
      const last = open.get(partition)
      if (last && this.#fits(event, bytes, last)) {
        last.events.push(event)
        last.bytes += bytes
      } else {
        const next: Open = { events: [event], bytes: bytes + 1 }
        open.set(partition, next)
        packed.push(next.events)
      }
    }
    return packed
  }

  /**
   * These did not arrive, perhaps because of what they are put together in: the events of batches leave alone from now on, and those
   * that did so already still do (G3). What was said of others is forgotten, so that no more is remembered than was under way at once (G7).
   */
  takeApart(shipments: Iterable<Shipment>): void {
    const all = [...shipments]
    if (all.every(({ length }) => length === 1)) return
    const alone = all.filter(([{ position }, ...others]) => others.length > 0 || this.#alone.has(position))
    this.#alone = new Set(alone.flat().map(({ position }) => position))
  }

  #fits(event: Queued, bytes: number, { events, bytes: taken }: Open): boolean {
    const [first] = events
    const last = events.at(-1) ?? first
    const { eventsMax, bytesMax } = this.#options
    return (
      event.type === first.type &&
      event.lane === first.lane &&
      epochBase(event) === epochBase(first) &&
      event.sequence > last.sequence &&
      events.length < eventsMax &&
      taken + bytes <= bytesMax &&
      !this.#alone.has(event.position) &&
      !this.#alone.has(first.position)
    )
  }
}

/** Where the event's epoch begins in the outbox: another epoch, or gateway, begins elsewhere. */
function epochBase({ position, sequence }: Queued): number {
  return position - sequence
}
