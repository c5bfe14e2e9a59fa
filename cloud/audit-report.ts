import type { LedgerReport } from './audit.ts'
import { formatRanges } from './ranges.ts'

/** A ledger's report as a person reads it. */
export function formatLedger(report: LedgerReport): string {
  const { gateway, epoch, lastSequence, present, undelivered, gaps, pending, faults, faultCount } = report
  const lines = [
    `${mark(report)} ${gateway}  epoch ${epoch}  ${count(present.count)} of ${count(lastSequence)} present`,
    row('present', present.count, formatRanges(present)),
    ...Object.entries(undelivered).map(([reason, list]) => row(reason, list.count, formatRanges(list))),
    row('on the way', pending.count, formatRanges(pending)),
    row('MISSING', gaps.count, formatRanges(gaps)),
    `      chain ${report.chain}${report.unverifiedLinks > 0 ? `; ${count(report.unverifiedLinks)} links cannot be followed, because what lies before them is gone` : ''}`,
    ...faults.map(
      (fault) =>
        `      ${fault.kind.toUpperCase()} ${fault.sequence}  ${fault.id === undefined ? '' : `${fault.source} ${fault.id}: `}${fault.detail}`,
    ),
    faultCount > faults.length ? `      … and ${count(faultCount - faults.length)} more` : '',
  ]
  return lines.filter((line) => line !== '').join('\n')
}

/** `wait`: what is missing is too young to be an alarm. */
function mark({ ok, pending }: LedgerReport): string {
  if (!ok) return 'ALARM'
  return pending.count > 0 ? 'wait ' : 'ok   '
}

export interface AuditSummary {
  ledgers: number
  events: number
  undelivered: number
  /** Missing, and too young to be an alarm. */
  pending: number
  missing: number
  faults: number
  /** No alarm; complete only if nothing is pending either. */
  ok: boolean
}

export function addToSummary(summary: AuditSummary, report: LedgerReport): void {
  summary.ledgers++
  summary.events += report.present.count
  summary.undelivered += Object.values(report.undelivered).reduce((sum, list) => sum + list.count, 0)
  summary.pending += report.pending.count
  summary.missing += report.gaps.count
  summary.faults += report.faultCount
  summary.ok &&= report.ok
}

export function emptySummary(): AuditSummary {
  return { ledgers: 0, events: 0, undelivered: 0, pending: 0, missing: 0, faults: 0, ok: true }
}

export function formatSummary(summary: AuditSummary): string {
  const { ledgers, events, undelivered, pending, missing, faults } = summary
  const figures = [
    `${count(ledgers)} ledgers, ${count(events)} events present, ${count(undelivered)} accounted for as not delivered`,
    pending > 0 ? `${count(pending)} perhaps still on the way` : '',
    summary.ok ? '' : `${count(missing)} MISSING, ${count(faults)} NOT AS THEY WERE WRITTEN`,
  ]
  const said = figures.filter((figure) => figure !== '').join(', ')
  if (!summary.ok) return said
  return pending > 0
    ? `${said}: no alarm, but not complete yet; audit again later`
    : `${said}: complete and untouched`
}

function row(name: string, howMany: number, ranges: string): string {
  return howMany === 0 ? '' : `      ${name.padEnd(10)} ${count(howMany)}: ${ranges}`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
