import { type Acceptance, ledgerKey } from '../deeds/acceptances.ts'
import type { RetiredRange } from '../deeds/retirements.ts'
import { keyObjectOf, type Registry } from '../gateways/registry.ts'
import type { CheckpointState, DemandedHead, Signed, Signers } from './checkpoints.ts'
import type { AuditedEvent, AuditFault } from './event.ts'
import type { AuditedNote, LedgerName } from './notes.ts'
import { copyRanges, emptyRanges, type RangeList } from './ranges.ts'

/**
 * The proof that a gateway's ledger is complete and untouched (G8): which sequences are present, which are accounted
 * for as not delivered, which are missing, and whether the hash chain holds. Pure over two ordered streams, in flat
 * memory, so that PostgreSQL, a file or a simulation can stand behind it.
 */
export interface LedgerToAudit extends LedgerName, Partial<Signers> {
  /** Ordered by sequence. A place that is stored twice, in two weeks, comes twice. */
  events: AsyncIterable<AuditedEvent>
  /** Ordered by `from`. */
  notes: AsyncIterable<AuditedNote>
  /** Where an earlier audit stood: this one goes on from there, with the events and notes that begin at `from.next` or behind. */
  from?: LedgerState | undefined
  /** Is handed states from which an audit can go on later, in order. Nothing is pending in front of them. */
  onState?: ((state: LedgerState) => void) | undefined
  /** States are apart by so many places, at the least. */
  statesEvery?: number
  /** Of heads in front of `from.next` that the ledger must have, what is wrong; `kept` are those behind. */
  headFaults?: readonly AuditFault[]
  /** Which epochs were closed: of this gateway and others, by epoch. */
  closures: ReadonlyMap<string, AuditedClosure>
  /** Whether what a gateway says of this ledger is believed: it is its own, or was when it was called otherwise (G9). */
  mayBeSpokenOfBy(gateway: string): boolean
  /** Up to where a ledger is signed, of this gateway or of one that speaks of it; 0: nowhere. */
  signedThrough?: (ledger: LedgerName) => Promise<number>
  /** Losses that somebody has accepted, by `from`. */
  acceptances?: readonly Acceptance[]
  /** What was archived and taken out of history, in order. */
  retired?: readonly RetiredRange[]
  /** The last sequence of a ledger that was; 0: none was. What it signed is in the archive. */
  retiredThrough?: (ledger: LedgerName) => Promise<number>
  /** Others who have events of this epoch: it is theirs or this gateway’s. */
  sharedWith?: readonly string[]
  /** Whose an epoch is, if its events are stored and this gateway may not speak of them. */
  strangerWith?: (epoch: string) => string | undefined
  /**
   * A gap is pending, not yet an alarm, if what lies behind it became known after this moment (ms). Default: every gap
   * alarms.
   */
  settledBeforeMs?: number | undefined
}

/** The epoch was closed and reached at least this sequence. */
export interface AuditedClosure {
  last: number
  notedMs: number
}

export interface LedgerReport extends Signed {
  gateway: string
  epoch: string
  /** What stands in front of it was not read, and is reported as it was found before. 1: all was read. */
  readFrom: number
  /** How many events stand there. */
  unread: number
  /** The highest sequence anybody told us of. */
  lastSequence: number
  /** When the gateway recorded the newest event that is stored, RFC 3339; null: none is. What came after it nobody here can know. */
  lastRecordedTime: string | null
  present: RangeList
  /** Archived and taken out, as the cloud's own ledger says: the chain goes on behind them, and through those that are attached. */
  retired: RangeList
  /** Of these, how many were read in archives that are attached; of the others the ends of their ranges are known. */
  retiredRead: number
  /** Not delivered and accounted for, by reason. */
  undelivered: Record<string, RangeList>
  /** Missing without an account, and somebody has accepted that. */
  accepted: RangeList
  /** Who did, the first of them; `accepted` counts all. */
  acceptances: Acceptance[]
  /** Missing without an account: an alarm. */
  gaps: RangeList
  /** Missing, but perhaps still on the way. */
  pending: RangeList
  chain: 'intact' | 'broken'
  /** The chain value of the last sequence, if it is known: kept elsewhere, it shows later whether this was altered. */
  lastChain: string | null
  /** Links that could not be followed, because what lies before them is gone. */
  unverifiedLinks: number
  /** The first ones; `faultCount` counts all. */
  faults: AuditFault[]
  faultCount: number
  /** Heads that were kept, and are not there as they were. */
  headsLost: number
  ok: boolean
}

