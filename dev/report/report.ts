import type { Evidence } from '../evidence/text.ts'
import type { Located } from '../evidence/whereabouts.ts'
import type { FaultRecord } from '../faults/saboteur.ts'
import { numbersGrouped } from '../format.ts'
import type { Totals } from '../fleet/book.ts'
import { troubleId, troubles, type Fate, type Trouble } from '../fleet/sensors.ts'
import type { Audit } from '../watch/audit.ts'
import type { Findings } from '../watch/findings.ts'
import type { DeviceRows, Identity, LatencyRow } from '../watch/history.ts'

export interface RunFacts {
  id: string
  seed: number
  gateway: string
  startedAt: string
  /** Of the fleet's publishing, without start, drain and audit. */
  durationMs: number
  drainMs: number
  devices: number
  eventsPerSecond: number
  versions: Record<string, string>
  mode: 'demo' | 'replay' | 'simulate'
  skippedRows: number
}

export interface Check {
  /** What is promised, in words. */
  promise: string
  expected: string
  actual: string
  ok: boolean
}

interface MisdeedReport {
  device: string
  published: number
  acknowledged: number
  /** Where the documentation says they end. */
  mustEnd: string
  ended: number
  expected: number
}

/** docs/REPORT.md documents each field. */
export interface Report {
  balanced: boolean
  published: number
  acknowledged: number
  stored: number
  duplicates: number
  missing: number
  storedTwice: number
  /** Readings in the history as rejected, and those that had to be. */
  quarantined: number
  expectedQuarantined: number
  /** Dead letters that are open and should not be there: all but those of `trouble-fahrenheit`. */
  deadLetters: number
  maxBuffered: number
  resent: number
  latencyMs: { p50: number; p99: number; live: LatencyRow; backlog: LatencyRow; puback: LatencyRow }
  checks: Check[]
  misdeeds: Partial<Record<Trouble, MisdeedReport>>
  byType: Record<string, number>
  faults: FaultRecord[]
  audit: Audit
  run: RunFacts
  /** Where each is, if it was looked for. */
  missingEvents: (Identity & Partial<Located>)[]
  /** Only if the books do not balance. */
  evidence?: Evidence
}

/** What the books are balanced from. */
export interface Accounts {
  run: RunFacts
  totals: Totals
  /** Per troublemaker. */
  misdeeds: Partial<Record<Trouble, Totals>>
  resent: number
  maxBuffered: number
  faults: FaultRecord[]
  findings: Findings
}

const missingListedMax = 20

/** Balances the fleet's own book against what the cloud holds. Pure. */
export function balance(accounts: Accounts): Report {
  const { run, totals, findings, faults, resent, maxBuffered } = accounts
  const rows = Object.values(findings.devices)
  const sum = (field: 'accepted' | 'rejected' | 'dead' | 'implausible'): number =>
    rows.reduce((total, row) => total + row[field], 0)
  const rejected = sum('rejected')
  const stored = sum('accepted') + rejected + sum('dead')
  const edgeKilled = faults.some((fault) => fault.kind === 'kill' && fault.target === 'edge')
  const report: Omit<Report, 'checks' | 'balanced'> = {
    published: totals.published,
    acknowledged: totals.acknowledged,
    stored,
    duplicates: findings.duplicates,
    missing: findings.missing.count,
    storedTwice: findings.storedTwice,
    quarantined: rejected,
    expectedQuarantined: totals.byFate.rejected.acknowledged,
    deadLetters: findings.deadLetters,
    maxBuffered,
    resent,
    latencyMs: {
      p50: findings.latency.all.p50,
      p99: findings.latency.all.p99,
      live: findings.latency.live,
      backlog: findings.latency.backlog,
      puback: totals.pubackMs,
    },
    misdeeds: misdeedsOf(accounts),
    byType: findings.byType,
    faults,
    audit: findings.audit,
    run,
    missingEvents: findings.missing.first.slice(0, missingListedMax),
  }
  const checks = checksOf(accounts, report, { implausible: sum('implausible'), edgeKilled })
  const balanced = [...checks, ...misdeedChecks(report)].every((check) => check.ok)
  return { balanced, ...report, checks }
}

/** A misdeed that must end somewhere is a promise like the others. */
export function misdeedChecks({ misdeeds }: Pick<Report, 'misdeeds'>): Check[] {
  return Object.values(misdeeds).map(({ device, mustEnd, ended, expected }) =>
    equal(`${device}: ${mustEnd}`, expected, ended),
  )
}

/** `2 of 15 promises were not kept` */
export function sayBroken(report: Report): string {
  const all = [...report.checks, ...misdeedChecks(report)]
  const broken = all.filter((check) => !check.ok).length
  return `${broken} of ${all.length} promises ${broken === 1 ? 'was' : 'were'} not kept`
}

