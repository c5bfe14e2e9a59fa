import type { PoolClient } from 'pg'
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
import { readRetirements, type RetiredRange, type Retirements } from '../deeds/retirements.ts'
import { readChain, readEvents } from './events-postgres.ts'
import { type Heads, keysFor } from './heads.ts'
import { type Query, readNotes } from './notes-postgres.ts'
import { countDoubts, faultsOfHeads, readNotedChains, signaturesIn } from './signatures-postgres.ts'
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
  retired: readonly RetiredRange[]
  /** The retirements, of this ledger or not, and which archives are attached. */
  standing: readonly string[]
  closures: ReadonlyMap<string, AuditedClosure>
  strangerWith: (epoch: string) => string | undefined
  /** The chain value that the event in a place claims; null: it claims none; undefined: there is no event. */
  chainAt: (sequence: number) => Promise<string | null | undefined>
  mayBeSpokenOfBy: (gateway: string) => boolean
  /** How many notes that begin in front of a place are not believed. */
  doubtsBefore: (sequence: number) => Promise<number>
}

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
    await begin(client, database.where)
    const query: Query = async <Row>(text: string, values: readonly unknown[] = []) =>
      (await client.query(text, [...values])).rows as Row[]
    // What comes first is what is read: an index has the order, and nothing is sorted.
    await query('set local cursor_tuple_fraction = 0.001')
    const registry = await readRegistry(query)
    options.onRegistry?.(registry)
    const closuresOf = closuresIn(await query<Closure>(closuresSql), registry)
    const retirements = await readRetirements(query)
    const stored = await listLedgers(query, await retirements.ledgers())
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
      const retired = await retirements.rangesOf(ledger)
      const inDatabase: LedgerInDatabase = {
        ...ledger,
        retired,
        standing: retirements.standing,
        mayBeSpokenOfBy,
        keys: keysFor(gateway, registry, options.kept),
        registry,
        closures: closuresOf(ledger),
        acceptances: acceptances.get(ledgerKey(ledger)) ?? [],
        strangerWith(about) {
          const of = owners.get(about) ?? []
          return of.some((owner) => registry.maySpeakOf(gateway, owner)) ? undefined : of[0]
        },
        chainAt: remembered((sequence) =>
          readChain(query, ledger, sequence, { retired, attached: retirements.attached }),
        ),
        doubtsBefore: (sequence) =>
          countDoubts(query, { ...ledger, mayBeSpokenOfBy, signedThrough, ...around(retirements) }, sequence),
      }
      const sharedWith = (owners.get(epoch) ?? []).filter((owner) => owner !== gateway)
      const heads = headsOf.get(ledgerKey(ledger)) ?? []
      yield await auditOne(query, inDatabase, { options, heads, signedThrough, sharedWith, retirements })
    }
    await client.query('commit')
  } catch (error) {
    throw outageOfOurs(database.where, error) ?? error
  } finally {
    client.release(true)
  }
}

async function begin(client: PoolClient, where: string): Promise<void> {
  await trustNoSchema(client)
  await requireSchema(client, migrations, where)
  await client.query('begin transaction isolation level repeatable read, read only')
  // Before there is a snapshot: a partition that is dropped behind one is not in it any more, and nor is the word that it was.
  await client.query('lock table only tidegate.events, only tidegate.archived in access share mode')
}

interface Around {
  options: AuditOptions
  heads: readonly DemandedHead[]
  signedThrough: (ledger: LedgerName) => Promise<number>
  sharedWith: readonly string[]
  retirements: Retirements
}

/** What notes are judged by. */
function around(retirements: Retirements): {
  retirements: Retirements
  retiredThrough: Retirements['through']
} {
  return { retirements, retiredThrough: (ledger) => retirements.through(ledger) }
}

async function auditOne(
  query: Query,
  ledger: LedgerInDatabase,
  { options: { marking, settleMs, nowMs }, heads, retirements, signedThrough, sharedWith }: Around,
): Promise<LedgerReport> {
  const walk = await marking?.begin(query, ledger)
  const next = walk?.from?.next ?? 1
  const before = heads.filter(({ sequence }) => sequence < next)
  const judging = { signedThrough, ...around(retirements) }
  const notedAt = (sequence: number): Promise<string[]> =>
    readNotedChains(query, { ...ledger, ...judging }, sequence)
  const report = await auditLedger({
    ...ledger,
    ...judging,
    sharedWith,
    from: walk?.from,
    onState: walk?.onState,
    events: seenBy(
      walk,
      readEvents(query, ledger, { from: next, retired: ledger.retired, attached: retirements.attached }),
    ),
    notes: readNotes(query, ledger.epoch, { from: next, retirements }),
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

function byName(a: LedgerName, b: LedgerName): number {
  return ledgerKey(a) < ledgerKey(b) ? -1 : 1
}

async function listLedgers(query: Query, retired: readonly LedgerName[]): Promise<LedgerName[]> {
  const there = await query<LedgerName>(ledgersSql)
  const names = new Set(there.map(ledgerKey))
  const gone = retired.filter((ledger) => !names.has(ledgerKey(ledger)))
  const stored = [...there, ...gone].toSorted(byName)
  const known = new Set(stored.map(({ epoch }) => epoch))
  const onlyNoted = (await query<LedgerName>(notedSql)).filter(({ epoch }) => !known.has(epoch))
  return [...stored, ...onlyNoted]
}
