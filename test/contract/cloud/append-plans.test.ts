import type { Client } from 'pg'
import { expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import type { HistoryRecord } from '../../../cloud/history/history.ts'
import { createReadyDatabase } from '../../support/servers.ts'

function recordOf(sequence: number): HistoryRecord {
  const recordedMs = Date.now()
  return {
    gateway: 'gateway-1',
    epoch: '0'.repeat(26),
    sequence,
    source: '/devices/device-1',
    id: `id-${sequence}`,
    type: 'com.acme.climate',
    subject: undefined,
    dataschema: undefined,
    timeMs: recordedMs,
    recordedMs,
    disposition: 'accepted',
    reason: undefined,
    body: '{"data":{"temperature":21}}',
  }
}

const batch = (from: number, count: number): HistoryRecord[] =>
  Array.from({ length: count }, (_, index) => recordOf(from + index))

// Statistics come with the first autovacuum; until then PostgreSQL goes by plans of an empty table.
test('plans that were made while a week was empty read nothing but what they look for when it is full (G7)', async () => {
  const database = poolOf({ url: await createReadyDatabase(), poolMax: 1, applicationName: 'test' })
  const client = (await database.connect()) as unknown as Client & { release(): void }
  const statements: Statements = {
    run: async (name, text, values) =>
      (await client.query({ name, text, values: [...values], rowMode: 'array' })).rows as never,
  }
  const history = postgresHistory(statements)
  try {
    await client.query('begin')
    // PostgreSQL keeps to the sixth plan of a statement: new ones, one alone, and repeats of each.
    for (let round = 0; round < 10; round++) {
      await history.append(batch(1 + round * 20, 20))
      await history.append(batch(1 + round * 20, 20))
      await history.append(batch(1000 + round, 1))
      await history.append([{ ...recordOf(1000 + round), sequence: 2000 + round }])
    }
    await history.append(batch(10_000, 5_000))
    const readBefore = await readByScan(client)
    await history.append(batch(20_000, 20))
    await history.append(batch(20_000, 20))
    await history.append(batch(30_000, 1))
    await history.append([{ ...recordOf(30_000), sequence: 30_001 }])
    expect((await readByScan(client)) - readBefore).toBe(0)
    await client.query('rollback')
  } finally {
    client.release()
    await database.close()
  }
})

async function readByScan(client: Client): Promise<number> {
  const { rows } = await client.query<{ read: number }>(
    `select sum(seq_tup_read)::float8 as read from pg_stat_xact_user_tables where relname like 'events_%'`,
  )
  return rows[0]?.read ?? 0
}
