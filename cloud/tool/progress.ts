import type { Clock } from '../../src/clock.ts'
import { visibleLine } from '../../src/visible.ts'
import type { ReplayItem } from '../api/rules/shapes.ts'
import type { Client } from './client.ts'

const askEveryMs = 500
/** Where nobody watches, a line is enough now and then. */
const lineEveryMs = 10_000
const barWidth = 24

export interface Watching {
  clock: Clock
  /** Shown in one place, for a terminal; else in lines. */
  isTerminal: boolean
  write: (text: string) => void
}

/** Shows how far a replay is until it has ended, and says how. */
export async function watchReplay(client: Client, replay: number, watching: Watching): Promise<ReplayItem> {
  const { clock, isTerminal, write } = watching
  let toldAtMs = -Infinity
  for (;;) {
    const { body } = await client.get<ReplayItem>(`/v1/replays/${replay}`)
    const hasEnded = body.state === 'done' || body.state === 'stopped'
    const nowMs = clock.monotonicMs()
    if (isTerminal) write(`\r${progressText(body)}\u001b[K${hasEnded ? '\n' : ''}`)
    else if (hasEnded || nowMs - toldAtMs >= lineEveryMs) {
      toldAtMs = nowMs
      write(`${progressText(body)}\n`)
    }
    if (hasEnded) return body
    await clock.sleep(askEveryMs)
  }
}

/** `[########----------------]  42%  420 of 1000, 3 failed`; of history the counts are positions, and what became of its events stands behind them. */
export function progressText({
  source,
  total,
  resolved,
  failed,
  repeats,
  looked,
  state,
  reason,
}: ReplayItem): string {
  // Of history it is known how far it is; how many of what is before it are of the filter is not.
  const settled = source === 'letters' ? resolved + failed : (looked ?? 0)
  const share = total === 0 ? 1 : Math.min(1, settled / total)
  const full = Math.floor(share * barWidth)
  const bar = `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}]`
  const percent = `${String(Math.floor(share * 100)).padStart(3)}%`
  const more = [
    ...(source === 'letters' ? [] : [`${resolved} processed`, `${repeats} repeats`]),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(state === 'running' ? [] : [state]),
  ]
  const why = reason === null ? '' : `: ${visibleLine(reason)}`
  return `${bar} ${percent}  ${[`${settled} of ${total}`, ...more].join(', ')}${why}`
}
