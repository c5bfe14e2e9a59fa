import type { Clock } from '../../src/clock.ts'
import type { Book } from '../fleet/book.ts'
import type { Audit } from './audit.ts'
import { findMissing } from './findings.ts'
import type { HistoryReader, Identity } from './history.ts'

/** What can be said of a run that goes on. */
export interface Verdict {
  /** Acknowledged when it was looked. */
  events: number
  /** Of these, in no history even after a second look. */
  missing: number
  first: Identity[]
  /** Whether `tidegate audit` found everything as it was written. */
  intact: boolean
}

export interface ProofParts {
  /** The run's ID. */
  run: string
  book: Pick<Book, 'acknowledgedEvents' | 'totals'>
  history: Pick<HistoryReader, 'absent'>
  audit: () => Promise<Audit>
  clock: Clock
}

/** What was acknowledged a moment ago may still be on its way. */
const onTheWayMs = 2000

/** Compares the fleet's book with the history, and has the chain audited. Fails while the database is away. */
export async function proveSoFar(parts: ProofParts, signal: AbortSignal): Promise<Verdict> {
  const { run, book, history, clock } = parts
  const events = book.totals().acknowledged
  let { count, first } = await findMissing({ run, book, history })
  if (count > 0) {
    await clock.sleep(onTheWayMs, signal)
    if (count > first.length) ({ count, first } = await findMissing({ run, book, history }))
    else {
      first = await history.absent(first)
      count = first.length
    }
  }
  const { faults } = await parts.audit()
  return { events, missing: count, first, intact: faults === 0 }
}
