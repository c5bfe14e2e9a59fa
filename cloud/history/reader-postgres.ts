import type { Statements } from '../database/statements.ts'
import { compareCursors, cursorFault, type HistoryReader, isCursor, type StoredEvent } from './reader.ts'

type Row = [
  horizon: string,
  cursor: string | null,
  position: string,
  storedMs: number,
  disposition: StoredEvent['disposition'],
  text: string,
  source: string,
  id: string,
  type: string,
  gateway: string,
  epoch: string,
  sequence: string,
]

// One statement: the horizon is that of what it reads.
const readSql = `
select h.horizon, e.cursor, e.position, (extract(epoch from e.stored_time) * 1000)::float8, e.disposition, e.body::text,
  e.source, e.id, e.type, e.gateway, e.epoch, e.sequence
from (select tidegate.horizon() as horizon) as h left join lateral tidegate.read_events($1, $2::text[], $3::int) as e on true`

/** Reads within the transaction of these statements, which may write what follows from it and the cursor at once. */
export function postgresReader(statements: Statements): HistoryReader {
  return {
    async read(after, { types, max }) {
      if (!isCursor(after)) throw cursorFault()
      const rows = await statements.run<Row>('history-page', readSql, [after, types ?? null, max])
      const events = rows.flatMap((row) => (row[1] === null ? [] : [eventOf(row, row[1])]))
      const more = events.length >= max
      const [[horizon] = ['']] = rows
      const last = events.at(-1)?.cursor ?? after
      const next = more || compareCursors(horizon, last) < 0 ? last : horizon
      return { events, next, more }
    },
  }
}

function eventOf(row: Row, cursor: string): StoredEvent {
  const [, , position, storedMs, disposition, text, source, id, type, gateway, epoch, sequence] = row
  return {
    cursor,
    position: Number(position),
    storedMs,
    disposition,
    text,
    source,
    id,
    type,
    gateway,
    epoch,
    sequence: Number(sequence),
  }
}
