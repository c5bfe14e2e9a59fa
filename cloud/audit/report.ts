import type { RepeatReason } from '../history/history.ts'
import type { AuditFault } from './event.ts'
import type { LedgerReport } from './ledger.ts'
import { formatRanges } from './ranges.ts'

/** A ledger's report as a person reads it. */
export function formatLedger(report: LedgerReport): string {
  const { gateway, epoch, lastSequence, present, undelivered, gaps, pending, faults, faultCount } = report
  const { accepted, acceptances, retired } = report
  const lines = [
    `${mark(report)} ${gateway}  epoch ${epoch}  ${count(present.count)} of ${count(lastSequence)} present`,
    row('present', present.count, formatRanges(present)),
    row('retired', retired.count, `${formatRanges(retired)}${readText(report.retiredRead)}`),
    ...Object.entries(undelivered).map(([reason, list]) => row(reason, list.count, formatRanges(list))),
    row('on the way', pending.count, formatRanges(pending)),
    row('accepted', accepted.count, formatRanges(accepted)),
    ...acceptances.map(formatAcceptance),
    // A signature covers what is present; it says nothing of who took the rest.
    accepted.count > 0 && report.signed !== null
      ? '        this ledger is signed, its acceptances are not: no gateway says that it gave these up'
      : '',
    row('MISSING', gaps.count, formatRanges(gaps)),
    `      ${chainLine(report)}`,
    headText(report) === null ? '' : `      head ${headText(report)}`,
    report.readFrom === 1
      ? ''
      : `      read from ${report.readFrom} on; in front of it is said what was found before`,
    `      ${signedLine(report)}`,
    ...faults.map((fault) => `      ${formatFault(fault)}`),
    faultCount > faults.length ? `      … and ${count(faultCount - faults.length)} more` : '',
  ]
  return lines.filter((line) => line !== '').join('\n')
}

/** What was not read is known by the ends of its ranges. */
function readText(retiredRead: number): string {
  return retiredRead === 0 ? '' : `; ${count(retiredRead)} of them read in attached archives`
}

/** How a head is written, to be kept elsewhere and demanded later (`--expect`); null: the chain value there is not known. */
export function headText({
  gateway,
  epoch,
  lastSequence,
  lastChain,
}: Pick<LedgerReport, 'gateway' | 'epoch' | 'lastSequence' | 'lastChain'>): string | null {
  return lastChain === null || lastSequence === 0 ? null : `${gateway}=${epoch}/${lastSequence}:${lastChain}`
}

function formatAcceptance({ from, to, by, at, reason }: LedgerReport['acceptances'][number]): string {
  const range = from === to ? String(from) : `${from}–${to}`
  // Nobody signs the cloud's own ledger.
  return `        ${range} accepted (unsigned) by ${by}, ${at}: ${reason}`
}

function chainLine(report: LedgerReport): string {
  const { chain, unverifiedLinks, lastSequence, lastRecordedTime, lastChain } = report
  const recorded =
    lastRecordedTime === null ? '' : `; the newest event stored was recorded ${lastRecordedTime}`
  const ends = lastChain === null ? '' : `; it ends at ${lastSequence} with ${lastChain}`
  const gone =
    unverifiedLinks === 0
      ? ''
      : `; ${counted(unverifiedLinks, 'link')} cannot be followed: what lies before is gone`
  return `chain ${chain}${gone}${ends}${recorded}`
}

function signedLine({ signed, unverified, unsignedEvents, uncoveredEvents }: LedgerReport): string {
  const newest = signed ?? unverified
  if (newest === null) return 'not signed'
  const until = `signed up to ${newest.sequence} (${newest.time}, key ${newest.key})`
  return signed === null
    ? `${until}, and nobody has registered a key of this gateway to verify that with`
    : `${until}, ${counted(unsignedEvents, 'event')} behind${butFor(uncoveredEvents)}`
}

function butFor(uncovered: number): string {
  return uncovered === 0
    ? ''
    : `; ${counted(uncovered, 'event')} before it right before a loss, and not covered`
}

function formatFault({ kind, sequence, source, id, detail }: AuditFault): string {
  const who = id === undefined ? '' : `${source} ${id}: `
  return `${kind.toUpperCase()} ${sequence}  ${who}${detail}`
}

/** `wait`: what is missing is too young to be an alarm. */
function mark({ ok, pending }: LedgerReport): string {
  if (!ok) return 'ALARM'
  return pending.count > 0 ? 'wait ' : 'ok   '
}

/** The reason of a reading that has the identity of another one. */
const rival: RepeatReason = 'rival'

export interface AuditSummary {
  ledgers: number
  events: number
  undelivered: number
  /** Archived and taken out of history. */
  retired: number
  /** Of the retired, read in archives that are attached. */
  retiredRead: number
  /** Of the undelivered, readings whose identity another reading has. */
  rivals: number
  /** Missing, and somebody has accepted that. */
  accepted: number
  /** Missing, and too young to be an alarm. */
  pending: number
  missing: number
  faults: number
  /** Events that are as an earlier audit found them, and were not read. */
  unread: number
  /** Each kind of thing that is wrong, once. */
  named: Named[]
  /** No alarm; complete only if nothing is pending either. */
  ok: boolean
}

