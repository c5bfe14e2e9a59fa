import { visibleLine } from '../../src/visible.ts'
import type { ReplayPreview } from '../deeds/deeds.ts'

export type { HistoryPreview } from '../deeds/deeds.ts'

export type Preview = ReplayPreview

const shownMax = 10

/** What a replay would do, as a person reads it. */
export function previewText({
  letters,
  unvetted,
  byFingerprint,
  byDevice,
  schema,
  parked,
  heldGroups,
}: Preview): string {
  const { checked, accepted, refused } = schema
  const part = checked < letters ? ` (of the first ${checked})` : ''
  return [
    `would replay ${letters} letters; today's schemas accept ${accepted} and refuse ${refused}${part}`,
    ...(unvetted === 0
      ? []
      : [
          `${unvetted} of them were never believed to come from where they say: each is asked again, unless --believe`,
        ]),
    ...some(
      'by cause',
      byFingerprint,
      (one) => `${one.fingerprint}  ${one.letters}  ${one.group}  ${one.code}`,
    ),
    ...some('by device', byDevice, (one) => `${one.device}  ${one.letters}`),
    ...some('wait behind an event that fails', parked, (one) => `${one.device} of ${one.group}`),
    ...some(
      'groups that do not run',
      heldGroups,
      ({ group, state, reason }) => `${group} is ${state}${reason === undefined ? '' : `: ${reason}`}`,
    ),
  ].join('\n')
}

function some<T>(title: string, items: readonly T[], textOf: (item: T) => string): string[] {
  if (items.length === 0) return []
  const more = items.length > shownMax ? [`  … and ${items.length - shownMax} more`] : []
  return [title, ...items.slice(0, shownMax).map((item) => `  ${visibleLine(textOf(item))}`), ...more]
}
