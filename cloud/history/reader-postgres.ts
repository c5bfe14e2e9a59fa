import type { Statements } from '../database/statements.ts'
import {
  compareCursors,
  cursorAheadIn,
  cursorFault,
  type HistoryReader,
  isCursor,
  type StoredEvent,
} from './reader.ts'

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
  total: string,
]

// One statement: the horizon is that of what it reads, and is looked for once (offset 0), not for each row.
export const readSql = `
select h.horizon, e.cursor, e.position, (extract(epoch from e.stored_time) * 1000)::float8, e.disposition, e.body::text,
  e.source, e.id, e.type, e.gateway, e.epoch, e.sequence, e.total
from (select tidegate.horizon() as horizon offset 0) as h left join lateral (
  select r.*, count(*) over () as total,
    coalesce(sum(octet_length(r.body::text)) over (order by n rows between unbounded preceding and 1 preceding), 0) as bytes_before
  from tidegate.read_events($1, $2::text[], $3::int) with ordinality as r (cursor, position, stored_time, recorded_time, time,
    gateway, epoch, sequence, source, id, type, subject, dataschema, disposition, reason, body, n)
) as e on $4::bigint is null or e.bytes_before < $4::bigint
order by e.n`

/** Reads within the transaction of these statements, which may write what follows from it and the cursor at once. */
export function postgresReader(statements: Statements): HistoryReader {
  return {
    async read(after, { types, max, bytesMax }) {
      if (!isCursor(after)) throw cursorFault()
      const rows = await statements
        .run<Row>('history-page', readSql, [after, types ?? null, max, bytesMax ?? null])
        .catch((error: unknown) => {
          throw cursorAheadIn(error)
        })
      const events = rows.flatMap((row) => (row[1] === null ? [] : [eventOf(row, row[1])]))
      const more = events.length >= max || events.length < Number(rows[0]?.[12] ?? 0)
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
