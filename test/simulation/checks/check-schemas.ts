import { type SchemasUsed, schemasType } from '../../../src/contract/schemas-used.ts'
import { epochMs } from '../parts/process.ts'
import type { World } from './world-view.ts'

/**
 * G5: while nothing is parked but what waits for a version that the cloud is still to learn of, what finds no room waits as well: nobody has
 * done anything that a letter would tell of.
 */
export function checkAwaiting({
  database,
  journal,
  plan,
}: Pick<World, 'database' | 'journal' | 'plan'>): void {
  const { awaitsOnly, learnsAtMs } = plan.settings
  if (!awaitsOnly) return
  for (const letter of database.letters.values()) {
    if (letter.code !== 'PARKING_FULL' || Date.parse(letter.lastFailedAt) - epochMs >= learnsAtMs) continue
    journal.violate(
      'G5',
      `${letter.id} is a letter for want of room, while all that is parked waits for a schema`,
    )
  }
}

/** G8: whatever was judged by some schemas stands in the ledger behind the event that names them. */
export function checkJudged({ truth, journal }: Pick<World, 'truth' | 'journal'>): void {
  let named = 0
  for (const { type, text, key, position } of [...truth.places.values()].toSorted(
    (one, other) => one.position - other.position,
  )) {
    if (type === schemasType) named = (JSON.parse(text) as { data: SchemasUsed }).data.revision ?? 0
    const judged = truth.judgedBy.get(key) ?? 0
    if (judged > named)
      journal.violate(
        'G8',
        `${key.split('\n').at(-1) ?? ''} at ${position} was judged by schemas ${judged}, and the ledger names ${named} in front of it`,
      )
  }
}
