import type { Lane } from '../outbox.ts'
import type { Store } from '../../store/store.ts'
import type { Gone } from '../layout/gone.ts'
import { eventRange, parseBlockKey } from '../layout/keys.ts'
import type { Head } from '../layout/head.ts'
import type { LanesOptions } from '../options.ts'
import type { Allowance, Pace } from './pace.ts'
import { queuedIn } from '../layout/queued.ts'
import { decodeRecord, type StoredEvent } from '../layout/record.ts'

/** What is read of the store for each event that may go: as much as most of them take, their records included. */
const bytesPerEvent = 1024
/** One trip to the disk brings no more, whatever may go. */
const bytesPerReadMax = 1 << 20
const nothing: Allowance = { events: 0, bytes: 0 }

/**
 * The order in which events leave. Three streams over two key ranges, each read by a cursor that only moves
 * forward, so that what was released is never scanned again:
 *
 *     high                                  [first … ∞)
 *     normal   backlog  [first … boundary]  live  (boundary … ∞)
 *
 * The high lane goes first and leaves the normal one its part for as long as that has anything; the backlog has its part of that.
 * The boundary is the last position given out when the uplink came back; it lives in memory only, because
 * after a restart everything queued is backlog. It outlives a store that had to be opened again.
 */
export interface Lanes {
  /** Reads up to `eventsMax` events in the lanes' order; `skip` says which positions are taken care of. */
  read(eventsMax: number, last: Last, skip: (position: number) => boolean): Promise<StoredEvent[]>
  /** The uplink is (back) up: splits the normal lane at `last` if it holds more than a little. */
  split(last: number, normalDepth: number): void
  /** Unread part of the backlog, in positions: at least the events that still drain. */
  backlogLeft(): number
  /** Last position of the backlog; -1 while there is none. */
  readonly boundary: number
  /** Lanes that start at other positions, with the same boundary. These are not read any more. */
  again(first: Record<Lane, number>): Lanes
  /** Nothing of the lane is queued below `position`: evicted. */
  advance(lane: Lane, position: number): void
  /** No position of the lane below this one is still to be read. */
  readonly next: Record<Lane, number>
  /** 0 if something but the paced backlog is unread; else how long to wait for it, ms. */
  waitMs(last: Last): number
}

/** How far there are events, of both lanes and of each. */
export type Last = Pick<Head, 'position' | 'newest'>

interface Cursor {
  readonly lane: Lane
  next: number
  until: number
}

/** Lanes that start at the first queued position of each lane. To start again, make new ones. */
export function createLanes(parts: LanesParts): Lanes {
  return new LanesOfStore(parts)
}

interface LanesParts {
  store: Store
  gone: Gone
  pace: Pace
  options: LanesOptions
  first: Record<Lane, number>
  /** Last position of the backlog; absent while there is none. */
  boundary?: number
}

class LanesOfStore implements Lanes {
  readonly #parts: LanesParts
  readonly #high: Cursor
  readonly #live: Cursor
  readonly #backlog: Cursor
  /** The normal lane's part of what has left, as far as it makes no whole event yet. */
  #normalOwed = 0
  /** The same of the backlog's part of that. */
  #backlogOwed = 0

  constructor(parts: LanesParts) {
    const { first, boundary = -1 } = parts
    this.#parts = parts
    this.#high = { lane: 'high', next: first.high, until: Infinity }
    this.#live = { lane: 'normal', next: Math.max(first.normal, boundary + 1), until: Infinity }
    this.#backlog = { lane: 'normal', next: first.normal, until: boundary }
  }

  get boundary(): number {
    return this.#backlog.until
  }

