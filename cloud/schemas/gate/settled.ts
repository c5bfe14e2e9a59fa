import { type CheckedFolder, isInTheWay, type JudgedComparison, type StoredEvidence } from '../checks.ts'
import type { GateReport } from './gate.ts'
import { placeText } from './told.ts'

/**
 * What was found by comparing, with what is stored: where none of the events fails, or somebody has accepted that they do, what breaks in theory only (`open model`) is
 * settled, with `strict` too. Which finding an event fails for is not told apart.
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
  const stored: StoredEvidence = {
    events: group?.stored ?? 0,
    failing: group?.failing ?? 0,
    ...(group?.because !== undefined && { because: group.because }),
    // Without the value: this goes to whoever may see schemas.
    ...(group?.first && { first: placeText({ ...group.first, value: undefined }) }),
  }
  return { ...comparison, findings: findings.map((one) => ({ ...one, stored })) }
}
