import { grouped } from '../format.ts'
import type { Verdict } from '../watch/proof.ts'

const namedMax = 5

/** Whether nothing is missing but what the gateway still holds. */
export function isProven({ missing, intact }: Verdict, waiting: number): boolean {
  return intact && missing <= waiting
}

/** What could be proven of a run that somebody has quit, in a sentence or two. */
export function renderVerdict(
  verdict: Verdict | undefined,
  { waiting, configFile }: { waiting: number; configFile: string },
): string {
  if (!verdict) return `Nothing was audited.${keptText(waiting)}`
  const { events, missing, first, intact } = verdict
  const kept = keptText(Math.min(waiting, missing))
  if (isProven(verdict, waiting))
    return missing === 0
      ? `Audit: nothing missing of ${grouped(events)} acknowledged events, chain intact.${kept}`
      : `Audit: chain intact; of ${grouped(events)} acknowledged events ${grouped(events - missing)} are in the history.${kept}`
  const more = missing > namedMax ? [`  and ${grouped(missing - namedMax)} more`] : []
  return [
    `AUDIT: ${grouped(missing)} of ${grouped(events)} acknowledged events are missing; chain ${intact ? 'intact' : 'BROKEN'}.${kept}`,
    ...first.slice(0, namedMax).map(({ source, id }) => `  ${source} ${id}`),
    ...more,
    `To look while it runs: npx tidegate audit --config ${configFile}`,
  ].join('\n')
}

function keptText(waiting: number): string {
  return waiting > 0 ? ` ${grouped(waiting)} wait in the outbox for the next start.` : ''
}
