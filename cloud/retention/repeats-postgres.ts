import { textArray } from '../database/arrays-postgres.ts'
import type { Queryable } from '../database/storage.ts'
import { quoted } from './owner-postgres.ts'

/** When the repeats were recorded, RFC 3339, whose original is in a partition. */
export interface Repeats {
  from: string
  until: string
}

/** Each keeps the text of an event. */
const pageRows = 200

const notesSql = `
declare repeats no scroll cursor for
select body::text as body from tidegate.ledger_notes where body is not null and noted_at >= $1::timestamptz`

const originalsSql = (partition: string): string => `
select n::int - 1 as index from unnest($1::text[], $2::text[]) with ordinality as s (id, source, n)
where exists (select from tidegate.${quoted(partition)} as e where e.id = s.id and e.source = s.source)`

/**
 * The repeats that were noted since, and whose original is in this partition: they are to be believed when it is gone, and no others.
 * Within a transaction; one pass over the notes, in flat memory.
 */
export async function repeatsIn(
  tx: Pick<Queryable, 'query'>,
  partition: string,
  since: string,
): Promise<Repeats | undefined> {
  let found: Repeats | undefined
  await tx.query(notesSql, [since])
  for (;;) {
    const { rows } = await tx.query<{ body: string }>(`fetch ${pageRows} from repeats`)
    const noted = rows.map(({ body }) => JSON.parse(body) as Record<string, unknown>)
    const { rows: originals } = await tx.query<{ index: number }>(originalsSql(partition), [
      textArray(noted, ({ id }) => String(id).replaceAll('\0', '')),
      textArray(noted, ({ source }) => String(source).replaceAll('\0', '')),
    ])
    for (const { index } of originals) {
      const recordedMs = Date.parse(String(noted[index]?.['recordedtime']))
      if (Number.isNaN(recordedMs)) continue
      const at = new Date(recordedMs).toISOString()
      found = both(found, { from: at, until: at })
    }
    if (rows.length < pageRows) break
  }
  await tx.query('close repeats')
  return found
}

/** From the earlier to the later. */
export function both(one: Repeats | undefined, other: Repeats | undefined): Repeats | undefined {
  if (one === undefined || other === undefined) return one ?? other
  const isEarlier = Date.parse(one.from) <= Date.parse(other.from)
  const isLater = Date.parse(one.until) >= Date.parse(other.until)
  return { from: isEarlier ? one.from : other.from, until: isLater ? one.until : other.until }
}
