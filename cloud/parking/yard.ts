import { TidegateError, codeOf, messageOf } from '../../src/errors.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Delivery, Enclosure } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { waitingEnclosure } from '../letters/letters.ts'
import { awaitedCodes } from '../letters/story.ts'
import type { Room } from './occupancy.ts'
import { parkedEvent } from './parked.ts'
import type { ParkingIn, Trial, Waiting } from './parking.ts'

/** An event that could be read. */
export interface Readable {
  delivery: Delivery
  event: Event
}

/** Of a batch, what is not to be handled because its device is parked. */
export interface Diverted<Item> {
  /** They wait now, in their order, if the transaction is committed. */
  waiting: ReadonlySet<Item>
  /** There is no room for them: dead letters, in their order (G7). */
  surplus: ReadonlySet<Item>
  /** Of the devices of both, those whose newest attempt failed. */
  failing: ReadonlySet<string>
}

/** Where the lanes of a group leave what has to wait. An event that waits is claimed in the inbox: nobody else has its effect (G4). */
export interface Yard {
  /**
   * Those of them whose device is parked; the device of none of the others is parked before they are. For what is claimed already.
   * @throws TidegateError `SCHEMA_AWAITED` there is no room, because most devices wait for a schema: the broker keeps what comes (G5, G7)
   */
  divert<Item extends Readable>(tx: Transaction, items: readonly Item[]): Promise<Diverted<Item>>
  /** What `divert` has led aside is committed. */
  committed(diverted: Diverted<unknown>): void
  /**
   * Parks the device of an event that failed, in a transaction of its own. @throws TidegateError `DATABASE_*`, `SCHEMA_AWAITED`
   */
  park(failed: Readable, trial: Trial, enclosure: Enclosure): Promise<Parked>
}

/**
 * `repeat`: another copy of it has had its effect, or waits. `full`: there is no room for another device. `surplus`: its device is parked,
 * and there is no room for another event.
 */
export type Parked = 'parked' | 'repeat' | 'full' | 'surplus'

export interface YardOptions {
  group: string
  instance: string
  dedup: 'inbox' | 'own'
  storage: Storage
  parkingIn: ParkingIn
  room: Room
  /** Aborted: nothing is waited for any longer. */
  cutOff: AbortSignal
}

export function createYard(options: YardOptions): Yard {
  const { group, instance, dedup, storage, parkingIn, room, cutOff } = options

  async function parkWithin(
    tx: Transaction,
    { delivery, event }: Readable,
    trial: Trial,
    enclosure: Enclosure,
  ): Promise<{ outcome: Parked; isNew: boolean }> {
    const isFresh = dedup === 'own' || (await tx.inbox.claim(group, [event]))[0] === true
    if (!isFresh) return { outcome: 'repeat', isNew: false }
    const parking = parkingIn(tx)
    const device = event.partitionkey
    const waiting = (await parking.parked(group, [device])).get(device)
    const fits = waiting ? hasRoom(waiting, 0, room) : room.devicesLeft > 0 && room.eventsLeft > 0
    if (!fits) {
      if (!room.isCounted) throw uncounted(group)
      if (room.awaitsSchema && (!waiting || isWithin(waiting, room))) throw schemaAwaited(group)
      if (waiting) await parking.overflow(group, [device])
      if (dedup === 'inbox') await tx.inbox.release(group, [event])
      return { outcome: waiting ? 'surplus' : 'full', isNew: false }
    }
    if (!waiting) await parking.park(group, device, trial)
    await parking.add(group, [parkedEvent(delivery, event, enclosure)])
    return { outcome: 'parked', isNew: !waiting }
  }

  return {
    async divert(tx, items) {
      const parking = parkingIn(tx)
      const parked = await parking.parked(group, [...new Set(items.map(({ event }) => event.partitionkey))])
      if (parked.size === 0) return nothingDiverted
      const { waiting, surplus, full } = sorted(items, parked, room)
      if (full.size > 0 && !room.isCounted) throw uncounted(group)
      if (room.awaitsSchema && [...parked].some(([device, has]) => full.has(device) && isWithin(has, room)))
        throw schemaAwaited(group)
      const added = [...waiting].map(({ delivery, event }) =>
        parkedEvent(delivery, event, waitingEnclosure({ delivery, group, instance })),
      )
      if (added.length > 0) await parking.add(group, added)
      if (full.size > 0) await parking.overflow(group, [...full])
      const failing = new Set([...parked].filter(([, has]) => has.failing).map(([device]) => device))
      return { waiting, surplus, failing }
    },
    committed: ({ waiting }) => room.added(0, waiting.size),
    async park(failed, trial, enclosure) {
      const { outcome, isNew } = await storage.transaction(
        (tx) => parkWithin(tx, failed, trial, enclosure),
        cutOff,
      )
      const awaits = isNew && trial.state === 'retrying' && awaitedCodes.includes(trial.code)
      if (outcome === 'parked') room.added(Number(isNew), 1, Number(awaits))
      return outcome
    },
  }
}

