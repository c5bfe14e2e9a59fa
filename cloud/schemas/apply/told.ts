import { checkedText } from '../told.ts'
import { gateText } from '../gate/told.ts'
import type { Applied, Verdict } from './apply.ts'

/** What would become of the registry, as a person reads it. */
export function verdictText({ before, changes, lacking, checked, stored }: Verdict): string {
  const files = changes.map(({ path, kind }) => `${kind === 'added' ? 'NEW       ' : 'CHANGED   '} ${path}`)
  const rest = lacking.map((path) => `STAYS      ${path}: the registry has it, and these files have not`)
  if (changes.length === 0)
    return [...rest, `nothing to publish: revision ${before.revision} has it all`].join('\n')
  return [...files, ...rest, checkedText(checked), ...(stored === undefined ? [] : [gateText(stored)])].join(
    '\n',
  )
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
