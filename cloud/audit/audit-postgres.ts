import type { Database } from '../database/database-postgres.ts'
import { TidegateError } from '../../src/errors.ts'
import { outageOfOurs } from '../database/faults-postgres.ts'
import { requireSchema } from '../database/migrate-postgres.ts'
import { trustNoSchema } from '../database/roles-postgres.ts'
import { migrations } from '../database/migrations/all.ts'
import { readRegistry } from '../gateways/registry-postgres.ts'
import type { Registry } from '../gateways/registry.ts'
import type { AuditedEvent } from './event.ts'
import { ledgerKey, readAcceptances } from '../deeds/acceptances.ts'
import { type Heads, keysFor } from './heads.ts'
import { type Query, readNotes } from './notes-postgres.ts'
import { signaturesIn } from './signatures-postgres.ts'
import type { LedgerName } from './notes.ts'
import { type AuditedClosure, auditLedger, type LedgerReport } from './audit.ts'

export interface AuditOptions {
  /** Only this gateway's ledgers. */
  gateway?: string | undefined
  /** Gaps younger than this are pending: what is missing may be on its way. */
  settleMs?: number | undefined
  nowMs: number
  /** Heads and keys that were kept elsewhere: the database must have the ones, and is not asked for the others. */
  kept?: Heads | undefined
  /** Told once who the gateways are by this database. */
  onRegistry?: (registry: Registry) => void
}

/** Events may be a third of a megabyte each. */
const pageRows = 500

// A loose index scan: one step per ledger, however many events it has.
const ledgersSql = `
with recursive ledgers as (
  (select gateway, epoch from tidegate.events order by gateway, epoch limit 1)
  union all
  select next.gateway, next.epoch from ledgers, lateral (
    select gateway, epoch from tidegate.events as e
    where (e.gateway, e.epoch) > (ledgers.gateway, ledgers.epoch)
    order by gateway, epoch limit 1) as next
)
select gateway, epoch from ledgers`

const notedSql = `
select distinct gateway, epoch from tidegate.ledger_notes
union select gateway, epoch from tidegate.epoch_closures`

// Qualified: a bare `sequence` in the order would mean the converted output column, and no index has that.
const eventsSql = `
select e.sequence::float8 as sequence, source, id, type, subject, dataschema,
       extract(epoch from time)::float8 * 1000 as "timeMs", extract(epoch from recorded_time)::float8 * 1000 as "recordedMs",
       disposition, reason, extract(epoch from stored_time)::float8 * 1000 as "storedMs", body::text as body
from tidegate.events as e
where e.gateway = $1 and e.epoch = $2 and e.sequence > $3 order by e.sequence limit ${pageRows}`

const closuresSql = `
select gateway, epoch, max(last_sequence)::float8 as last,
       extract(epoch from max(noted_at))::float8 * 1000 as "notedMs"
from tidegate.epoch_closures group by gateway, epoch`

/**
 * Audits every ledger in the database, one after another, within one snapshot and in flat memory.
 * @throws TidegateError `AUDIT_NOTHING`, `DATABASE_UNREACHABLE`, and what `requireSchema` throws.
 */