export function addToSummary(summary: AuditSummary, report: LedgerReport): void {
  summary.ledgers++
  summary.events += report.present.count
  summary.undelivered += Object.values(report.undelivered).reduce((sum, list) => sum + list.count, 0)
  summary.retired += report.retired.count
  summary.retiredRead += report.retiredRead
  summary.rivals += report.undelivered[rival]?.count ?? 0
  summary.accepted += report.accepted.count
  summary.pending += report.pending.count
  summary.missing += report.gaps.count
  summary.faults += report.faultCount
  const named: Named[] = report.faults.map(({ kind }) => kind)
  if (report.gaps.count > 0) named.unshift('missing')
  summary.unread += report.unread
  summary.named = [...new Set([...summary.named, ...named])]
  summary.ok &&= report.ok
}

export function emptySummary(): AuditSummary {
  return {
    ledgers: 0,
    events: 0,
    undelivered: 0,
    retired: 0,
    retiredRead: 0,
    rivals: 0,
    accepted: 0,
    pending: 0,
    missing: 0,
    faults: 0,
    unread: 0,
    named: [],
    ok: true,
  }
}

export function formatSummary(summary: AuditSummary): string {
  const { ledgers, events, undelivered, rivals, accepted, pending, missing, faults, unread } = summary
  const figures = [
    `${counted(ledgers, 'ledger')}, ${counted(events, 'event')} present, ${count(undelivered)} accounted for as not delivered`,
    summary.retired > 0
      ? `${count(summary.retired)} retired to archives (${count(summary.retiredRead)} of them read)`
      : '',
    rivals > 0 ? `${counted(rivals, 'reading')} with the identity of another (${rival})` : '',
    accepted > 0
      ? `${count(accepted)} accepted as lost (unsigned: the cloud’s own ledger says so, and no gateway)`
      : '',
    pending > 0 ? `${count(pending)} perhaps still on the way` : '',
    missing > 0 ? `${count(missing)} MISSING` : '',
    faults > 0 ? `${count(faults)} NOT AS WRITTEN` : '',
    unread > 0 ? `${counted(unread, 'event')} not read: in front of marks, and as found before` : '',
  ]
  const said = figures.filter((figure) => figure !== '').join(', ')
  if (!summary.ok) return [said, ...summary.named.map((name) => `  ${name}: ${advice[name]}`)].join('\n')
  return pending > 0
    ? `${said}: no alarm, but not complete yet; audit again later`
    : `${said}: complete and untouched ${unread > 0 ? 'behind the marks, and in front of them as it was marked' : 'as far as it reaches'}\n  ${reach}`
}

/** A ledger that was cut off behind an event looks like one that ends there (G8, "Where it ends"). */
const reach =
  'each ledger reaches to the end named above. What its gateway recorded after that, and a restore or a cut took, shows with its ' +
  'next event; before that, compare with the gateway’s own last sequence: tidegate outbox inspect, or tidegate_edge_ledger_sequence'

type Named = AuditFault['kind'] | 'missing'

/** What to do about it; docs/OPERATIONS.md says more. */
const advice: Readonly<Record<Named, string>> = {
  missing:
    'if they may be on their way, --settle 10m; if events with the reason LEDGER_UNREADABLE are stored, they may be their account: publish those again first (docs/OPERATIONS.md, What history has set aside); if history has dead letters of them (PROVENANCE), they were refused: replay what is to be believed; else they were removed: restore them from a backup. A loss that is final can be accepted, with a reason: tidegate audit accept',
  altered: 'restore the event from a backup',
  unlinked: 'compare the event and the one before it with a backup: one of the two was altered',
  moved: 'restore what belongs in both places from a backup',
  relabelled: 'the text is right, and the chain proves it: correct the column',
  unfounded:
    'restore the event the note cites from a backup; if it is there, the note was changed or made up',
  foreign:
    'if the one is the other under a new name, say so (tidegate gateways rename OLD NEW); else that gateway speaks of what is not its own: tidegate gateways suspend',
  shared:
    'one of the two gateways writes what is not its own: see which, and suspend it (tidegate gateways suspend)',
  forged: 'the checkpoint was made up or altered: restore it from a backup',
  'unknown-key':
    'if the gateway has got another key, compare the fingerprint at the gateway (edge --check) and register it (tidegate gateways key add), with --against also --trust it; else somebody else has signed',
  rewritten:
    'somebody has written these events anew, with correct hashes: restore the ledger from a backup of before',
  unsigned:
    'see whether the gateway signs (tidegate_edge_unsigned_seconds; edge --check says with which key); if it does, what lies behind was not written by it',
  cut: 'restore what is missing from a backup; if the database was restored to an earlier moment, see docs/OPERATIONS.md',
  doubled:
    'compare the two with the gateway’s outbox or a backup: if an outbox was copied, one gateway goes on under a new epoch (docs/OUTBOX.md); else one of the two was added',
  incomplete:
    'the copy of an archive was altered, not history: tidegate history detach it, and attach its file again',
  unrecorded:
    'publish the entry again if its reason is LEDGER_UNREADABLE (docs/OPERATIONS.md, What history has set aside); else restore the epoch and its closure from a backup',
}

function row(name: string, howMany: number, ranges: string): string {
  return howMany === 0 ? '' : `      ${name.padEnd(10)} ${count(howMany)}: ${ranges}`
}

function counted(value: number, what: string): string {
  return `${count(value)} ${what}${value === 1 ? '' : 's'}`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
