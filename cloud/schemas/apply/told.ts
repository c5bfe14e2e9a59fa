import { checkedText } from '../told.ts'
import type { GateReport, StoredGroup, StoredVerdict } from '../gate/gate.ts'
import type { Applied, Verdict } from './apply.ts'

/** What would become of the registry, as a person reads it. */
export function verdictText({ before, changes, lacking, checked, stored }: Verdict): string {
  const files = changes.map(({ path, kind }) => `${kind === 'added' ? 'NEW       ' : 'CHANGED   '} ${path}`)
  const rest = lacking.map((path) => `STAYS      ${path}: the registry has it, and these files have not`)
  if (changes.length === 0)
    return [...rest, `nothing to publish: revision ${before.revision} has it all`].join('\n')
  return [
    ...files,
    ...rest,
    checkedText({ ...checked, ok: checked.faults.length + checked.inTheWay === 0 }),
    ...(stored === undefined ? [] : [storedText(stored)]),
  ].join('\n')
}

/** What was done, or why not. */
export function doneText(
  { ok, before, after, changes }: Verdict,
  done: Pick<Applied, 'revision' | 'digest' | 'isSigned'> | undefined,
): string {
  if (!ok) return `not published: the registry stays at revision ${before.revision}`
  if (done === undefined)
    return changes.length === 0
      ? 'nothing was done'
      : `would be revision ${after.revision}, ${after.digest.slice(0, 12)}`
  return `the registry is at revision ${done.revision}, ${done.digest.slice(0, 12)}${done.isSigned ? ', and its snapshot is signed' : ''}`
}

function storedText({ verdicts, upTo }: GateReport): string {
  return [...verdicts.flatMap(storedVerdictText), `what is stored was looked at up to ${upTo}`].join('\n')
}

function storedVerdictText({ type, version, groups, letters }: StoredVerdict): string[] {
  const told = groups.map(
    (group) =>
      `STORED     ${type} ${version}: ${groupText(group)}${group.standing === 'fails' ? ', which is in the way' : ''}`,
  )
  const ofLetters =
    letters.refused + letters.wouldFail === 0
      ? []
      : [
          `LETTERS    ${type} ${version}: ${letters.wouldPass} of ${letters.refused} open dead letters would pass, ${letters.wouldFail} of ${letters.others} others would be refused`,
        ]
  return [...told, ...ofLetters]
}

function groupText({ version, stored, failing, first }: StoredGroup): string {
  const which = version === undefined ? 'that name no version' : `of version ${version}`
  const where =
    first === undefined
      ? ''
      : `, first at ${first.recordedTime} (${first.source}, ${first.fault}${first.value === undefined ? '' : `: ${first.value}`})`
  return `${failing} of ${stored} stored events ${which} would fail${where}`
}
