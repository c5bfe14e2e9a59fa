import { grouped, milliseconds } from '../format.ts'
import type { Snapshot } from './snapshot.ts'
import type { Verdict } from './proof.ts'

/** A backlog of less is gone before anybody sees it. */
const worthTelling = 50
/** So many events are on their way at any time. */
const inStep = 20

export interface CatchUpOptions {
  prove: () => Promise<Verdict | undefined>
  onNote: (text: string) => void
}

/** Tells when what waited for the uplink has been stored, how much it was and how long it took. */
export function createCatchUp({ prove, onNote }: CatchUpOptions): { see(snapshot: Snapshot): void } {
  let waiting: { events: number } | undefined
  let draining: { events: number; sinceMs: number } | undefined

  async function tell(events: number, tookMs: number): Promise<void> {
    const verdict = await prove()
    const lost =
      verdict === undefined ? '' : verdict.missing === 0 ? ', none lost' : `; ${missingText(verdict)}`
    onNote(`caught up: ${grouped(events)} events in ${milliseconds(tookMs)}${lost}`)
  }

  return {
    see(snapshot) {
      const { link, uplinkUp, buffered, elapsedMs } = snapshot
      if (!uplinkUp || link.kind === 'down' || link.kind === 'stalled') {
        waiting = { events: Math.max(waiting?.events ?? draining?.events ?? 0, buffered) }
        draining = undefined
        return
      }
      if (waiting) {
        const events = Math.max(waiting.events, buffered)
        draining = events < worthTelling ? undefined : { events, sinceMs: elapsedMs }
        waiting = undefined
      }
      if (!draining || !isInStep(snapshot)) return
      const { events, sinceMs } = draining
      draining = undefined
      void tell(events, elapsedMs - sinceMs)
    },
  }
}

/** Nothing waits but what is on its way at any time. */
export function isInStep({ buffered, acknowledged, stored, published, elapsedMs }: Snapshot): boolean {
  const perSecond = (published / Math.max(1, elapsedMs)) * 1000
  // What is stored is asked for once a second.
  return buffered <= inStep + perSecond / 4 && acknowledged - stored <= inStep + 2.5 * perSecond
}

export function missingText({ missing }: Verdict): string {
  return missing === 1
    ? '1 acknowledged event is missing'
    : `${grouped(missing)} acknowledged events are missing`
}
