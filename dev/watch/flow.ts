import { createSteadyCounter } from './scrape.ts'
import type { Snapshot } from './snapshot.ts'

/** What the gateway's metrics say of its ledger; undefined: it did not answer. */
export interface LedgerReading {
  /** The last sequence given out. */
  sequence: number | undefined
  /** Events in the outbox. */
  buffered: number | undefined
  /** Numbered, and never to be delivered. */
  undelivered: number | undefined
}

/** Where the events of a run are. */
export type Whereabouts = Pick<Snapshot, 'buffered' | 'forwarded' | 'leftBefore' | 'undelivered'>

export interface Flow {
  /**
   * `acknowledged` is of before the reading, so that the ledger has all of it; `others` are events in the history that somebody
   * else published.
   */
  see(reading: LedgerReading, counted: { acknowledged: number; others: number }): Whereabouts
}

/**
 * Where the events are, by the ledger and not by what a process counted: a gateway that is killed takes its counts of the last
 * moment along, its ledger stays (G1, G2). What has a place, is not in the outbox and was not given up has left with proof (G3).
 */
export function createFlow(before: LedgerReading): Flow {
  const leftBefore = before.buffered ?? 0
  const taken = createSteadyCounter(before.sequence)
  const given = createSteadyCounter(before.undelivered)
  let buffered = leftBefore
  let forwarded = 0
  return {
    see(reading, { acknowledged, others }) {
      const sequences = taken.read(reading.sequence)
      const undelivered = given.read(reading.undelivered)
      const accounted = acknowledged + leftBefore - undelivered
      if (reading.sequence === undefined || reading.buffered === undefined) {
        // Nobody says what is in the outbox: all that is not known to have left.
        buffered = Math.max(buffered, accounted - forwarded)
      } else {
        buffered = reading.buffered
        // What has its place and not yet its PUBACK is shown once it has.
        const left = Math.min(sequences + leftBefore - undelivered - others - buffered, accounted)
        forwarded = Math.max(forwarded, left)
      }
      return { buffered, forwarded, leftBefore, undelivered }
    },
  }
}

/**
 * Of what is in the outbox, what was acknowledged: with `forwarded` it comes to `acknowledged` (and what an earlier run left), unless
 * something is missing.
 */
export function waitingOf(snapshot: Snapshot): number {
  const { acknowledged, leftBefore, undelivered, forwarded, buffered } = snapshot
  return Math.min(buffered, Math.max(0, acknowledged + leftBefore - undelivered - forwarded))
}
