import { claimedChain } from '../../src/contract/codec.ts'
import { retiredAt, RetiredPlaces, type RetiredRange } from '../deeds/retirements.ts'
import type { AuditedEvent } from './event.ts'
import type { Query } from './notes-postgres.ts'
import type { LedgerName } from './notes.ts'

/** Events may be a third of a megabyte each. */
const pageRows = 500

// A cursor: planned once for all weeks, and merged once. Qualified: a bare `sequence` in the order would mean the converted output
// column, and no index has that. A place that is stored twice, in two weeks, comes twice, by its position.
const eventsSql = (name: string, table: string, where = ''): string => `
declare ${name} no scroll cursor for
select e.sequence::float8 as sequence, source, id, type, subject, dataschema,
       extract(epoch from time)::float8 * 1000 as "timeMs", extract(epoch from recorded_time)::float8 * 1000 as "recordedMs",
       disposition, reason, extract(epoch from stored_time)::float8 * 1000 as "storedMs", body::text as body
from tidegate.${table} as e
where e.gateway = $1 and e.epoch = $2 and e.sequence >= $3 ${where} order by e.sequence, e.position`

const chainSql = `
select body::text as body from tidegate.events where gateway = $1 and epoch = $2 and sequence = $3 order by position limit 1`

const archivedChainSql = `
select body::text as body from tidegate.archived
where gateway = $1 and epoch = $2 and sequence = $3 and archive = any($4) order by position limit 1`

/** What is retired of a ledger, and the archives that are attached. */
export interface RetiredInDatabase {
  retired: readonly RetiredRange[]
  attached: readonly string[]
}

/**
 * The events of a ledger in order, from a place on. What an attached archive has of it counts where it is retired, and nowhere else: a
 * copy makes up for nothing that is missing.
 */
export function readEvents(
  query: Query,
  ledger: LedgerName,
  { from, retired, attached }: RetiredInDatabase & { from: number },
): AsyncGenerator<AuditedEvent> {
  const { gateway, epoch } = ledger
  const stored = readFrom(query, 'audited', [eventsSql('audited', 'events'), gateway, epoch, from])
  if (retired.length === 0 || attached.length === 0) return stored
  const sql = eventsSql('archived', 'archived', 'and archive = any($4)')
  return merged(stored, archived(readFrom(query, 'archived', [sql, gateway, epoch, from, attached]), retired))
}

async function* archived(
  events: AsyncIterable<AuditedEvent>,
  retired: readonly RetiredRange[],
): AsyncGenerator<AuditedEvent> {
  const places = new RetiredPlaces(retired)
  for await (const event of events) if (places.has(event.sequence)) yield { ...event, isArchived: true }
}

async function* merged(
  one: AsyncGenerator<AuditedEvent>,
  other: AsyncGenerator<AuditedEvent>,
): AsyncGenerator<AuditedEvent> {
  let [a, b] = [await one.next(), await other.next()]
  while (!a.done || !b.done) {
    if (!a.done && (b.done || a.value.sequence <= b.value.sequence)) {
      yield a.value
      a = await one.next()
    } else if (!b.done) {
      yield b.value
      b = await other.next()
    }
  }
}

async function* readFrom(
  query: Query,
  name: string,
  [sql, ...values]: [string, ...unknown[]],
): AsyncGenerator<AuditedEvent> {
  await query(sql, values)
  for (;;) {
    const rows = await query<EventRow>(`fetch ${pageRows} from ${name}`)
    for (const row of rows) yield audited(row)
    if (rows.length < pageRows) break
  }
  await query(`close ${name}`)
}

interface EventRow extends Omit<AuditedEvent, 'subject' | 'dataschema' | 'reason'> {
  subject: string | null
  dataschema: string | null
  reason: string | null
}

function audited(row: EventRow): AuditedEvent {
  return {
    ...row,
    subject: row.subject ?? undefined,
    dataschema: row.dataschema ?? undefined,
    reason: row.reason ?? undefined,
    // Written as seconds in floating point: thousands of years away they are off by microseconds.
    timeMs: Math.round(row.timeMs),
    recordedMs: Math.round(row.recordedMs),
  }
}

/** The chain value that the event in a place claims; null: it claims none; undefined: there is no event, and no end of what was retired. */
export async function readChain(
  query: Query,
  { gateway, epoch }: LedgerName,
  sequence: number,
  { retired, attached }: RetiredInDatabase = { retired: [], attached: [] },
): Promise<string | null | undefined> {
  const place = [gateway, epoch, sequence]
  const ofArchives = retiredAt(retired, sequence)
  // What is stored in a retired place was added since.
  const end = retired.find(({ to }) => to === sequence)
  if (end !== undefined) return end.chain
  if (ofArchives && attached.length === 0) return undefined
  const [event] = ofArchives
    ? await query<{ body: string }>(archivedChainSql, [...place, attached])
    : await query<{ body: string }>(chainSql, place)
  return event && (claimedChain(event.body) ?? null)
}
