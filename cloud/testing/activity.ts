import type { Storage, Transaction } from '../database/storage.ts'
import { tellTime } from './virtual-time-postgres.ts'
import { settled } from './virtual-clock.ts'

/** What is under way in a pipeline at this moment. */
export class Activity {
  handlers = 0
  transactions = 0
  queries = 0

  async count<T>(what: 'handlers' | 'transactions' | 'queries', work: () => Promise<T> | T): Promise<T> {
    this[what]++
    try {
      return await work()
    } finally {
      this[what]--
    }
  }

  /**
   * Resolves when nothing is under way but what waits for time, which stands still. `patient`: a handler that waits for something else is
   * waited for, however long.
   */
  async calm(patient: boolean): Promise<void> {
    let quiet = 0
    for (let turns = 0; quiet < 2; turns++) {
      await settled()
      quiet = this.#isBusy(patient) ? 0 : quiet + 1
      if (this.handlers > 0 && !patient && turns >= turnsMax) return
    }
  }

  #isBusy(patient: boolean): boolean {
    if (this.queries > 0) return true
    return this.handlers > 0 ? patient : this.transactions > 0
  }
}

/** A handler that hangs, and keeps others' queries waiting, keeps time from passing no longer. */
const turnsMax = 10_000

export interface WatchedOptions {
  activity: Activity
  now: () => number
  /** What `now()` in SQL is. Default: as `now`. */
  transactionNow?: () => number
  /** Called in each transaction when its work is done, and before it is committed; may throw. */
  beforeCommit?: () => void
  /** When it is committed, and before anybody knows; may throw. */
  afterCommit?: () => void
}

/** A storage whose work is counted, and whose transactions are of the time that is told. */
export function watched(storage: Storage, options: WatchedOptions): Storage {
  const { activity, now, transactionNow = now } = options
  return {
    ...storage,
    transaction: (work, signal) =>
      activity.count('transactions', async () => {
        const result = await storage.transaction(async (tx) => {
          await tellTime(tx, now(), transactionNow())
          const done = await work(counted(tx, activity))
          options.beforeCommit?.()
          return done
        }, signal)
        options.afterCommit?.()
        return result
      }),
  }
}

function counted(tx: Transaction, activity: Activity): Transaction {
  return {
    inbox: {
      claim: (group, claims) => activity.count('queries', () => tx.inbox.claim(group, claims)),
      release: (group, claims) => activity.count('queries', () => tx.inbox.release(group, claims)),
    },
    assertUsable: () => tx.assertUsable(),
    run: (name, text, values) => activity.count('queries', () => tx.run(name, text, values)),
    query: (text, params) => {
      const running = activity.count('queries', () => tx.query(text, params))
      // As the transaction's own: what nobody awaits shows in the transaction.
      running.catch(() => {})
      return running as never
    },
  }
}
