import type { Clock } from '../../src/clock.ts'
import type { Headers } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { After, Parking, ParkedHead, ParkingIn, Trial } from './parking.ts'

const leaseMsMin = 30_000
/** For what is asked of the database around a transaction. */
const leaseMarginMs = 10_000

/** What bounds a transaction that tries events: it begins with none after `batchTimeTargetMs`, and one takes `timeoutMs` at the most. */
export interface TransactionBounds {
  timeoutMs: number
  batchTimeTargetMs: number
}

/**
 * The claim of an instance that died, or was frozen, is another's after so long. A transaction that hangs, or fails, has kept none: the
 * claim outlasts it, so that its attempt is counted.
 */
export function leaseMsOf({ timeoutMs, batchTimeTargetMs }: TransactionBounds): number {
  return Math.max(leaseMsMin, timeoutMs + 2 * batchTimeTargetMs + leaseMarginMs)
}

/** Somebody adds to what waits at the moment when nothing waits: it is looked at again after so long. */
const lookAgainMs = 1_000

export interface TenureOptions {
  group: string
  device: string
  token: string
  /** What operators had said when it was claimed. */
  deeds: number
  storage: Storage
  parkingIn: ParkingIn
  bounds: TransactionBounds
  clock: Clock
  /** Aborted: nothing is waited for any longer. */
  cutOff: AbortSignal
}

/**
 * A parked device that a runner has claimed: each change proves that it is the runner's still, and that no operator has said meanwhile
 * how it goes on. All throw what a transaction throws.
 */
export class Tenure {
  readonly #options: TenureOptions
  readonly #leaseMs: number
  /** Since when the claim has its whole length. */
  #keptMs: number

  constructor(options: TenureOptions) {
    this.#options = options
    this.#leaseMs = leaseMsOf(options.bounds)
    this.#keptMs = options.clock.monotonicMs()
  }

  /** Before a transaction: whether it is the runner's, and stays so for as long as that may take. */
  async lasts(): Promise<boolean> {
    const { clock, bounds } = this.#options
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#keptMs <= bounds.batchTimeTargetMs) return true
    const isOurs = await this.#inTransaction((_, tx) => this.keeps(tx))
    if (isOurs) this.kept(nowMs)
    return isOurs
  }

  /** A transaction is committed that has kept it, and began then. */
  kept(sinceMs: number): void {
    this.#keptMs = sinceMs
  }

  /**
   * Takes what is done with out of the parking, in the transaction of what it has caused. False: it is the runner's no longer, and
   * nothing may be committed.
   */
  async done(tx: Transaction, places: readonly string[], after: After): Promise<boolean> {
    const { group, device, parkingIn } = this.#options
    const parking = parkingIn(tx)
    if (!(await this.keeps(tx))) return false
    await parking.remove(group, device, places)
    await parking.moveOn(group, device, after)
    return true
  }

  /** Whether it is the runner's; then nobody else can claim it before the end of this transaction. Else the tenure is over. */
  async keeps(tx: Transaction): Promise<boolean> {
    const { group, device, token, deeds, parkingIn } = this.#options
    const parking = parkingIn(tx)
    const said = await parking.keep(group, device, token, this.#leaseMs)
    if (said === deeds) return true
    if (said !== undefined) await parking.giveUp(group, device, token, 0)
    return false
  }

  /** How it waits from now on. The tenure ends. Answers whether it was the runner's. */
  setBack(n: string, trial: Trial, headers: Headers): Promise<boolean> {
    const { group, device } = this.#options
    return this.#inTransaction(async (parking, tx) => {
      if (!(await this.keeps(tx))) return false
      await parking.setBack(group, device, n, trial, headers)
      return true
    })
  }

  /**
   * What waits now, so many at the most. If nothing does, the device is let go: whoever comes later need not wait; between the lock and
   * the look nobody can add anything. Undefined: that cannot be had now, and the tenure is over.
   */
  look(countMax: number): Promise<readonly ParkedHead[] | undefined> {
    const { group, device, token } = this.#options
    return this.#inTransaction(async (parking) => {
      if (!(await parking.lock(group, device, token))) {
        await parking.giveUp(group, device, token, lookAgainMs)
        return undefined
      }
      const heads = await parking.heads(group, device, countMax)
      if (heads.length === 0) await parking.unpark(group, device)
      return heads
    })
  }

  /** So that another need not wait for the end of the claim. Never throws; it is over in any case. */
  async giveUp(delayMs = 0, hung = false): Promise<void> {
    const { group, device, token } = this.#options
    await this.#inTransaction((parking) => parking.giveUp(group, device, token, delayMs, hung)).catch(
      () => {},
    )
  }

  #inTransaction<T>(work: (parking: Parking, tx: Transaction) => Promise<T>): Promise<T> {
    const { storage, parkingIn, cutOff } = this.#options
    return storage.transaction((tx) => work(parkingIn(tx), tx), cutOff)
  }
}