  get next(): Record<Lane, number> {
    return { high: this.#high.next, normal: this.#hasBacklog ? this.#backlog.next : this.#live.next }
  }

  async read(eventsMax: number, last: Last, skip: (position: number) => boolean): Promise<StoredEvent[]> {
    const { normalShareMin } = this.#parts.options
    const isNormalReady = this.#normalWaitMs(last) === 0
    const owed = isNormalReady ? this.#normalOwed + eventsMax * normalShareMin : 0
    // A fifth of five is to be one, whatever becomes of fractions.
    const kept = Math.min(eventsMax, Math.floor(owed + 1e-9))
    const high = { events: eventsMax - kept, bytes: Infinity }
    const fromHigh = await this.#readFrom(this.#high, high, last, skip)
    const fromNormal = await this.#readNormal(eventsMax - fromHigh.length, last, skip)
    const left = { events: eventsMax - fromHigh.length - fromNormal.length, bytes: Infinity }
    const all = [...fromHigh, ...fromNormal, ...(await this.#readFrom(this.#high, left, last, skip))]
    const isServed = isNormalReady && fromNormal.length >= kept
    const rest = this.#normalOwed + all.length * normalShareMin - fromNormal.length
    this.#normalOwed = isServed ? Math.max(0, rest) : 0
    return all
  }

  async #readNormal(
    eventsMax: number,
    last: Last,
    skip: (position: number) => boolean,
  ): Promise<StoredEvent[]> {
    const { backlogShareMin } = this.#parts.options
    const allowed = this.#hasBacklog ? this.#parts.pace.allowance() : nothing
    const isBacklogReady = allowed.events >= 1
    const owed = isBacklogReady ? this.#backlogOwed + eventsMax * backlogShareMin : 0
    const kept = Math.min(eventsMax, allowed.events, Math.floor(owed + 1e-9))
    const live = { events: eventsMax - kept, bytes: Infinity }
    const fromLive = await this.#readFrom(this.#live, live, last, skip)
    const paced = { events: Math.min(eventsMax - fromLive.length, allowed.events), bytes: allowed.bytes }
    const fromBacklog = await this.#readFrom(this.#backlog, paced, last, skip)
    if (fromBacklog.length > 0) {
      this.#parts.pace.spend(
        fromBacklog.length,
        fromBacklog.reduce((sum, event) => sum + event.bytes, 0),
      )
    }
    const all = [...fromLive, ...fromBacklog]
    const isServed = isBacklogReady && fromBacklog.length >= kept
    const rest = this.#backlogOwed + all.length * backlogShareMin - fromBacklog.length
    this.#backlogOwed = isServed ? Math.max(0, rest) : 0
    return all
  }

  again(first: Record<Lane, number>): Lanes {
    return createLanes({ ...this.#parts, first, boundary: this.boundary })
  }

  advance(lane: Lane, position: number): void {
    for (const cursor of lane === 'high' ? [this.#high] : [this.#live, this.#backlog]) {
      cursor.next = Math.max(cursor.next, position)
    }
  }

  split(last: number, normalDepth: number): void {
    if (this.#parts.options.catchUp === 'in-order' || normalDepth <= this.#parts.options.inOrderBelow) return
    this.#backlog.next = this.#live.next
    this.#backlog.until = last
    this.#live.next = last + 1
  }

  backlogLeft(): number {
    return Math.max(0, this.#backlog.until - this.#backlog.next + 1)
  }

  waitMs(last: Last): number {
    return this.#high.next <= last.newest.high ? 0 : this.#normalWaitMs(last)
  }

  #normalWaitMs(last: Last): number {
    if (this.#live.next <= last.newest.normal) return 0
    if (!this.#hasBacklog) return Infinity
    return this.#parts.pace.allowance().events >= 1 ? 0 : Math.max(1, this.#parts.pace.waitMs())
  }

  get #hasBacklog(): boolean {
    return this.#backlog.next <= this.#backlog.until
  }

  async #readFrom(
    cursor: Cursor,
    { events: eventsMax, bytes: bytesMax }: Allowance,
    last: Last,
    skip: (position: number) => boolean,
  ): Promise<StoredEvent[]> {
    const events: StoredEvent[] = []
    let bytes = 0
    const to = Math.min(cursor.until, last.position)
    // Nothing to read: asking the disk would cost a trip for each lane that is quiet.
    if (cursor.next > last.newest[cursor.lane]) cursor.next = Math.max(cursor.next, to + 1)
    const { store, gone } = this.#parts
    while (events.length < eventsMax && cursor.next <= to) {
      const room = eventsMax - events.length
      const worth = Math.min(room * bytesPerEvent, bytesMax - bytes, bytesPerReadMax)
      const blocks = await store.entries(eventRange(cursor.lane, cursor.next), room, worth)
      const last = blocks.at(-1)
      if (!last) cursor.next = to + 1
      for (const entry of queuedIn(blocks, gone, cursor.next)) {
        if (entry.position > to) {
          cursor.next = to + 1
          break
        }
        const event = skip(entry.position) ? undefined : decodeRecord(entry)
        cursor.next = entry.position + 1
        if (!event) continue
        events.push(event)
        bytes += event.bytes
        if (events.length === eventsMax || bytes >= bytesMax) return events
      }
      // What stands at the end of a block may have left it.
      if (last) cursor.next = Math.max(cursor.next, Math.min(to, parseBlockKey(last[0]).last) + 1)
    }
    return events
  }
}
