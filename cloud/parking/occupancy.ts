import type { Clock } from '../../src/clock.ts'
import { isAbort, TidegateError } from '../../src/errors.ts'
import type { Occupancy } from './parking.ts'

/** What may wait in one group (G7). */
export interface ParkingBounds {
  devicesMax: number
  eventsMax: number
}

/** How much waits, as of the last count and with what this instance has added since. */
export interface Room {
  readonly occupancy: Occupancy
  /** @throws TidegateError `PARKING_FULL` */
  refuseDevice(): void
  /** @throws TidegateError `PARKING_FULL` */
  refuseEvents(): void
  added(devices: number, events: number): void
  /** Resolves once it is aborted. */
  readonly closed: Promise<void>
}

export interface RoomOptions extends ParkingBounds {
  group: string
  count: () => Promise<Occupancy>
  clock: Clock
  /** Ends the counting. */
  signal: AbortSignal
}

/** So much can other instances add before this one knows of it. */
const countEveryMs = 5_000

const empty: Occupancy = { retrying: 0, held: 0, events: 0, oldestMs: 0 }

export function createRoom(options: RoomOptions): Room {
  const { group, devicesMax, eventsMax, count, clock, signal } = options
  let occupancy = empty

  function refuse(what: string, is: number, max: number, key: string): void {
    if (is < max) return
    throw new TidegateError('PARKING_FULL', {
      message: `${is} ${what} of ${group} are parked, and ${max} are the most`,
      retryable: true,
      hint: `see why its events fail, and release what is held: docs/OPERATIONS.md, Parked devices; or raise parking.${key}`,
    })
  }

  async function keepCounting(): Promise<void> {
    while (!signal.aborted) {
      try {
        occupancy = await count()
      } catch {
        // Whoever needs the database tells of it; the count of before stands.
      }
      await clock.sleep(countEveryMs, signal).catch((error: unknown) => {
        if (!isAbort(error)) throw error
      })
    }
  }

  return {
    get occupancy() {
      return occupancy
    },
    refuseDevice: () => refuse('devices', occupancy.retrying + occupancy.held, devicesMax, 'devicesMax'),
    refuseEvents: () => refuse('events', occupancy.events, eventsMax, 'eventsMax'),
    added(devices, events) {
      occupancy = { ...occupancy, retrying: occupancy.retrying + devices, events: occupancy.events + events }
    },
    closed: keepCounting(),
  }
}