/** What an audit knows when it has come to a place of a ledger: all that it needs to go on from there. Plain JSON. */
export interface LedgerState {
  /** The place that comes next; an event stands right before it. */
  next: number
  /** The chain value right before it; null: its event does not end with one. */
  chain: string | null
  lastRecordedMs: number | null
  found: Found
  checkpoints: CheckpointState
  /** What the ledger has said of epochs that nobody else had events of: it must stay so. */
  says: Said[]
  /** How many notes in front of it are not believed: each may come to be, when what it rests on is put back. */
  doubts: number
}

/** `last`: it was said to be closed there; null: something else was said of it. */
export interface Said {
  epoch: string
  last: number | null
  /** It was said to be closed there, and that was not recorded. */
  unrecorded?: number
}

/** What is found on the way. */
export type Found = Pick<
  LedgerReport,
  | 'present'
  | 'retired'
  | 'retiredRead'
  | 'undelivered'
  | 'accepted'
  | 'acceptances'
  | 'gaps'
  | 'chain'
  | 'unverifiedLinks'
  | 'faults'
  | 'faultCount'
>

export function emptyFound(): Found {
  return {
    present: emptyRanges(),
    retired: emptyRanges(),
    retiredRead: 0,
    undelivered: {},
    accepted: emptyRanges(),
    acceptances: [],
    gaps: emptyRanges(),
    chain: 'intact',
    unverifiedLinks: 0,
    faults: [],
    faultCount: 0,
  }
}

export function copyFound(found: Found): Found {
  const { present, retired, undelivered, accepted, acceptances, gaps, faults, ...plain } = found
  const reasons = Object.entries(undelivered).map(([reason, list]) => [reason, copyRanges(list)] as const)
  return {
    ...plain,
    present: copyRanges(present),
    retired: copyRanges(retired),
    undelivered: Object.fromEntries(reasons),
    accepted: copyRanges(accepted),
    acceptances: [...acceptances],
    gaps: copyRanges(gaps),
    faults: [...faults],
  }
}

/** As many as outboxes were replaced. */
export interface Closure extends AuditedClosure, LedgerName {}

/** For each ledger those of its own epoch, by whoever may speak of it, and what its gateway says of others. */
export function closuresIn(
  closures: readonly Closure[],
  registry: Registry,
): (ledger: LedgerName) => Map<string, AuditedClosure> {
  const byEpoch = grouped(closures, ({ epoch }) => epoch)
  const bySpeaker = grouped(closures, ({ gateway }) => gateway)
  return ({ gateway, epoch }) => {
    const ofIt = (byEpoch.get(epoch) ?? []).filter((one) => registry.maySpeakOf(one.gateway, gateway))
    const ofOthers = (bySpeaker.get(gateway) ?? []).filter((one) => one.epoch !== epoch)
    const found = new Map<string, AuditedClosure>()
    for (const { epoch: about, last, notedMs } of [...ofIt, ...ofOthers])
      if (last >= (found.get(about)?.last ?? 0)) found.set(about, { last, notedMs })
    return found
  }
}

/** By ledger. */
export function headsByLedger(heads: readonly DemandedHead[]): Map<string, DemandedHead[]> {
  return grouped(heads, ledgerKey)
}

/** Ledgers of which a head was kept, and nothing else is left. */
export function goneLedgers(stored: readonly LedgerName[], demanded: readonly DemandedHead[]): LedgerName[] {
  const known = new Set(stored.map(ledgerKey))
  const gone = new Map(
    demanded.map(({ gateway, epoch }) => [ledgerKey({ gateway, epoch }), { gateway, epoch }]),
  )
  return [...gone].filter(([key]) => !known.has(key)).map(([, ledger]) => ledger)
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}

/** What an audit of any event would not show. */
export function faultsBeforehand({
  keys = [],
  sharedWith = [],
}: Pick<LedgerToAudit, 'keys' | 'sharedWith'>): AuditFault[] {
  const shared = sharedWith.map(
    (other) => `${other} has events of this epoch too: one of the two has taken it`,
  )
  const unreadable = keys
    .filter((key) => keyObjectOf(key) === undefined)
    .map(({ fingerprint }) => `what is registered as key ${fingerprint} is no public key`)
  return [
    ...shared.map((detail): AuditFault => ({ sequence: 1, kind: 'shared', detail })),
    ...unreadable.map((detail): AuditFault => ({ sequence: 1, kind: 'unknown-key', detail })),
  ]
}
