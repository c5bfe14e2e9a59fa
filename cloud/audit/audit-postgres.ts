import type { Database } from '../database/database-postgres.ts'
import { TidegateError } from '../../src/errors.ts'
import { outageOfOurs } from '../database/faults-postgres.ts'
import { requireSchema } from '../database/migrate-postgres.ts'
import { trustNoSchema } from '../database/roles-postgres.ts'
import { migrations } from '../database/migrations/all.ts'
import { readRegistry } from '../gateways/registry-postgres.ts'
import type { GatewayKey, Registry } from '../gateways/registry.ts'
import type { DemandedHead } from './checkpoints.ts'
import type { AuditedEvent } from './event.ts'
import { type Acceptance, ledgerKey, readAcceptances } from '../deeds/acceptances.ts'
import { type Heads, keysFor } from './heads.ts'
import { type Query, readNotes } from './notes-postgres.ts'
import {
  countDoubts,
  faultsOfHeads,
  readChain,
  readNotedChains,
  signaturesIn,
} from './signatures-postgres.ts'
import type { LedgerName } from './notes.ts'
import { auditLedger } from './audit.ts'
import {
  type AuditedClosure,
  type Closure,
  closuresIn,
  goneLedgers,
  headsByLedger,
  type LedgerReport,
  type LedgerState,
} from './ledger.ts'

export interface AuditOptions {
  /** Only this gateway's ledgers. */
  gateway?: string | undefined
  /** Gaps younger than this are pending: what is missing may be on its way. */
  settleMs?: number | undefined
  nowMs: number
  /** Heads and keys that were kept elsewhere: the database must have the ones, and is not asked for the others. */
  kept?: Heads | undefined
  /** Further heads that it must have. */
  expected?: readonly DemandedHead[] | undefined
  /** Where audits of before have come to. Default: everything is read. */
  marking?: Marking | undefined
  /** Told once who the gateways are by this database. */
  onRegistry?: (registry: Registry) => void
}

/** Where an audit begins, ledger by ledger, and what it leaves for the next one. */
export interface Marking {
  /** The ledgers must still have them. */
  heads: readonly DemandedHead[]
  /** Within the snapshot, before the first ledger. */
  open(query: Query): Promise<void>
  begin(query: Query, ledger: LedgerInDatabase): Promise<MarkedWalk>
}

export interface MarkedWalk {
  from: LedgerState | undefined
  /** Each event that comes by. */
  onEvent(event: AuditedEvent): void
  onState: (state: LedgerState) => void
  end(report: LedgerReport): Promise<void>
}

/** A ledger, and what of the rest of the database its audit rests on. */
export interface LedgerInDatabase extends LedgerName {
  keys: readonly GatewayKey[]
  registry: Registry
  acceptances: readonly Acceptance[]
  closures: ReadonlyMap<string, AuditedClosure>
  strangerWith: (epoch: string) => string | undefined
  /** The chain value that the event in a place claims; null: it claims none; undefined: there is no event. */
  chainAt: (sequence: number) => Promise<string | null | undefined>
  mayBeSpokenOfBy: (gateway: string) => boolean
  /** How many notes that begin in front of a place are not believed. */
  doubtsBefore: (sequence: number) => Promise<number>
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

// A cursor: planned once for all weeks, and merged once. Qualified: a bare `sequence` in the order would mean the converted output
// column, and no index has that. A place that is stored twice, in two weeks, comes twice, by its position.
const eventsSql = `
declare audited no scroll cursor for
select e.sequence::float8 as sequence, source, id, type, subject, dataschema,
       extract(epoch from time)::float8 * 1000 as "timeMs", extract(epoch from recorded_time)::float8 * 1000 as "recordedMs",
       disposition, reason, extract(epoch from stored_time)::float8 * 1000 as "storedMs", body::text as body
from tidegate.events as e
where e.gateway = $1 and e.epoch = $2 and e.sequence >= $3 order by e.sequence, e.position`

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
    // What comes first is what is read: an index has the order, and nothing is sorted.
    await query('set local cursor_tuple_fraction = 0.001')
    await requireSchema(client, migrations, database.where)
    const registry = await readRegistry(query)
    options.onRegistry?.(registry)
    const closuresOf = closuresIn(await query<Closure>(closuresSql), registry)
    const stored = await listLedgers(query)
    const owners = ownersOf(stored)
    const signedThrough = signaturesIn(query, (gateway) => keysFor(gateway, registry, options.kept))
    const acceptances = await readAcceptances(query)
    const { marking } = options
    const demanded = [...(options.kept?.heads ?? []), ...(options.expected ?? []), ...(marking?.heads ?? [])]
    const headsOf = headsByLedger(demanded)
    const all = [...stored, ...goneLedgers(stored, demanded)]
    const wanted = all.filter(({ gateway }) => options.gateway === undefined || gateway === options.gateway)
    if (wanted.length === 0) throw nothingToAudit(options.gateway, stored)
    await marking?.open(query)
    for (const ledger of wanted) {
      const { gateway, epoch } = ledger
      const mayBeSpokenOfBy = (speaker: string): boolean => registry.maySpeakOf(speaker, gateway)
      const inDatabase: LedgerInDatabase = {
        ...ledger,
        mayBeSpokenOfBy,
        keys: keysFor(gateway, registry, options.kept),
        registry,
        closures: closuresOf(ledger),
        acceptances: acceptances.get(ledgerKey(ledger)) ?? [],
        strangerWith(about) {
          const of = owners.get(about) ?? []
          return of.some((owner) => registry.maySpeakOf(gateway, owner)) ? undefined : of[0]
        },
        chainAt: remembered((sequence) => readChain(query, ledger, sequence)),
        doubtsBefore: (sequence) =>
          countDoubts(query, { ...ledger, mayBeSpokenOfBy, signedThrough }, sequence),
      }
      const sharedWith = (owners.get(epoch) ?? []).filter((owner) => owner !== gateway)
      const heads = headsOf.get(ledgerKey(ledger)) ?? []
      yield await auditOne(query, inDatabase, { options, heads, signedThrough, sharedWith })
    }
    await client.query('commit')
  } catch (error) {
    throw outageOfOurs(database.where, error) ?? error
  } finally {
    client.release(true)
  }
}

