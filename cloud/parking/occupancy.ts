import type { Clock } from '../../src/clock.ts'
import { isAbort } from '../../src/errors.ts'
import type { Occupancy } from './parking.ts'

/** What may wait in one group (G7). What there is no room for becomes a dead letter, and holds nobody up. */
export interface ParkingBounds {
  devicesMax: number
  eventsMax: number
  eventsMaxPerDevice: number
}

/** How much waits, as of the last count and with what this instance has added since. */
export interface Room {
  readonly occupancy: Occupancy
  readonly bounds: ParkingBounds
  /** For how many more of them there is room. */
  readonly devicesLeft: number
  readonly eventsLeft: number
  /** Most devices that are parked wait for a schema: what there is no room for is no overflow of theirs, but waits as well. */
  readonly awaitsSchema: boolean
  /** Whether it was counted since this instance began. Before that nobody knows that there is no room, and for what. */
  readonly isCounted: boolean
  /** Counted as soon as it is committed; `awaiting`: so many of the devices wait for a schema. */
  added(devices: number, events: number, awaiting?: number): void
  /** Resolves once it is aborted. */
  readonly closed: Promise<void>
}

export interface RoomOptions {
  bounds: ParkingBounds
  count: () => Promise<Occupancy>
  clock: Clock
  /** Ends the counting. */
  signal: AbortSignal
}

/** So much can other instances add before this one knows of it. */
const countEveryMs = 5_000
/** Until the first count: it is soon after the database is there. */
const countFirstEveryMs = 500

const empty: Occupancy = { retrying: 0, held: 0, awaiting: 0, events: 0, oldestMs: 0 }

export function createRoom({ bounds, count, clock, signal }: RoomOptions): Room {
  let occupancy = empty
  let isCounted = false

  async function keepCounting(): Promise<void> {
    while (!signal.aborted) {
      try {
        occupancy = await count()
        isCounted = true
      } catch {
        // Whoever needs the database tells of it; the count of before stands.
      }
      await clock.sleep(isCounted ? countEveryMs : countFirstEveryMs, signal).catch((error: unknown) => {
        if (!isAbort(error)) throw error
      })
    }
  }

  return {
    bounds,
    get occupancy() {
      return occupancy
    },
    get devicesLeft() {
      return Math.max(0, bounds.devicesMax - occupancy.retrying - occupancy.held)
    },
    get eventsLeft() {
      return Math.max(0, bounds.eventsMax - occupancy.events)
    },
    get awaitsSchema() {
      return occupancy.awaiting > (occupancy.retrying + occupancy.held) / 2
    },
    get isCounted() {
      return isCounted
    },
    added(devices, events, awaiting = 0) {
      const retrying = Math.max(0, occupancy.retrying + devices)
      occupancy = {
        ...occupancy,
        retrying,
        // Which of them has gone the next count says.
        awaiting: Math.min(occupancy.awaiting + awaiting, retrying + occupancy.held),
        events: Math.max(0, occupancy.events + events),
      }
    },
    closed: keepCounting(),
  }
}
