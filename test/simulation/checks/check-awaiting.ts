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
