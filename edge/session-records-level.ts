import { decode } from 'msgpack-lite'
import type { SessionRecords } from './session-database-level.ts'

/**
 * Takes out the records of the session database that aedes could not read, and says how many: it reads them while a
 * device connects or subscribes, and one that it cannot decode would turn that device away each time.
 * @throws whatever LevelDB throws for a table that it cannot read
 */
export async function removeUnreadable(database: SessionRecords): Promise<number> {
  const unreadable: string[] = []
  for await (const [key, value] of database.iterator()) {
    if (!isReadable(key, value)) unreadable.push(key)
  }
  await database.batch(unreadable.map((key) => ({ type: 'del', key })))
  return unreadable.length
}

function isReadable(key: string, value: Buffer): boolean {
  try {
    const record: unknown = decode(value)
    if (typeof record !== 'object' || record === null) return false
    const byTopic = /^(?:retained|subscriptions|will):/.test(key)
    return !byTopic || ('topic' in record && typeof record.topic === 'string')
  } catch {
    return false
  }
}