export async function* auditDatabase(
  database: Database,
  options: AuditOptions,
): AsyncGenerator<LedgerReport> {
  const client = await database.connect()
  try {
    await trustNoSchema(client)
    await client.query('begin transaction isolation level repeatable read, read only')
    const query: Query = async <Row>(text: string, values: readonly unknown[] = []) =>
      (await client.query(text, [...values])).rows as Row[]
    await requireSchema(client, migrations, database.where)
    const registry = await readRegistry(query)
    options.onRegistry?.(registry)
    const closures = await query<Closure>(closuresSql)
    const stored = await listLedgers(query)
    const owners = ownersOf(stored)
    const signedThrough = signaturesIn(query, (gateway) => keysFor(gateway, registry, options.kept))
    const acceptances = await readAcceptances(query)
    const all = [...stored, ...goneLedgers(stored, options.kept)]
    const wanted = all.filter(({ gateway }) => options.gateway === undefined || gateway === options.gateway)
    if (wanted.length === 0) throw nothingToAudit(options.gateway, stored)
    for (const { gateway, epoch } of wanted) {
      yield await auditLedger({
        gateway,
        epoch,
        events: readEvents(query, gateway, epoch),
        notes: readNotes(query, epoch),
        closures: closuresFor({ gateway, epoch }, closures, registry),
        keys: keysFor(gateway, registry, options.kept),
        kept: options.kept?.heads.filter((head) => head.gateway === gateway && head.epoch === epoch) ?? [],
        signedThrough,
        acceptances: acceptances.get(ledgerKey({ gateway, epoch })) ?? [],
        sharedWith: (owners.get(epoch) ?? []).filter((owner) => owner !== gateway),
        mayBeSpokenOfBy: (speaker) => registry.maySpeakOf(speaker, gateway),
        strangerWith(epoch) {
          const of = owners.get(epoch) ?? []
          return of.some((owner) => registry.maySpeakOf(gateway, owner)) ? undefined : of[0]
        },
        settledBeforeMs: options.settleMs === undefined ? undefined : options.nowMs - options.settleMs,
      })
    }
    await client.query('commit')
  } catch (error) {
    throw outageOfOurs(database.where, error) ?? error
  } finally {
    client.release(true)
  }
}

/** Whoever has events of an epoch. */
function ownersOf(stored: readonly LedgerName[]): Map<string, string[]> {
  const owners = new Map<string, string[]>()
  for (const { gateway, epoch } of stored) owners.set(epoch, [...(owners.get(epoch) ?? []), gateway])
  return owners
}

const namesMax = 10

/** Nothing at all is not "complete": a name may be misspelt, or every row may be gone. */
function nothingToAudit(gateway: string | undefined, all: readonly LedgerName[]): TidegateError {
  const names = [...new Set(all.map((ledger) => ledger.gateway))]
  const listed = names.slice(0, namesMax).join(', ') + (names.length > namesMax ? ', …' : '')
  return new TidegateError('AUDIT_NOTHING', {
    message: `the history holds no ledger${gateway === undefined ? '' : ` of ${gateway}`}`,
    retryable: false,
    hint:
      names.length === 0
        ? 'see whether it is the right database; if gateways did report, their rows are gone'
        : `it holds those of ${listed}; check --gateway, and if that gateway did report, its rows are gone`,
  })
}

/** As many as outboxes were replaced. */
interface Closure extends AuditedClosure, LedgerName {}

/** Those of its own epoch, by whoever may speak of it, and what it says itself of others. */
function closuresFor(
  { gateway, epoch }: LedgerName,
  closures: readonly Closure[],
  registry: Registry,
): Map<string, AuditedClosure> {
  const found = new Map<string, AuditedClosure>()
  for (const { gateway: speaker, epoch: about, last, notedMs } of closures) {
    const isMeant = about === epoch ? registry.maySpeakOf(speaker, gateway) : speaker === gateway
    if (isMeant && last >= (found.get(about)?.last ?? 0)) found.set(about, { last, notedMs })
  }
  return found
}

/** Ledgers of which a head was kept, and nothing else is left. */
function goneLedgers(stored: readonly LedgerName[], kept: Heads | undefined): LedgerName[] {
  const isStored = (head: LedgerName): boolean =>
    stored.some(({ gateway, epoch }) => gateway === head.gateway && epoch === head.epoch)
  return kept?.heads.filter((head) => !isStored(head)) ?? []
}

async function listLedgers(query: Query): Promise<LedgerName[]> {
  const stored = await query<LedgerName>(ledgersSql)
  const known = new Set(stored.map(({ epoch }) => epoch))
  const onlyNoted = (await query<LedgerName>(notedSql)).filter(({ epoch }) => !known.has(epoch))
  return [...stored, ...onlyNoted]
}

async function* readEvents(query: Query, gateway: string, epoch: string): AsyncGenerator<AuditedEvent> {
  for (let after = 0; ;) {
    const rows = await query<EventRow>(eventsSql, [gateway, epoch, after])
    for (const row of rows) yield audited(row)
    const last = rows.at(-1)
    if (last === undefined || rows.length < pageRows) return
    after = last.sequence
  }
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