interface Around {
  options: AuditOptions
  heads: readonly DemandedHead[]
  signedThrough: (ledger: LedgerName) => Promise<number>
  sharedWith: readonly string[]
}

async function auditOne(
  query: Query,
  ledger: LedgerInDatabase,
  { options: { marking, settleMs, nowMs }, heads, ...around }: Around,
): Promise<LedgerReport> {
  const walk = await marking?.begin(query, ledger)
  const next = walk?.from?.next ?? 1
  const before = heads.filter(({ sequence }) => sequence < next)
  const { signedThrough } = around
  const notedAt = (sequence: number): Promise<string[]> =>
    readNotedChains(query, { ...ledger, signedThrough }, sequence)
  const report = await auditLedger({
    ...ledger,
    ...around,
    from: walk?.from,
    onState: walk?.onState,
    events: seenBy(walk, readEvents(query, ledger, next)),
    notes: readNotes(query, ledger.epoch, next),
    kept: heads.filter(({ sequence }) => sequence >= next),
    headFaults: await faultsOfHeads(before, { ...ledger, notedAt }),
    settledBeforeMs: settleMs === undefined ? undefined : nowMs - settleMs,
  })
  await walk?.end(report)
  return report
}

async function* seenBy(
  walk: MarkedWalk | undefined,
  events: AsyncIterable<AuditedEvent>,
): AsyncGenerator<AuditedEvent> {
  for await (const event of events) {
    walk?.onEvent(event)
    yield event
  }
}

/** Asked for once. */
function remembered<T>(read: (sequence: number) => Promise<T>): (sequence: number) => Promise<T> {
  const known = new Map<number, Promise<T>>()
  return (sequence) => {
    const value = known.get(sequence) ?? read(sequence)
    known.set(sequence, value)
    return value
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

async function listLedgers(query: Query): Promise<LedgerName[]> {
  const stored = await query<LedgerName>(ledgersSql)
  const known = new Set(stored.map(({ epoch }) => epoch))
  const onlyNoted = (await query<LedgerName>(notedSql)).filter(({ epoch }) => !known.has(epoch))
  return [...stored, ...onlyNoted]
}

async function* readEvents(
  query: Query,
  { gateway, epoch }: LedgerName,
  from: number,
): AsyncGenerator<AuditedEvent> {
  await query(eventsSql, [gateway, epoch, from])
  for (;;) {
    const rows = await query<EventRow>(`fetch ${pageRows} from audited`)
    for (const row of rows) yield audited(row)
    if (rows.length < pageRows) break
  }
  await query('close audited')
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
