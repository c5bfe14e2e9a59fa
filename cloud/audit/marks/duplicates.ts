import type { LedgerPlace } from '../../history/history.ts'
import { placeText } from '../event.ts'

/** One identity that is stored more than once, in weeks that are further apart than `history.dedupWindow`. */
export interface DoubledIdentity {
  source: string
  id: string
  /** In the order in which they were stored. */
  places: LedgerPlace[]
  /** Whether all of them say the same: one event that came twice; else two that have one identity. */
  saysTheSame: boolean
}

/** As a person reads it. */
export function formatDuplicate({ source, id, places, saysTheSame }: DoubledIdentity): string {
  const what = saysTheSame ? 'the same event' : 'they say different things'
  return `IDENTITY ${source} ${id}: at ${places.map(placeText).join(' and at ')}; ${what}`
}
