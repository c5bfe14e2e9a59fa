import { parseText } from '../audit/event.ts'
import { textArray } from '../database/arrays-postgres.ts'
import type { Transaction } from '../database/storage.ts'
import { repeatsDigest, textHash } from '../deeds/retirements.ts'
import { type OwnerSession, quoted } from './owner-postgres.ts'

/** Of the texts of repeats: how many there are, and the SHA-256 of their SHA-256, in order. */
export interface Repeats {
  count: number
  sha256: string
}

/** Ours alone while it is there. */
const gathered = 'tidegate.repeats_of_retired'

/** Each keeps the text of an event. */
const pageRows = 200

const notesSql = `
declare repeats no scroll cursor for
select body::text as body from tidegate.ledger_notes where body is not null and noted_at >= $1::timestamptz`

const gatherSql = (partition: string): string => `
insert into ${gathered} select decode(sha256, 'hex') from unnest($1::text[], $2::text[], $3::text[]) as s (id, source, sha256)
where exists (select from tidegate.${quoted(partition)} as e where e.id = s.id and e.source = s.source)
on conflict do nothing`

// A note is dated in its transaction, which may be committed later: none lasts as long as this.
const sinceSql = `select (clock_timestamp() - interval '1 hour')::text as since`

/**
 * Finds the repeats whose original is in a partition: they are to be believed when it is gone, and no others (G8). Each is known by its text,
 * in which its place stands, so that whoever notes another one later has nothing of that. In flat memory, and without a lock.
 * @returns from when on notes may not have been looked at
 */
export async function gatherRepeats(
  { query, storage, signal }: OwnerSession,
  partition: string,
): Promise<string> {
  const [now] = await query<{ since: string }>(sinceSql)
  await forgetGathered(query)
  await query(`create table ${gathered} (text_sha256 bytea primary key)`)
  await storage.transaction((tx) => gatherMore(tx, partition, '-infinity'), signal)
  await query(`analyze ${gathered}`)
  return now?.since ?? '-infinity'
}

/** Those that were noted since as well. */
export async function gatherMore(
  tx: Pick<Transaction, 'query'>,
  partition: string,
  since: string,
): Promise<void> {
  await tx.query(notesSql, [since])
  for (;;) {
    const { rows } = await tx.query<{ body: string }>(`fetch ${pageRows} from repeats`)
    const noted = rows.map(({ body }) => ({ ...identityOf(body), sha256: textHash(body) }))
    await tx.query(gatherSql(partition), [
      textArray(noted, ({ id }) => id),
      textArray(noted, ({ source }) => source),
      textArray(noted, ({ sha256 }) => sha256),
    ])
    if (rows.length < pageRows) break
  }
  await tx.query('close repeats')
}

const gatheredSql = `
select ${repeatsDigest}
from ${gathered}`

export async function gatheredRepeats(tx: Pick<Transaction, 'query'>): Promise<Repeats> {
  const { rows } = await tx.query<Repeats>(gatheredSql)
  return rows[0] as Repeats
}

/** Puts down those that were gathered. */
export async function recordRepeats(tx: Pick<Transaction, 'query'>, retirement: string): Promise<void> {
  await tx.query(
    `insert into tidegate.retired_repeats (retirement, text_sha256) select $1, text_sha256 from ${gathered}`,
    [retirement],
  )
}

export async function forgetGathered(query: OwnerSession['query']): Promise<void> {
  await query(`drop table if exists ${gathered}`)
}

function identityOf(body: string): { id: string; source: string } {
  const { id, source } = parseText(body) ?? {}
  return { id: String(id).replaceAll('\0', ''), source: String(source).replaceAll('\0', '') }
}
