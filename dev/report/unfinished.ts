import type { Totals } from '../fleet/book.ts'
import { grouped } from '../format.ts'
import type { Snapshot } from '../watch/snapshot.ts'

/** What nobody waited for when a run was given up, in a sentence. */
export function unfinished(totals: Totals, last: Snapshot | undefined): string {
  const open = [
    counted(totals.unacknowledged, 'PUBACK'),
    counted(last?.buffered ?? 0, 'event in the outbox', 'events in the outbox'),
    counted(
      Math.max(0, totals.acknowledged - (last?.stored ?? 0)),
      'acknowledged event that the history does not show yet',
      'acknowledged events that the history does not show yet',
    ),
    'the audit',
  ].filter((part) => part !== '')
  return `Given up; no books were balanced. Not awaited: ${open.join(', ')}. What is in the outbox is kept for the next start.`
}

function counted(count: number, one: string, many = `${one}s`): string {
  return count === 0 ? '' : `${grouped(count)} ${count === 1 ? one : many}`
}
