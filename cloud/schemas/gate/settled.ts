import { type CheckedFolder, isInTheWay, type JudgedComparison } from '../checks.ts'
import type { GateReport } from './gate.ts'

/**
 * What was found by comparing, with what is stored: of each finding it is known how many events fail, so that what breaks in theory only (`open model`) is
 * settled, with `strict` too.
 */
export function settledBy(checked: CheckedFolder, report: GateReport, strict: boolean): CheckedFolder {
  const types = checked.types.map((type) => ({
    ...type,
    comparisons: type.comparisons.map((one) => withStored(one, report)),
  }))
  const findings = types.flatMap(({ comparisons }) => comparisons.flatMap((one) => one.findings))
  const inTheWay = findings.filter((one) => isInTheWay(one, strict)).length
  const ofFiles = checked.faults.length + checked.unlocked.length + checked.missing.length
  return { ...checked, types, inTheWay, ok: ofFiles + inTheWay === 0 }
}

function withStored(comparison: JudgedComparison, { verdicts }: GateReport): JudgedComparison {
  const { type, version, against, direction, findings } = comparison
  const verdict = verdicts.find((one) => one.type === type && one.version === version)
  if (verdict === undefined || direction !== 'BACKWARD') return comparison
  const group = verdict.groups.find((one) => one.version === against)
  const stored = { events: group?.stored ?? 0, failing: group?.failing ?? 0 }
  return { ...comparison, findings: findings.map((one) => ({ ...one, stored })) }
}
