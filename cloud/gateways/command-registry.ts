import { InvalidArgumentError } from 'commander'
import { cloudLedger, deviceIdPattern } from '../../src/contract/event.ts'
import { type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import type { Query } from './query.ts'

const queryTimeoutMs = 60_000

/** Asks the database that was chosen, if that is one of this version. */
export async function reading<T>(choice: DatabaseChoice, work: (query: Query) => Promise<T>): Promise<T> {
  const database = await openChosenDatabase(choice, 'tidegate-gateways')
  const { outageOfOurs } = await import('../database/faults-postgres.ts')
  const { requireSchema } = await import('../database/migrate-postgres.ts')
  const { migrations } = await import('../database/migrations/all.ts')
  const { trustNoSchema } = await import('../database/roles-postgres.ts')
  try {
    await database.probe()
    const client = await database.connect()
    try {
      await trustNoSchema(client)
      await requireSchema(client, migrations, database.where)
      return await work(async <Row extends object>(text: string, values: readonly unknown[] = []) => {
        const config = { text, values: [...values], query_timeout: queryTimeoutMs }
        return (await client.query<Row>(config)).rows
      })
    } catch (error) {
      throw outageOfOurs(database.where, error) ?? error
    } finally {
      // What was begun and not committed is rolled back.
      client.release(true)
    }
  } finally {
    await database.close()
  }
}

/** Changes what is registered, all of it or nothing, and one person after the other: what was looked up stays so until it is written. */
export function changing<T>(choice: DatabaseChoice, work: (query: Query) => Promise<T>): Promise<T> {
  return reading(choice, async (query) => {
    await query('begin')
    await query('lock table tidegate.gateways in share row exclusive mode')
    const result = await work(query)
    await query('commit')
    return result
  })
}

export function gatewayName(text: string): string {
  if (text === cloudLedger) throw new InvalidArgumentError(`${cloudLedger} is the cloud's own name.`)
  if (deviceIdPattern.test(text)) return text
  throw new InvalidArgumentError('A name has letters, digits, dot, dash and underscore, at most 64.')
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
