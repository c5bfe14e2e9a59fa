import { claimedChain, genesis, verifyChain } from '../src/codec.ts'
import { openAccount, type Stretch } from './audit-account.ts'
import { addRange, emptyRanges, type RangeList } from './ranges.ts'

/**
 * The proof that a gateway's ledger is complete and untouched (G8): which sequences are present, which are accounted
 * for as not delivered, which are missing, and whether the hash chain holds. Pure over two ordered streams, in flat
 * memory, so that PostgreSQL, a file or a simulation can stand behind it.
 */
export interface LedgerToAudit {
  gateway: string
  epoch: string
  /** Ordered by sequence, each at most once. */
  events: AsyncIterable<AuditedEvent>
  /** Ordered by `from`. */
  notes: AsyncIterable<AuditedNote>
  closure?: AuditedClosure | undefined
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

export interface AuditedEvent {
  sequence: number
  source: string
  id: string
  type: string
  storedMs: number
  /** The wire text, verbatim. */
  body: string
}

export interface AuditedNote {
  from: number
  to: number
  reason: string
  /** The chain value of `to`, if known. */
  chain: string | undefined
  notedMs: number
}

export interface LedgerReport {
  gateway: string
  epoch: string
  /** The highest sequence anybody told us of. */
  lastSequence: number
  present: RangeList
  /** Not delivered and accounted for, by reason. */
  undelivered: Record<string, RangeList>
  /** Missing without an account: an alarm. */
  gaps: RangeList
  /** Missing, but perhaps still on the way. */
  pending: RangeList
  chain: 'intact' | 'broken'
  /** Links that could not be followed, because what lies before them is gone. */
  unverifiedLinks: number
  /** The first ones; `faultCount` counts all. */
  faults: AuditFault[]
  faultCount: number
  ok: boolean
}

export interface AuditFault {
  sequence: number
  source: string
  id: string
  kind: 'altered' | 'moved' | 'relabelled' | 'unlinked'
  detail: string
}

const faultsMax = 20

export async function auditLedger(ledger: LedgerToAudit): Promise<LedgerReport> {
  const { gateway, epoch } = ledger
  const report: LedgerReport = {
    gateway,
    epoch,
    lastSequence: 0,
    present: emptyRanges(),
    undelivered: {},
    gaps: emptyRanges(),
    pending: emptyRanges(),
    chain: 'intact',
    unverifiedLinks: 0,
    faults: [],
    faultCount: 0,
    ok: true,
  }
  const account = openAccount(ledger.notes)
  const settled = (knownMs: number): boolean => knownMs <= (ledger.settledBeforeMs ?? Infinity)
  let next = 1
  let chain: string | undefined = genesis(gateway, epoch)

  for await (const event of ledger.events) {
    if (event.sequence > next) {
      for await (const stretch of account.explain(next, event.sequence - 1))
        chain = enter(stretch, report, settled(event.storedMs))
    }
    addRange(report.present, event.sequence, event.sequence)
    if (chain === undefined) report.unverifiedLinks++
    const fault = examine(event, ledger, chain)
    if (fault) {
      if (report.faults.length < faultsMax) report.faults.push(fault)
      report.faultCount++
    }
    chain = claimedChain(event.body)
    next = event.sequence + 1
  }
  // What says that there is more may overtake it: a closed epoch's last events may come after the word of its end.
  for await (const stretch of account.explainRest(next, ledger.closure?.last ?? 0)) {
    enter(stretch, report, settled((stretch.next ?? ledger.closure)?.notedMs ?? 0))
    next = stretch.to + 1
  }

  report.lastSequence = next - 1
  if (report.faultCount > 0) report.chain = 'broken'
  report.ok = report.faultCount === 0 && report.gaps.count === 0
  return report
}

/**
 * Enters a stretch without events under its reason, or as missing.
 * @returns the chain value of its last place, if it is known.
 */
function enter({ from, to, note }: Stretch, report: LedgerReport, settled: boolean): string | undefined {
  if (note) addRange((report.undelivered[note.reason] ??= emptyRanges()), from, to)
  else addRange(settled ? report.gaps : report.pending, from, to)
  return note?.to === to ? note.chain : undefined
}

/** What is wrong with one event, if anything; `chain` is that of its predecessor, if it is known. */
function examine(
  event: AuditedEvent,
  { gateway, epoch }: LedgerToAudit,
  chain: string | undefined,
): AuditFault | undefined {
  const { sequence, source, id, body } = event
  const fault = (kind: AuditFault['kind'], detail: string): AuditFault => ({
    sequence,
    source,
    id,
    kind,
    detail,
  })
  const text = parse(body)
  if (text === undefined) return fault('altered', 'its text is not a JSON object')
  if (text['gateway'] !== gateway || text['epoch'] !== epoch || text['sequence'] !== sequence) {
    const place = `${String(text['gateway'])}/${String(text['epoch'])}/${String(text['sequence'])}`
    return fault('moved', `its text belongs at ${place}`)
  }
  for (const name of ['source', 'id', 'type'] as const) {
    if (text[name] !== event[name]) {
      return fault('relabelled', `its text says ${name} ${JSON.stringify(text[name])}`)
    }
  }
  if (claimedChain(body) === undefined) return fault('altered', 'its text does not end with its chain value')
  if (chain !== undefined && !verifyChain(body, chain)) {
    return fault('unlinked', `its text was altered, or what stood before it at ${sequence - 1} was`)
  }
  return undefined
}

function parse(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
