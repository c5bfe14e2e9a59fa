import type { EventIdentity } from '../database/storage.ts'

/** A place in a gateway's ledger (G2). */
export interface LedgerPlace {
  gateway: string
  epoch: string
  sequence: number
}

export interface HistoryRecord extends LedgerPlace, EventIdentity {
  type: string
  subject: string | undefined
  dataschema: string | undefined
  /** ms since the Unix epoch; the body keeps the text. */
  timeMs: number
  recordedMs: number
  disposition: 'accepted' | 'rejected' | 'dead'
  /** Why it was not accepted. */
  reason: string | undefined
  /** The wire text, verbatim: the hash chain is over its bytes (G8). */
  body: string
}

/** What became of a record that was to be appended. */
export type Appended =
  | 'stored'
  /** This very record is there already, or in an archive that its place was retired to: it was delivered again. */
  | 'again'
  /** The same `(source, id)` is there under another ledger place: the event was numbered twice. */
  | 'repeat'
  /** Another reading is there under the same `(source, id)`: one of the two was not what it says. */
  | 'rival'
  /** Another event has this ledger place. */
  | 'place-taken'

/** Of an event whose identity is taken: by itself under another place, or by another reading (G9). */
export const repeatReasons = ['duplicate', 'rival'] as const

export type RepeatReason = (typeof repeatReasons)[number]

export interface LedgerNote {
  gateway: string
  epoch: string
  from: number
  to: number
  reason: 'expired' | 'evicted' | 'lost' | RepeatReason
  /** The chain value of `to`, if it is known. */
  chain: string | undefined
  /** The event that said so, which may be of a later epoch; of a repeat, the repeat itself. */
  eventEpoch: string
  eventSequence: number
  /** Of a repeat: its wire text, verbatim. It is stored nowhere else. */
  body?: string
}

export interface ClockCorrection {
  gateway: string
  epoch: string
  from: number
  to: number
  offsetMs: number
  eventSequence: number
}

export interface EpochClosure {
  gateway: string
  epoch: string
  lastSequence: number
  reason: string
  eventSequence: number
}

/**
 * The record, within one transaction. Port; the adapter is history-postgres.ts.
 * Append-only. Each method may be repeated with the same arguments without a second effect.
 */
export interface History {
  /** Answers what became of each record, in order. */
  append(records: readonly HistoryRecord[]): Promise<Appended[]>
  note(notes: readonly LedgerNote[]): Promise<void>
  correctClock(corrections: readonly ClockCorrection[]): Promise<void>
  closeEpochs(closures: readonly EpochClosure[]): Promise<void>
}
