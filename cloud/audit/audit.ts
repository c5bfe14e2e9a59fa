import { type Acceptance, partedBy } from '../deeds/acceptances.ts'
import { claimedChain, genesis, verifyChain } from '../../src/contract/codec.ts'
import { openAccount, type Stretch } from './account.ts'
import { CheckpointAudit, type Signed, type Signers } from './checkpoints.ts'
import { type AuditedEvent, type AuditFault, examineEvent } from './event.ts'
import { type AuditedNote, doubtOf, type LedgerName, isRepeat } from './notes.ts'
import { type LedgerEntry, ledgerType } from '../../src/contract/event.ts'
import { keyObjectOf } from '../gateways/registry.ts'
import { parseText, placeText } from './text.ts'
import { readLedgerEntry } from '../history/ledger-entry.ts'
import { addRange, emptyRanges, type RangeList } from './ranges.ts'

/**
 * The proof that a gateway's ledger is complete and untouched (G8): which sequences are present, which are accounted
 * for as not delivered, which are missing, and whether the hash chain holds. Pure over two ordered streams, in flat
 * memory, so that PostgreSQL, a file or a simulation can stand behind it.
 */
export interface LedgerToAudit extends LedgerName, Partial<Signers> {
  /** Ordered by sequence, each at most once. */
  events: AsyncIterable<AuditedEvent>
  /** Ordered by `from`. */
  notes: AsyncIterable<AuditedNote>
  /** Which epochs were closed: of this gateway and others, by epoch. */
  closures: ReadonlyMap<string, AuditedClosure>
  /** Whether what a gateway says of this ledger is believed: it is its own, or was when it was called otherwise (G9). */
  mayBeSpokenOfBy(gateway: string): boolean
  /** Up to where a ledger is signed, of this gateway or of one that speaks of it; 0: nowhere. */
  signedThrough?: (ledger: LedgerName) => Promise<number>
  /** Losses that somebody has accepted, by `from`. */
  acceptances?: readonly Acceptance[]
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
  /** The highest sequence anybody told us of. */
  lastSequence: number
  /** When the gateway recorded the newest event that is stored, RFC 3339; null: none is. What came after it nobody here can know. */
  lastRecordedTime: string | null
  present: RangeList
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
  ok: boolean
}

const faultsMax = 20
const acceptancesMax = 20
const chainFaults: ReadonlySet<AuditFault['kind']> = new Set(['altered', 'moved', 'unlinked', 'rewritten'])

export async function auditLedger(ledger: LedgerToAudit): Promise<LedgerReport> {
  const { gateway, epoch } = ledger
  const report = emptyReport(ledger)
  const addFault = (fault: AuditFault | undefined): void => {
    if (fault === undefined) return
    if (report.faults.length < faultsMax) report.faults.push(fault)
    report.faultCount++
    if (chainFaults.has(fault.kind)) report.chain = 'broken'
  }
  const settled = (knownMs: number): boolean => knownMs <= (ledger.settledBeforeMs ?? Infinity)
  const account = openAccount(believed(ledger, settled, addFault))
  const signers = { keys: ledger.keys ?? [], kept: ledger.kept ?? [] }
  const checkpoints = new CheckpointAudit(ledger, signers, settled)
  for (const fault of faultsBeforehand(ledger)) addFault(fault)
  let next = 1
  let lastRecordedMs = NaN
  let chain: string | undefined = genesis(gateway, epoch)

  const passOver = (stretch: Stretch, knownMs: number): void => {
    addFault(unlinkedRepeat(stretch, chain))
    const isPending = stretch.note ? stretch.note.isUnsigned === true : !settled(knownMs)
    if (!(stretch.note && isRepeat(stretch.note) && chain !== undefined))
      for (const fault of checkpoints.parted(stretch.from, isPending)) addFault(fault)
    enter(stretch, report, isPending, ledger.acceptances)
    chain = stretch.note?.to === stretch.to ? stretch.note.chain : undefined
    next = stretch.to + 1
  }

  for await (const event of ledger.events) {
    if (event.sequence > next) {
      for await (const stretch of account.explain(next, event.sequence - 1)) passOver(stretch, event.storedMs)
    }
    addRange(report.present, event.sequence, event.sequence)
    if (chain === undefined) report.unverifiedLinks++
    addFault(examineEvent(event, ledger, chain) ?? faultOfEntry(event, ledger))
    for (const fault of checkpoints.next(event)) addFault(fault)
    chain = claimedChain(event.body)
    next = event.sequence + 1
    lastRecordedMs = event.recordedMs
  }
  // What says that there is more may overtake it: a closed epoch's last events may come after the word of its end.
  const closure = ledger.closures.get(epoch)
  for await (const stretch of account.explainRest(next, closure?.last ?? 0))
    passOver(stretch, (stretch.next ?? closure)?.notedMs ?? 0)

  report.lastSequence = next - 1
  const { found, faults } = checkpoints.end(report.lastSequence, report.pending.ranges.at(-1)?.[1] ?? 0)
  for (const fault of faults) addFault(fault)
  Object.assign(report, found)
  report.lastRecordedTime = timeOf(lastRecordedMs)
  report.lastChain = chain ?? null
  report.ok = report.faultCount === 0 && report.gaps.count === 0
  return report
}

