import { ledgerType } from '../../src/contract/event.ts'
import { saysTheSame } from '../history/record.ts'
import type { Retirements } from '../deeds/retirements.ts'
import type { AuditedNote, NoteProof } from './notes.ts'
import { parseText, placeText } from './event.ts'

export type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>

/** Few, as each may cite an event of its own, of 40 KB. */
const pageRows = 200

// By epoch alone: a gateway that was renamed speaks of its old ledger under its new name.
const notesSql = `
select n.from_sequence::float8 as "from", n.to_sequence::float8 as "to", n.reason, n.chain, n.gateway,
       n.event_epoch as "eventEpoch", n.event_sequence::float8 as "eventSequence", n.body::text as body,
       extract(epoch from n.noted_at)::float8 * 1000 as "notedMs"
from tidegate.ledger_notes as n
where n.epoch = $1 and (n.from_sequence, n.to_sequence, n.reason, n.gateway) > ($2, $3, $4, $5)
order by n.from_sequence, n.to_sequence, n.reason, n.gateway limit ${pageRows}`

const endingSql = `
select n.from_sequence::float8 as "from", n.to_sequence::float8 as "to", n.reason, n.chain, n.gateway,
       n.event_epoch as "eventEpoch", n.event_sequence::float8 as "eventSequence", n.body::text as body,
       extract(epoch from n.noted_at)::float8 * 1000 as "notedMs"
from tidegate.ledger_notes as n
where n.epoch = $1 and n.to_sequence = $2 and n.from_sequence <= $2 and n.chain is not null limit ${pageRows}`

const citedSql = `
select e.gateway, e.epoch, e.sequence::float8 as sequence, e.body::text as body
from (select distinct * from unnest($1::text[], $2::text[], $3::bigint[]))
  as c (gateway, epoch, sequence)
join tidegate.events as e using (gateway, epoch, sequence)
where e.type = '${ledgerType}'`

const originalsSql = `
select e.source, e.id, e.body::text as body from tidegate.events as e
where (e.source, e.id) in (select * from unnest($1::text[], $2::text[]))`

interface NoteRow {
  from: number
  to: number
  reason: string
  chain: string | null
  gateway: string
  eventEpoch: string | null
  eventSequence: number
  body: string | null
  notedMs: number
}

/** Knows which repeats have their original in an archive. */
export type Originals = Pick<Retirements, 'withOriginals'>

/** The notes on an epoch that begin at a place or behind it, in order, each with what it rests on. */
export async function* readNotes(
  query: Query,
  epoch: string,
  { from, retirements }: { from: number; retirements: Originals },
): AsyncGenerator<AuditedNote> {
  for (let after: unknown[] = [from, 0, '', '']; ;) {
    const rows = await query<NoteRow>(notesSql, [epoch, ...after])
    yield* await withProofs(query, { epoch, retirements }, rows)
    const last = rows.at(-1)
    if (last === undefined || rows.length < pageRows) return
    after = [last.from, last.to, last.reason, last.gateway]
  }
}

/** The notes on an epoch that know the chain value of this place, where they end. */
export async function* readNotesEndingAt(
  query: Query,
  epoch: string,
  { to, retirements }: { to: number; retirements: Originals },
): AsyncGenerator<AuditedNote> {
  yield* await withProofs(query, { epoch, retirements }, await query<NoteRow>(endingSql, [epoch, to]))
}

async function withProofs(
  query: Query,
  { epoch, retirements }: { epoch: string; retirements: Originals },
  rows: readonly NoteRow[],
): Promise<AuditedNote[]> {
  const reports = await readCited(
    query,
    rows.filter(({ body }) => body === null).map((row) => citedBy(row, epoch)),
  )
  const duplicates = await readDuplicates(
    query,
    rows.map(({ body }) => body).filter((body) => body !== null),
    retirements,
  )
  return rows.map((row) => {
    const { from, to, reason, notedMs, body } = row
    const cites = citedBy(row, epoch)
    const proof = body === null ? reports.get(placeText(cites)) : duplicates.get(body)
    return {
      from,
      to,
      reason: proof?.isRival ? 'rival' : reason,
      chain: row.chain ?? undefined,
      notedMs,
      cites,
      proof,
    }
  })
}

/** Notes of before notes named it rest on an event of the epoch they speak of. */
function citedBy(row: NoteRow, epoch: string): AuditedNote['cites'] {
  const sequence = Math.min(row.eventSequence, Number.MAX_SAFE_INTEGER)
  return { gateway: row.gateway, epoch: row.eventEpoch ?? epoch, sequence }
}

async function readCited(
  query: Query,
  places: readonly AuditedNote['cites'][],
): Promise<Map<string, NoteProof>> {
  if (places.length === 0) return new Map()
  const rows = await query<AuditedNote['cites'] & { body: string }>(citedSql, [
    places.map(({ gateway }) => gateway),
    places.map(({ epoch }) => epoch),
    places.map(({ sequence }) => sequence),
  ])
  return new Map(rows.map((row) => [placeText(row), { body: row.body }]))
}

/** An original that was retired is in an archive: the repeats of it that were noted before are known one by one. */
async function readDuplicates(
  query: Query,
  bodies: readonly string[],
  retirements: Originals,
): Promise<Map<string, NoteProof>> {
  if (bodies.length === 0) return new Map()
  const identities = bodies.map((body) => {
    const text = parseText(body)
    return { source: String(text?.['source']), id: String(text?.['id']) }
  })
  const originals = await query<{ source: string; id: string; body: string }>(originalsSql, [
    identities.map(({ source }) => source),
    identities.map(({ id }) => id),
  ])
  const stored = new Map(originals.map(({ source, id, body }) => [`${source}\n${id}`, body]))
  const isStored = (index: number): boolean => {
    const { source, id } = identities[index] ?? {}
    return stored.has(`${source}\n${id}`)
  }
  const archived = await retirements.withOriginals(bodies.filter((_, index) => !isStored(index)))
  return new Map(
    identities.map(({ source, id }, index) => {
      const body = bodies[index] as string
      const original = stored.get(`${source}\n${id}`)
      const isRival = original !== undefined && !saysTheSame(original, body)
      const originalStored = original !== undefined || archived.has(body)
      return [body, { body, originalStored, isRival }]
    }),
  )
}
