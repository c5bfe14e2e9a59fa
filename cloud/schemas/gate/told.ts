import type {
  FailingEvent,
  GateProgress,
  GateReport,
  StoredGroup,
  StoredStanding,
  StoredVerdict,
} from './gate.ts'
import { upcastFiles } from '../told.ts'
import { storedRule } from './targets.ts'

const labels: Readonly<Record<StoredStanding, string>> = {
  fine: 'fine      ',
  fails: 'FAILS     ',
  accepted: 'accepted  ',
  told: 'told      ',
}
const indent = ' '.repeat(13)

/** What a version makes of what is stored, as a person reads it. */
export function gateText({ ok, upTo, withoutShapes, shapesAre, verdicts }: GateReport): string {
  const failing = verdicts.flatMap(({ groups }) => groups).reduce((sum, one) => sum + one.failing, 0)
  const stored = verdicts.flatMap(({ groups }) => groups).reduce((sum, one) => sum + one.stored, 0)
  return [
    ...(withoutShapes === undefined ? [] : [`NOTE       everything is read: ${withoutShapes}`]),
    ...(shapesAre === undefined
      ? []
      : [`NOTE       the projection shapes is ${shapesAre}: what it has not counted was read`]),
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
    `${type} ${version}  what is stored: ${partitionsText(partitions)}`,
    ...(groups.length === 0 ? ['  fine       no event is stored that it is to read'] : []),
    ...groups.flatMap((group) => groupTexts(group, verdict)),
    ...(letters.length > 0 ? [`  letters    ${letters.join('; ')}`] : []),
  ].join('\n')
}

function partitionsText({ there, read, tails }: StoredVerdict['partitions']): string {
  const others = there - read.length
  return [
    `${read.length} of ${there} partitions were read`,
    ...(others > 0 ? [', for the shapes exclude the others'] : []),
    ...(tails.length > 0 ? [` but for what came after them, which was read of ${tails.length}`] : []),
  ].join('')
}

function groupTexts(group: StoredGroup, { version }: StoredVerdict): string[] {
  const { version: named, stored, failing, standing, because, first, steps = [] } = group
  const events = `events ${named === undefined ? 'that name no version' : `of version ${named}`}`
  if (failing === 0) return [`  ${labels.fine} ${stored} ${events}`]
  return [
    `  ${labels[standing]} ${failing} of ${stored} stored ${events} would fail${first ? `, first at ${placeText(first)}` : ''}`,
    ...(standing === 'accepted' ? [`${indent}accepted in type.yaml: ${because ?? ''}`] : []),
    ...(standing === 'told' ? [`${indent}nobody has promised anything of them: no version was checked`] : []),
    ...(standing === 'fails' ? [`${indent}${advice(version, named, steps)}`] : []),
  ]
}

/** Where it is, and what is wrong with it, in one line. */
export function placeText({
  cursor,
  source,
  recordedTime,
  code,
  fault,
  value,
}: Omit<FailingEvent, 'value'> & { value?: string | undefined }): string {
  const device = source.replace(/^\/devices\//, '')
  const said = value === undefined ? '' : code === 'UPCAST_FAILED' ? `: ${value}` : `, and is ${value}`
  return `${cursor} (${device}, ${recordedTime}: ${fault}${said}; ${code})`
}

function advice(version: number, named: number | undefined, steps: readonly string[]): string {
  const way =
    named === version
      ? `its gateway had another text of version ${version}`
      : `bring them forward with ${upcastFiles(steps)}, or let the version ask less`
  return `${way}; or accept it in type.yaml: accepted: [{ version: ${version}, against: ${named ?? ''}, rule: ${storedRule}, path: "", reason: … }]`
}

export function progressText({ type, toRead, done, read, failing }: GateProgress): string {
  return `${type}: ${done} of ${toRead} partitions, ${read} events read, ${failing} would fail`
}
