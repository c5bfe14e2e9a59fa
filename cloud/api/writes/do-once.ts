import type { Transaction } from '../../database/storage.ts'
import type { Deed } from '../../deeds/deeds.ts'

/** Does a deed once, with its record and its effect in one transaction. */
export type DoOnce = <Request, Outcome>(
  verb: string,
  deed: Deed<Request>,
  work: (tx: Transaction) => Promise<Outcome>,
) => Promise<Outcome>
