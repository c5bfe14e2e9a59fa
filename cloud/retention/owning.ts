import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import type { OwnerSession } from './owner-postgres.ts'

/** One command, on the database that was chosen, as its owner. @throws TidegateError as `asOwner` and `openChosenDatabase` do */
export async function owning<T>(
  choice: DatabaseChoice,
  work: (owner: OwnerSession) => Promise<T>,
): Promise<T> {
  const database = await openChosenDatabase(choice, 'tidegate-history')
  const { asOwner } = await import('./owner-postgres.ts')
  const { signal } = new AbortController()
  try {
    return await asOwner(database, { clock: systemClock, random: Math.random, log: silentLog, signal }, work)
  } finally {
    await database.close()
  }
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
