import type { Lane } from '../outbox.ts'
import type { Store } from '../../store/store.ts'
import { eventRange, positionOfEventKey } from '../layout/keys.ts'
import type { Head } from '../layout/head.ts'
import type { LanesOptions } from '../options.ts'
import type { Allowance, Pace } from './pace.ts'
import { decodeRecord, type StoredEvent } from '../layout/record.ts'

/** No event's text is shorter: no more of them need to be read than could go. */
const eventBytesMin = 256
const nothing: Allowance = { events: 0, bytes: 0 }

/**
 * The order in which events leave. Three streams over two key ranges, each read by a cursor that only moves
 * forward, so that what was released is never scanned again:
 *
 *     high                                  [first … ∞)
 *     normal   backlog  [first … boundary]  live  (boundary … ∞)
 *
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
export function createLanes(
  store: Store,
  pace: Pace,
  options: LanesOptions,
  first: Record<Lane, number>,
  boundary = -1,
): Lanes {
  return new LanesOfStore(store, pace, options, first, boundary)
}

class LanesOfStore implements Lanes {
  readonly #store: Store
  readonly #pace: Pace
  readonly #options: LanesOptions
  readonly #high: Cursor
  readonly #live: Cursor
  readonly #backlog: Cursor

  constructor(
    store: Store,
    pace: Pace,
    options: LanesOptions,
    first: Record<Lane, number>,
    boundary: number,
  ) {
    this.#store = store
    this.#pace = pace
    this.#options = options
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
    const events = await this.#readFrom(this.#high, { events: eventsMax, bytes: Infinity }, last, skip)
    let room = eventsMax - events.length
    const allowed = this.#hasBacklog ? this.#pace.allowance() : nothing
    const kept = Math.min(allowed.events, Math.ceil(room * this.#options.backlogShareMin))
    const fromLive = await this.#readFrom(this.#live, { events: room - kept, bytes: Infinity }, last, skip)
    room -= fromLive.length
    const paced = { events: Math.min(room, allowed.events), bytes: allowed.bytes }
    const fromBacklog = await this.#readFrom(this.#backlog, paced, last, skip)
    if (fromBacklog.length > 0) {
      this.#pace.spend(
        fromBacklog.length,
        fromBacklog.reduce((sum, event) => sum + event.bytes, 0),
      )
    }
    return [...events, ...fromLive, ...fromBacklog]
  }

  again(first: Record<Lane, number>): Lanes {
    return createLanes(this.#store, this.#pace, this.#options, first, this.boundary)
  }

  advance(lane: Lane, position: number): void {
    for (const cursor of lane === 'high' ? [this.#high] : [this.#live, this.#backlog]) {
      cursor.next = Math.max(cursor.next, position)
    }
  }

  split(last: number, normalDepth: number): void {
    if (this.#options.catchUp === 'in-order' || normalDepth <= this.#options.inOrderBelow) return
    this.#backlog.next = this.#live.next
    this.#backlog.until = last
    this.#live.next = last + 1
  }

  backlogLeft(): number {
    return Math.max(0, this.#backlog.until - this.#backlog.next + 1)
  }

  waitMs(last: Last): number {
    if (this.#high.next <= last.newest.high || this.#live.next <= last.newest.normal) return 0
    if (!this.#hasBacklog) return Infinity
    return this.#pace.allowance().events >= 1 ? 0 : Math.max(1, this.#pace.waitMs())
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
    while (events.length < eventsMax && cursor.next <= to) {
      const limit = Math.min(eventsMax - events.length, Math.ceil((bytesMax - bytes) / eventBytesMin))
      const entries = await this.#store.entries(eventRange(cursor.lane, cursor.next, to), limit)
      for (const [key, value] of entries) {
        const position = positionOfEventKey(key)
        const event = skip(position) ? undefined : decodeRecord(cursor.lane, position, value)
        cursor.next = position + 1
        if (!event) continue
        events.push(event)
        bytes += event.bytes
        if (bytes >= bytesMax) return events
      }
      if (entries.length < limit) cursor.next = to + 1
    }
    return events
  }
}