function emptyReport({ gateway, epoch }: LedgerName): LedgerReport {
  return {
    gateway,
    epoch,
    lastSequence: 0,
    lastRecordedTime: null,
    present: emptyRanges(),
    undelivered: {},
    accepted: emptyRanges(),
    acceptances: [],
    gaps: emptyRanges(),
    pending: emptyRanges(),
    chain: 'intact',
    lastChain: null,
    unverifiedLinks: 0,
    signed: null,
    unsignedEvents: 0,
    uncoveredEvents: 0,
    unverified: null,
    faults: [],
    faultCount: 0,
    ok: true,
  }
}

/** null: it is no time at all, which is a fault of its own. */
function timeOf(ms: number): string | null {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? null : date.toISOString()
}

/** What an audit of any event would not show. */
function faultsBeforehand({ keys = [], sharedWith = [] }: LedgerToAudit): AuditFault[] {
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

/** The notes that rest on what is stored. Of the others each is a fault, and explains nothing. */
async function* believed(
  ledger: LedgerToAudit,
  settled: (knownMs: number) => boolean,
  addFault: (fault: AuditFault) => void,
): AsyncGenerator<AuditedNote> {
  for await (const note of ledger.notes) {
    // Whoever says so has it against himself, in a ledger of his own.
    if (!ledger.mayBeSpokenOfBy(note.cites.gateway)) continue
    const isUnsigned = !isRepeat(note) && (await isUnsignedReport(note, ledger))
    const doubt =
      doubtOf(note, ledger) ??
      (isUnsigned && settled(note.notedMs)
        ? `${placeText(note.cites)} says so, and is not signed`
        : undefined)
    if (doubt === undefined) yield isUnsigned ? { ...note, isUnsigned } : note
    else {
      const { from, to, reason } = note
      const detail = `the note that ${from === to ? from : `${from}–${to}`} is ${reason} is not believed: ${doubt}`
      addFault({ sequence: from, kind: 'unfounded', detail })
    }
  }
}

/** A gateway gives account of its own ledgers. */
function faultOfEntry(event: AuditedEvent, ledger: LedgerToAudit): AuditFault | undefined {
  const { sequence, source, id, type, body } = event
  const entry = type === ledgerType ? readLedgerEntry(parseText(body)?.['data']) : undefined
  if (entry === undefined) return undefined
  const owner = entry.epoch === ledger.epoch ? undefined : ledger.strangerWith?.(entry.epoch)
  if (owner === undefined) return entry.kind === 'epoch-closed' ? unrecorded(event, entry, ledger) : undefined
  const detail = `it speaks of epoch ${entry.epoch}, which is ${owner}’s: nothing of that is believed`
  return { sequence, source, id, kind: 'foreign', detail }
}

/** Who removes the end of a closed epoch, or all of it, must make its closure disappear: the event that closed it is left. */
function unrecorded(
  { sequence, source, id }: AuditedEvent,
  entry: LedgerEntry & { kind: 'epoch-closed' },
  { closures }: LedgerToAudit,
): AuditFault | undefined {
  const recorded = closures.get(entry.epoch)?.last
  if (recorded !== undefined && recorded >= entry.lastSequence) return undefined
  const instead = recorded === undefined ? 'nothing of that is' : `only ${recorded} is`
  const detail = `it says that epoch ${entry.epoch} reached ${entry.lastSequence}, and ${instead} recorded`
  return { sequence, source, id, kind: 'unrecorded', detail }
}

/** A repeat's text is kept, so the chain goes through it as through an event. */
function unlinkedRepeat({ from, note }: Stretch, chain: string | undefined): AuditFault | undefined {
  if (note?.proof === undefined || !isRepeat(note) || chain === undefined) return undefined
  if (verifyChain(note.proof.body, chain)) return undefined
  return {
    sequence: from,
    kind: 'unlinked',
    detail: `the text of this ${note.reason} was altered, or what stood before it at ${from - 1} was`,
  }
}

/** Enters a stretch without events under its reason, or as missing. */
function enter(
  { from, to, note }: Stretch,
  report: LedgerReport,
  isPending: boolean,
  acceptances: readonly Acceptance[] = [],
): void {
  if (note && !isPending) addRange((report.undelivered[note.reason] ??= emptyRanges()), from, to)
  else if (note) addRange(report.pending, from, to)
  else {
    // Only what nothing else explains.
    for (const part of partedBy(acceptances, from, to)) {
      const { acceptance } = part
      addRange(acceptance ? report.accepted : isPending ? report.pending : report.gaps, part.from, part.to)
      if (acceptance) tellAcceptance(report, { ...acceptance, from: part.from, to: part.to })
    }
  }
}

function tellAcceptance({ acceptances }: LedgerReport, { from, to, by, at, reason }: Acceptance): void {
  if (acceptances.length < acceptancesMax) acceptances.push({ from, to, by, at, reason })
}

/** What excuses a loss in a signed ledger is to be signed as well: anybody can write a ledger event that follows some chain. */
async function isUnsignedReport({ cites }: AuditedNote, ledger: LedgerToAudit): Promise<boolean> {
  const { signedThrough } = ledger
  if (signedThrough === undefined || (await signedThrough(ledger)) === 0) return false
  return cites.sequence > (await signedThrough(cites))
}