export const nothingDiverted: Diverted<never> = { waiting: new Set(), surplus: new Set(), failing: new Set() }

/** In their order: once there is no room for one of a device there is none for what comes later of it. */
function sorted<Item extends Readable>(
  items: readonly Item[],
  parked: ReadonlyMap<string, Waiting>,
  room: Room,
): { waiting: Set<Item>; surplus: Set<Item>; full: Set<string> } {
  const waiting = new Set<Item>()
  const surplus = new Set<Item>()
  const full = new Set<string>()
  const now = new Map([...parked].map(([device, has]) => [device, { ...has }]))
  for (const item of items) {
    const device = item.event.partitionkey
    const has = now.get(device)
    if (has === undefined) continue
    if (hasRoom(has, waiting.size, room)) {
      has.events++
      waiting.add(item)
    } else {
      if (!has.overflowed) full.add(device)
      has.overflowed = true
      surplus.add(item)
    }
  }
  return { waiting, surplus, full }
}

function hasRoom(waiting: Waiting, adding: number, room: Room): boolean {
  return isWithin(waiting, room) && adding < room.eventsLeft
}

/** Of all that a group has room for, what a device may take that waits for a schema, or catches up with what has waited for one. */
const shareMax = 0.1

function isWithin({ events, overflowed, waitsOnly }: Waiting, { bounds }: Room): boolean {
  const { eventsMax, eventsMaxPerDevice } = bounds
  const isLong = waitsOnly || events > eventsMaxPerDevice
  const max = isLong ? Math.max(eventsMaxPerDevice, eventsMax * shareMax) : eventsMaxPerDevice
  return !overflowed && events < max
}

/** Nothing is at fault, and nothing is lost: the group waits like in an outage, until somebody brings the schema or the time is over. */
function schemaAwaited(group: string): TidegateError {
  return new TidegateError('SCHEMA_AWAITED', {
    message: `most parked devices of ${group} wait for a version of a schema, and no more events have room to wait: the rest waits at the broker`,
    retryable: true,
    hint: 'deploy the schema, or the consumer that reads it: tidegate parked list says which; docs/VERSIONS.md, What waits',
  })
}

/** What an instance adds before its first count fills its own idea of the room, and no letter is to be made of that (G5). */
function uncounted(group: string): TidegateError {
  return new TidegateError('DATABASE_UNREACHABLE', {
    message: `how much is parked of ${group} could not be counted yet, and there may be no room for more: it waits at the broker`,
    retryable: true,
    hint: 'nothing, if the database has just come back: it is counted within a second; else see whether it runs',
  })
}

/** Of an event that there was no room for; `failed`: what it failed with, if it was tried. */
export function parkingFull(group: string, device: string, failed?: unknown): TidegateError {
  const why = failed === undefined ? '' : `; it failed with ${codeOf(failed)}: ${messageOf(failed)}`
  return new TidegateError('PARKING_FULL', {
    message: `there is no room in ${group} for another event of ${device} to wait${why}`,
    retryable: false,
    hint: 'when nothing of its device waits any longer, replay its letters: docs/OPERATIONS.md, Parked devices',
    cause: failed,
  })
}
