import type {
  FailingEvent,
  GateProgress,
  GateReport,
  StoredGroup,
  StoredStanding,
  StoredVerdict,
} from './gate.ts'
import { storedRule } from './targets.ts'

const labels: Readonly<Record<StoredStanding, string>> = {
  fine: 'fine      ',
  fails: 'FAILS     ',
  accepted: 'accepted  ',
  told: 'told      ',
}
const indent = ' '.repeat(13)

/** What a version makes of what is stored, as a person reads it. */
export function gateText({ ok, upTo, withoutShapes, verdicts }: GateReport): string {
  const failing = verdicts.flatMap(({ groups }) => groups).reduce((sum, one) => sum + one.failing, 0)
  const stored = verdicts.flatMap(({ groups }) => groups).reduce((sum, one) => sum + one.stored, 0)
  return [
    ...(withoutShapes === undefined ? [] : [`NOTE       everything is read: ${withoutShapes}`]),
    ...verdicts.map(verdictText),
    `stored: ${ok ? 'nothing in the way' : 'in the way'}: ${failing} of ${stored} events would fail, up to ${upTo}; what is stored after that was not looked at`,
  ].join('\n')
}

function verdictText(verdict: StoredVerdict): string {
  const { type, version, groups, partitions } = verdict
  const { refused, wouldPass, others, wouldFail } = verdict.letters
  const letters = [
    ...(refused > 0 ? [`${wouldPass} of ${refused} open dead letters would pass`] : []),
    ...(others > 0 ? [`${wouldFail} of ${others} that failed for other reasons would be refused`] : []),
  ]
  return [
    `${type} ${version}  what is stored: ${partitions.read.length} of ${partitions.there} partitions were read${partitions.read.length < partitions.there ? ', for the shapes exclude the others' : ''}`,
    ...(groups.length === 0 ? ['  fine       no event is stored that it is to read'] : []),
    ...groups.flatMap((group) => groupTexts(group, verdict)),
    ...(letters.length > 0 ? [`  letters    ${letters.join('; ')}`] : []),
  ].join('\n')
}

function groupTexts(group: StoredGroup, { version }: StoredVerdict): string[] {
  const { version: named, stored, failing, standing, because, first } = group
  const events = `events ${named === undefined ? 'that name no version' : `of version ${named}`}`
  if (failing === 0) return [`  ${labels.fine} ${stored} ${events}`]
  return [
    `  ${labels[standing]} ${failing} of ${stored} stored ${events} would fail${first ? `, first at ${placeText(first)}` : ''}`,
    ...(standing === 'accepted' ? [`${indent}accepted in type.yaml: ${because ?? ''}`] : []),
    ...(standing === 'told' ? [`${indent}nobody has promised anything of them: no version was checked`] : []),
    ...(standing === 'fails' ? [`${indent}${advice(version, named)}`] : []),
  ]
}

function placeText({ cursor, source, recordedTime, code, fault, value }: FailingEvent): string {
  const device = source.replace(/^\/devices\//, '')
  return `${cursor} (${device}, ${recordedTime}: ${fault}${value === undefined ? '' : `, and is ${value}`}; ${code})`
}

function advice(version: number, named: number | undefined): string {
  const way =
    named === version
      ? `its gateway had another text of version ${version}`
      : `bring them forward with upcast/${named ?? ''}-${version}.yaml, or let the version ask less`
  return `${way}; or accept it in type.yaml: accepted: [{ version: ${version}, against: ${named ?? ''}, rule: ${storedRule}, path: "", reason: … }]`
}

export function progressText({ type, toRead, done, read, failing }: GateProgress): string {
  return `${type}: ${done} of ${toRead} partitions, ${read} events read, ${failing} would fail`
}
