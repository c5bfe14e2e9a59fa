import type { Headers, MessageProperties } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'

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
  parked(group: string, devices: readonly string[]): Promise<ReadonlySet<string>>
  /** Parks a device; one that is parked stays as it is. It is not let go before this transaction ends. Answers whether it was not. */
  park(group: string, device: string, trial: Trial): Promise<boolean>
  /** To the end of what waits, in this order; what waits already stays where it is. Answers how many are new. */
  add(group: string, events: readonly ParkedEvent[]): Promise<number>
}

/** For runners. Whoever has claimed a device proves it by its token. */
export interface Claims {
  /** A device that is due and that nobody has, or whose claim is over; it is the token's for so long. */
  claim(group: string, token: string, leaseMs: number): Promise<string | undefined>
  /** Whether it is the token's still, and then for so long from now on. Nobody can claim it before this transaction ends. */
  keep(group: string, device: string, token: string, leaseMs: number): Promise<Kept | undefined>
  /** What waits first. */
  head(group: string, device: string): Promise<ParkedHead | undefined>
  /** Takes one out. Answers whether it was there. */
  remove(group: string, device: string, n: string): Promise<boolean>
  /** How it waits from now on, and where it has got to: with this trial, and the first of its events with these headers. The claim ends. */
  setBack(group: string, device: string, n: string, trial: Trial, headers: Headers): Promise<void>
  /** Ends a claim: somebody else may have it at once. */
  giveUp(group: string, device: string, token: string): Promise<void>
  /** Whether it is the token's still: then nobody adds to what waits, nor claims it, before this transaction ends. */
  lock(group: string, device: string, token: string): Promise<boolean>
  /** It is parked no longer. For whoever has locked it and then, in a statement of its own, seen that nothing waits. */
  unpark(group: string, device: string): Promise<void>
}

/** For operators, and for whoever watches. */
export interface Operation {
  /**
   * The first that waits is tried at once, whether it was to be tried later or held. `working`: a runner has it in hand at this
   * moment. `absent`: it is not parked.
   */
  release(group: string, device: string): Promise<Released>
  /** As `release`; but the first that waits, if it is `n`, becomes a dead letter instead, and the rest goes on. */
  skip(group: string, device: string, n: string): Promise<Released>
  occupancy(group: string): Promise<Occupancy>
}

export type Released = 'due' | 'working' | 'absent'

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

export interface Kept {
  /** What an operator wants among the dead letters. */
  skip: string | undefined
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
  events: number
  /** How long the device that has been parked longest has been so, ms; 0 if none is. */
  oldestMs: number
}
