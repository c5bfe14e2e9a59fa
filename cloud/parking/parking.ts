import type { Headers, MessageProperties } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'

/** Of the bodies that one transaction reads of what waits, or makes dead letters of (G7). */
export const transactionBytesMax = 16_777_216

/**
 * Devices of ordered groups whose events wait behind one that fails (G6), within one transaction. Port; the adapter is
 * parking-postgres.ts. A device that has a row here is parked: its events go behind those that wait, and its first is tried again by
 * whoever has claimed it. Nobody else waits.
 */
export interface Parking extends Diversion, Claims, Operation {}

export type ParkingIn = (transaction: Statements) => Parking

/** For the lanes. */
export interface Diversion {
  /** Those of the devices that are parked; none of them is let go before this transaction ends. */
  parked(group: string, devices: readonly string[]): Promise<ReadonlyMap<string, Waiting>>
  /** Parks a device; one that is parked stays as it is. It is not let go before this transaction ends. */
  park(group: string, device: string, trial: Trial): Promise<void>
  /** To the end of what waits, in this order; what waits already stays where it is. For devices that are seen parked by this transaction. */
  add(group: string, events: readonly ParkedEvent[]): Promise<void>
  /** What comes of these waits no more, until they are let go. For devices that are seen parked by this transaction. */
  overflow(group: string, devices: readonly string[]): Promise<void>
}

/** Of a device that is parked. */
export interface Waiting {
  events: number
  /** There was no room for an event of it: what came later must not overtake that. */
  overflowed: boolean
  /** The newest attempt at what waits first failed, whoever made it, and there will be another. */
  failing: boolean
  /** What waits first is at no fault: it waits for a schema, or has not been tried yet. */
  waitsOnly: boolean
}

/** `first`: its first event is in its first tries, and none has hung in this stay; `skipped`: an operator wants letters of it. */
export type Among = 'all' | 'first' | 'skipped'

/** For runners. Whoever has claimed a device proves it by its token. */
export interface Claims {
  /**
   * The device that has been due for longest, of those that nobody has, or whose claim is over; it is the token's for so long.
   */
  claim(group: string, token: string, leaseMs: number, among: Among): Promise<Claimed | undefined>
  /**
   * If it is the token's still it is so for so long from now on, and nobody can claim it before this transaction ends. Answers how often
   * operators have said how it goes on; undefined: it is another's.
   */
  keep(group: string, device: string, token: string, leaseMs: number): Promise<number | undefined>
  /** What waits first, in order: so many at the most, and `transactionBytesMax`. */
  heads(group: string, device: string, countMax: number): Promise<readonly ParkedHead[]>
  /** Takes these out, for good. Answers how many were there. */
  remove(group: string, device: string, places: readonly string[]): Promise<number>
  /** What waited first is done with; the event that waits first now has not been tried. */
  moveOn(group: string, device: string, after: After): Promise<void>
  /** How it waits from now on: with this trial, and its event at `n` with these headers. The claim ends. */
  setBack(group: string, device: string, n: string, trial: Trial, headers: Headers): Promise<void>
  /** Ends a claim: the device is due after so long, behind all that are due before. `hung`: one of several events has. */
  giveUp(group: string, device: string, token: string, delayMs: number, hung?: boolean): Promise<void>
  /**
   * Whether it is the token's still, and nobody adds to what waits: then nobody does, nor claims it, before this transaction ends.
   * Waits for nobody.
   */
  lock(group: string, device: string, token: string): Promise<boolean>
  /** It is parked no longer. For whoever has locked it and then, in a statement of its own, seen that nothing waits. */
  unpark(group: string, device: string): Promise<void>
}

/** For operators, and for whoever watches. */
export interface Operation {
  /** The first events of these are tried at once, whether they were to be tried later or held. */
  release(group: string, which: Which): Promise<Released>
  /**
   * Events of these become dead letters, and what is behind them goes on: `first`, the one that waits first, if it has failed; `all`,
   * all that wait now.
   */
  skip(group: string, which: Which, what: 'first' | 'all'): Promise<Released>
  occupancy(group: string): Promise<Occupancy>
}

/** Parked devices: all of a group, or those that are named so, or whose last failure had that code. */
export interface Which {
  device?: string | undefined
  code?: string | undefined
  /** Not those that are held, for which somebody is to say how it goes on. */
  retrying?: boolean | undefined
}

export interface Released {
  devices: number
  /** A runner has these in hand at this moment: nothing was done with them. */
  working: number
}

/** The next attempt at the first that waits. */
export interface Trial {
  /** `held`: none, until somebody says so. */
  state: 'retrying' | 'held'
  /** Which attempt the next is, counted from 1. */
  attempt: number
  /** From now on. */
  delayMs: number
  /** What came of the last. */
  code: string
  message: string
}

/** How a device stands when what waited first is done with. */
export interface After {
  /** Of this stay the event that was done with last has succeeded. */
  recovering: boolean
  /** What is done with has hung. */
  hung: boolean
}

export interface Claimed {
  device: string
  /** Of this stay the event that was done with last has succeeded. */
  recovering: boolean
  /** An event of it has hung since it was parked. */
  hung: boolean
  /** How often operators have said how it goes on. */
  deeds: number
  /** Up to here an operator wants its events among the dead letters, or wanted, and nothing waits any longer. */
  skip: string | undefined
  /** Of the last failure of the one that waits first, if it was tried. */
  code: string
  message: string
}

/** An event as it waits: what a letter to a rung would be (letters.ts). */
export interface ParkedEvent {
  device: string
  /** SHA-256 of its identity: of one there is one in a group. */
  key: Buffer
  body: Buffer
  properties: MessageProperties
  headers: Headers
  routingKey: string
  queue: string
  publisher: string | undefined
  arrivedAtMs: number
}

export interface ParkedHead extends ParkedEvent {
  /** Its place in the order of its device: a whole number, as text. */
  n: string
}

export interface Occupancy {
  /** Of devices, by state. */
  retrying: number
  held: number
  /** Of the first, those whose first event waits for a schema. */
  awaiting: number
  events: number
  /** How long the device that has been parked longest has been so, ms; 0 if none is. */
  oldestMs: number
}
