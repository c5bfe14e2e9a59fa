import type { Headers } from '../amqp/delivery.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { Parking, ParkingIn, Trial } from './parking.ts'

/** The claim of an instance that died, or was frozen between two transactions, is another's after so long. */
export const leaseMs = 30_000
/** Somebody adds to what waits at the moment when nothing waits: it is looked at again after so long. */
const lookAgainMs = 1_000

export interface TenureOptions {
  group: string
  device: string
  token: string
  storage: Storage
  parkingIn: ParkingIn
  /** Aborted: nothing is waited for any longer. */
  cutOff: AbortSignal
}

/** A parked device that a runner has claimed: each change proves that it is the runner's still. All throw what a transaction throws. */
export class Tenure {
  readonly #options: TenureOptions

  constructor(options: TenureOptions) {
    this.#options = options
  }

  /**
   * Takes what is done with out of the parking, in the transaction of what it has caused. `ends`: others have their turn then. False: it
   * is the runner's no longer, and nothing may be committed.
   */
  async done(tx: Transaction, places: readonly string[], { ends }: { ends: boolean }): Promise<boolean> {
    const { group, device, token, parkingIn } = this.#options
    const parking = parkingIn(tx)
    if (!(await this.keeps(tx))) return false
    await parking.remove(group, device, places)
    await parking.moveOn(group, device)
    if (ends) await parking.giveUp(group, device, token, 0)
    return true
  }

  /** Whether it is the runner's; then nobody else can claim it before the end of this transaction. */
  keeps(tx: Transaction): Promise<boolean> {
    const { group, device, token, parkingIn } = this.#options
    return parkingIn(tx).keep(group, device, token, leaseMs)
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

  /** Nothing waits: whoever comes later need not. Between the lock and the look nobody can add anything. Answers whether it was let go. */
  letGo(): Promise<boolean> {
    const { group, device, token } = this.#options
    return this.#inTransaction(async (parking) => {
      const isEmpty =
        (await parking.lock(group, device, token)) && (await parking.heads(group, device, 1)).length === 0
      if (isEmpty) await parking.unpark(group, device)
      else await parking.giveUp(group, device, token, lookAgainMs)
      return isEmpty
    })
  }

  /** So that another need not wait for the end of the claim. Never throws; it is over in any case: true. */
  async giveUp(): Promise<true> {
    const { group, device, token } = this.#options
    await this.#inTransaction((parking) => parking.giveUp(group, device, token, 0)).catch(() => {})
    return true
  }

  #inTransaction<T>(work: (parking: Parking, tx: Transaction) => Promise<T>): Promise<T> {
    const { storage, parkingIn, cutOff } = this.#options
    return storage.transaction((tx) => work(parkingIn(tx), tx), cutOff)
  }
}