function checksOf(
  { totals, findings, resent, run }: Accounts,
  report: Omit<Report, 'checks' | 'balanced'>,
  found: { implausible: number; edgeKilled: boolean },
): Check[] {
  const repeats = totals.byFate.repeat.acknowledged
  const checks = [
    none('every published message was acknowledged', 'open', totals.unacknowledged, messagesIn(totals)),
    none(
      'every acknowledged event is in the history (G1, G3)',
      'missing',
      report.missing,
      totals.acknowledged,
    ),
    none('no event is in the history twice (G4)', 'twice', report.storedTwice, report.stored),
    equal('the history holds what was acknowledged, and nothing else', report.acknowledged, report.stored),
    equal(
      'every broken reading is recorded as rejected, with its reason',
      report.expectedQuarantined,
      report.quarantined,
    ),
    none(
      'no dead letter is open by the time that history has all (G5)',
      'dead letters',
      report.deadLetters,
      report.stored,
    ),
    found.edgeKilled
      ? atMost(
          'repeats dropped at the edge: at most those that were sent',
          repeats + resent,
          report.duplicates,
        )
      : between('repeats were dropped at the edge', repeats, repeats + resent, report.duplicates),
    {
      promise: 'the outbox is empty at the end',
      expected: 'empty',
      actual: findings.leftInOutbox === 0 ? 'empty' : `${findings.leftInOutbox} in it`,
      ok: findings.leftInOutbox === 0,
    },
    {
      promise: 'the audit finds no gap and an intact chain (G8)',
      expected: 'passed',
      actual: findings.audit.kind,
      ok: findings.audit.kind === 'passed',
    },
  ]
  if (run.mode !== 'replay') {
    const { acknowledged } = totals.byFate.implausible
    checks.push(
      equal('every reading of 1970 is kept and marked implausible', acknowledged, found.implausible),
    )
  }
  return checks
}

const endings: Record<Trouble, { fate: Fate; mustEnd: string; ended: (row: DeviceRows) => number }> = {
  malformed: {
    fate: 'rejected',
    mustEnd: 'in the history as rejected (MALFORMED_JSON)',
    ended: (row) => row.reasons['MALFORMED_JSON'] ?? 0,
  },
  schema: {
    fate: 'rejected',
    mustEnd: 'in the history as rejected (SCHEMA_VIOLATION)',
    ended: (row) => row.reasons['SCHEMA_VIOLATION'] ?? 0,
  },
  oversize: {
    fate: 'rejected',
    mustEnd: 'in the history as rejected (PAYLOAD_TOO_LARGE)',
    ended: (row) => row.reasons['PAYLOAD_TOO_LARGE'] ?? 0,
  },
  repeat: {
    fate: 'stored',
    mustEnd: 'stored once; the second copy dropped at the edge by its ID',
    ended: (row) => row.accepted,
  },
  past: {
    fate: 'implausible',
    mustEnd: 'stored, marked timestatus=implausible',
    ended: (row) => row.implausible,
  },
  fahrenheit: {
    fate: 'stored',
    mustEnd: 'stored; a dead letter of climate-alarms where that group runs',
    ended: (row) => row.accepted,
  },
}

function misdeedsOf({ misdeeds, findings }: Accounts): Report['misdeeds'] {
  const reports: Report['misdeeds'] = {}
  for (const trouble of troubles) {
    const totals = misdeeds[trouble]
    if (!totals) continue
    const device = troubleId(trouble)
    const { fate, mustEnd, ended } = endings[trouble]
    const row = findings.devices[device]
    reports[trouble] = {
      device,
      published: totals.published + totals.byFate.repeat.published,
      acknowledged: totals.acknowledged + totals.byFate.repeat.acknowledged,
      mustEnd,
      ended: row ? ended(row) : 0,
      expected: totals.byFate[fate].acknowledged,
    }
  }
  return reports
}

/** What is wrong is counted, and out of how many. */
function none(promise: string, what: string, found: number, of: number): Check {
  return {
    promise,
    expected: `${what}: 0 of ${of}`,
    actual: `${what}: ${found} of ${of}`,
    ok: found === 0,
  }
}

function messagesIn({ byFate }: Totals): number {
  return Object.values(byFate).reduce((sum, { published }) => sum + published, 0)
}

function equal(promise: string, expected: number, actual: number): Check {
  return { promise, expected: String(expected), actual: String(actual), ok: actual === expected }
}
function atMost(promise: string, max: number, actual: number): Check {
  return { promise, expected: `at most ${max}`, actual: String(actual), ok: actual <= max }
}
function between(promise: string, min: number, max: number, actual: number): Check {
  if (min === max) return equal(promise, min, actual)
  return { promise, expected: `${min} to ${max}`, actual: String(actual), ok: actual >= min && actual <= max }
}

/** The books as a table for a terminal. */
export function renderBooks(report: Report): string {
  const rows = [...report.checks, ...misdeedChecks(report)].map(({ ok, promise, expected, actual }) => [
    ok ? 'ok' : 'NO',
    promise,
    numbersGrouped(expected),
    numbersGrouped(actual),
  ])
  const all = [['', 'promise', 'expected', 'found'], ...rows]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (row: string[]): string =>
    row
      .map((cell, column) =>
        column >= 2 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return all.map(line).join('\n')
}
