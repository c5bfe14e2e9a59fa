import { visibleLine } from '../../../src/visible.ts'
import type { ReplayItem } from '../../api/rules/shapes.ts'
import type { HistoryPreview } from '../preview.ts'
import { progressText } from '../progress.ts'

const shownMax = 10

export function previewText(preview: HistoryPreview, generation: string | undefined): string {
  const { group, events, isWhole, byType, keepsInbox } = preview
  const inbox =
    generation === undefined
      ? `what ${group} has processed is a repeat and has no effect; --generation NAME lets it have one`
      : `each has its effect once more in ${group}, once for the generation ${generation}`
  const own = `${group} keeps no inbox: its handler gets all of them, and its own keys say what has an effect`
  return [
    `would send ${isWhole ? '' : 'more than '}${events} events to ${group}, those of types that it takes`,
    ...byType.slice(0, shownMax).map(({ type, events }) => `  ${visibleLine(type)}  ${events}`),
    ...(byType.length > shownMax ? [`  … and ${byType.length - shownMax} more types`] : []),
    keepsInbox === false ? own : inbox,
  ].join('\n')
}

export function replayText(replay: ReplayItem): string {
  const {
    source,
    filter,
    generation,
    actor,
    why,
    startedAt,
    endedAt,
    sent,
    resolved,
    repeats,
    failed,
    cursor,
  } = replay
  return [
    `replay ${replay.replay} of ${source}, ${replay.state}, started ${startedAt}${endedAt === null ? '' : `, ended ${endedAt}`}`,
    `  ${progressText(replay)}`,
    `  sent ${sent}, resolved ${resolved}, repeats ${repeats}, failed ${failed}`,
    `  what       ${visibleLine(JSON.stringify(filter))}`,
    ...(generation === null ? [] : [`  generation ${generation}`]),
    ...(cursor === null ? [] : [`  behind     ${cursor === '' ? 'the beginning' : cursor}`]),
    `  asked by   ${visibleLine(`${actor}: ${why ?? ''}`)}`,
  ].join('\n')
}
