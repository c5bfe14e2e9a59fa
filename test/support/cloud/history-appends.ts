import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import type { HistoryRecord } from '../../../cloud/history/history.ts'

export interface AppendsOptions {
  url: string
  /** Transactions, in all. */
  count: number
  /** At a time. */
  writers: number
  /** Of the first; each has its own. */
  firstSequence: number
  random: () => number
}

/** One in so many is rolled back. */
const rolledBack = 5
/** From the append to its commit, ms. */
const delayMsMax = 60
const eventsMax = 3

/** Appends as history does, with commits that come late, out of order or never; answers which IDs are there for good. */
export async function appendAtOnce(options: AppendsOptions): Promise<Set<string>> {
  const { url, count, writers, firstSequence, random } = options
  const database = poolOf({ url, poolMax: writers, applicationName: 'test appends' })
  const committed = new Set<string>()
  let begun = 0

  async function appendOne(sequence: number): Promise<void> {
    const client = await database.connect()
    try {
      const statements: Statements = {
        run: async (name, text, values) =>
          (await client.query({ name, text, values: [...values], rowMode: 'array' })).rows as never,
      }
      const records = Array.from({ length: 1 + Math.floor(random() * eventsMax) }, (_, index) =>
        recordOf(sequence * eventsMax + index, random),
      )
      await client.query('begin')
      await postgresHistory(statements, { dedupWindowMs: 14 * 86_400_000 }).append(records)
      await new Promise((done) => setTimeout(done, random() * delayMsMax))
      const isKept = random() * rolledBack > 1
      await client.query(isKept ? 'commit' : 'rollback')
      if (isKept) for (const { id } of records) committed.add(id)
    } finally {
      client.release()
    }
  }

  async function write(): Promise<void> {
    while (begun < count) await appendOne(firstSequence + begun++)
  }
  try {
    await Promise.all(Array.from({ length: writers }, write))
  } finally {
    await database.close()
  }
  return committed
}

/** In the weeks up to now, so that several partitions are written at once. */
function recordOf(sequence: number, random: () => number): HistoryRecord {
  const recordedMs = Date.now() + (random() * 20 - 5) * 86_400_000
  const id = `id-${sequence}`
  const source = `/devices/sensor-${sequence % 50}`
  const type = `com.acme.${sequence % 3 === 0 ? 'power' : 'climate'}`
  return {
    gateway: 'gateway-1',
    epoch: '01JGFJJZ00TESTTESTTESTTEST',
    sequence: sequence + 1,
    source,
    id,
    type,
    subject: undefined,
    dataschema: undefined,
    timeMs: recordedMs,
    recordedMs,
    disposition: 'accepted',
    reason: undefined,
    body: JSON.stringify({ id, source, type, data: { value: 1.0 } }),
  }
}
