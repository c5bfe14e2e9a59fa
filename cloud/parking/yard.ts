import type { Event } from '../../src/contract/event.ts'
import type { Delivery, Enclosure } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import { waitingEnclosure } from '../letters/letters.ts'
import type { Room } from './occupancy.ts'
import { parkedEvent } from './parked.ts'
import type { ParkingIn, Trial } from './parking.ts'

/** An event that could be read. */
export interface Readable {
  delivery: Delivery
  event: Event
}

/** Where the lanes of a group leave what has to wait. */
export interface Yard {
  /**
   * Those of them whose device is parked: they wait now, in their order, if the transaction is committed. The device of none of the others
   * is parked before they are. @throws TidegateError `PARKING_FULL`
   */
  divert<Item extends Readable>(tx: Transaction, items: readonly Item[]): Promise<ReadonlySet<Item>>
  /** Parks the device of an event that failed, in a transaction of its own. @throws TidegateError `PARKING_FULL`, `DATABASE_*` */
  park(failed: Readable, trial: Trial, enclosure: Enclosure): Promise<void>
}

export interface YardOptions {
  group: string
  instance: string
  storage: Storage
  parkingIn: ParkingIn
  room: Room
  /** Aborted: nothing is waited for any longer. */
  cutOff: AbortSignal
}

export function createYard({ group, instance, storage, parkingIn, room, cutOff }: YardOptions): Yard {
  return {
    async divert(tx, items) {
      const parking = parkingIn(tx)
      const devices = [...new Set(items.map(({ event }) => event.partitionkey))]
      const parked = await parking.parked(group, devices)
      const diverted = items.filter(({ event }) => parked.has(event.partitionkey))
      if (diverted.length === 0) return new Set()
      room.refuseEvents()
      const events = diverted.map(({ delivery, event }) =>
        parkedEvent(delivery, event, waitingEnclosure({ delivery, group, instance })),
      )
      room.added(0, await parking.add(group, events))
      return new Set(diverted)
    },
    async park({ delivery, event }, trial, enclosure) {
      const [devices, events] = await storage.transaction(async (tx) => {
        const parking = parkingIn(tx)
        room.refuseEvents()
        const isNew = await parking.park(group, event.partitionkey, trial)
        if (isNew) room.refuseDevice()
        return [Number(isNew), await parking.add(group, [parkedEvent(delivery, event, enclosure)])] as const
      }, cutOff)
      room.added(devices, events)
    },
  }
}
