import { append } from './append/append-postgres.ts'
import type { History, LedgerNote } from './history.ts'
import type { Statements } from '../database/statements.ts'

const noteSql = `
insert into tidegate.ledger_notes
  (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
select gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body::json
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[],
            $9::text[])
  as s (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
on conflict do nothing`

const correctSql = `
insert into tidegate.clock_corrections (gateway, epoch, from_sequence, to_sequence, offset_ms, event_sequence)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::bigint[])
on conflict do nothing`

const closeSql = `
insert into tidegate.epoch_closures (gateway, epoch, last_sequence, reason, event_sequence)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
on conflict do nothing`

/** Longer than a device or an edge is likely to be put back to a former state, and short enough that a few weeks are asked. */
export const dedupWindowMs = 14 * 24 * 3_600_000

export interface HistoryOptions {
  /** An identity that was recorded within this long, either way, is found whichever week it is in (G4). */
  dedupWindowMs: number
}

export function postgresHistory(
  statements: Statements,
  { dedupWindowMs: windowMs }: HistoryOptions = { dedupWindowMs },
): History {
  const window = { ms: windowMs, interval: `${Math.ceil(windowMs / 1000)} seconds` }
  return {
    append: (records) => append(statements, records, window),
    async note(notes) {
      if (notes.length > 0) await statements.run('history-note', noteSql, noteColumns(notes))
    },
    async correctClock(corrections) {
      if (corrections.length === 0) return
      await statements.run('history-correct-clock', correctSql, [
        corrections.map((correction) => correction.gateway),
        corrections.map((correction) => correction.epoch),
        corrections.map((correction) => correction.from),
        corrections.map((correction) => correction.to),
        corrections.map((correction) => correction.offsetMs),
        corrections.map((correction) => correction.eventSequence),
      ])
    },
    async closeEpochs(closures) {
      if (closures.length === 0) return
      await statements.run('history-close-epochs', closeSql, [
        closures.map((closure) => closure.gateway),
        closures.map((closure) => closure.epoch),
        closures.map((closure) => closure.lastSequence),
        closures.map((closure) => closure.reason),
        closures.map((closure) => closure.eventSequence),
      ])
    },
  }
}

function noteColumns(notes: readonly LedgerNote[]): unknown[] {
  return [
    notes.map((note) => note.gateway),
    notes.map((note) => note.epoch),
    notes.map((note) => note.from),
    notes.map((note) => note.to),
    notes.map((note) => note.reason),
    notes.map((note) => note.chain),
    notes.map((note) => note.eventEpoch),
    notes.map((note) => note.eventSequence),
    notes.map((note) => note.body),
  ]
}
