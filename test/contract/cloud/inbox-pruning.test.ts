import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { inPruning, pruneInbox, pruneSql } from '../../../cloud/database/inbox-pruning-postgres.ts'
import { systemClock } from '../../../src/clock.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

const hourMs = 3_600_000

let database: Database
beforeAll(async () => {
  database = poolOf({ url: await createDatabase(), poolMax: 1, applicationName: 'test' })
  await migrated(database)
  await database.query('alter table tidegate.inbox set (autovacuum_enabled = off)')
})
afterAll(() => database.close())

const identities = `
select 'group', '/devices/device-' || n % 100, gen_random_uuid()::text, now() - make_interval(hours => $2::int)
from generate_series(1, $1::int) as n`

/** Rows that were processed so many hours ago, in the order in which they come, and in the place of rows that are gone. */
async function process(rows: number, hoursAgo: number): Promise<void> {
  await database.query(
    `insert into tidegate.inbox (consumer_group, source, id, processed_at) ${identities}`,
    [rows, hoursAgo],
  )
}

const { signal } = new AbortController()

const prune = (retentionMs: number): Promise<number> =>
  pruneInbox(database, { retentionMs, clock: systemClock, signal })

/** As many rows of the last 20 hours, in a table that nobody has looked at: as it is in the first minutes, or without autovacuum. */
async function fill(rows: number): Promise<void> {
  await database.query('truncate tidegate.inbox')
  await database.query(`delete from pg_statistic where starelid = 'tidegate.inbox'::regclass`)
  for (let hour = 20; hour > 0; hour--) await process(rows / 20, hour)
}

/**
 * A table of this many rows of the last 20 hours, which has turned over: wherever one lies, there has been a much older one, which is gone.
 */
async function turnOver(rows: number): Promise<void> {
  const hours = 20
  await database.query('truncate tidegate.inbox')
  await process(rows, 100)
  await database.query('vacuum tidegate.inbox')
  await database.query('delete from tidegate.inbox')
  await database.query('vacuum (truncate off) tidegate.inbox')
  for (let hour = hours; hour > 0; hour--) await process(rows / hours, hour)
  await database.query('vacuum analyze tidegate.inbox')
}

interface Plan {
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
}

/** Pages that one chunk of so many rows touches, each as often as it is touched; nothing is removed. */
async function pagesOfAChunk(retentionMs: number, rowsMax: number): Promise<number> {
  let plan: Plan | undefined
  const rolledBack = new Error('rolled back')
  const explaining = inPruning(database, signal, async (tx) => {
    const { rows } = await tx.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
      `explain (analyze, buffers, format json) ${pruneSql}`,
      [retentionMs, '-infinity', rowsMax],
    )
    plan = rows[0]?.['QUERY PLAN'][0]?.Plan
    throw rolledBack
  })
  await expect(explaining).rejects.toBe(rolledBack)
  return (plan?.['Shared Hit Blocks'] ?? NaN) + (plan?.['Shared Read Blocks'] ?? NaN)
}

test('what is too old is forgotten, and nothing else, in however many chunks', async () => {
  await database.query('truncate tidegate.inbox')
  await process(12_000, 20)
  await process(300, 2)
  expect(await prune(19 * hourMs)).toBe(12_000)
  expect(await prune(19 * hourMs)).toBe(0)
  const [left] = await database.query<{ count: number }>('select count(*)::int as count from tidegate.inbox')
  expect(left).toEqual({ count: 300 })
})

test.each([
  ['has turned over', turnOver, 19.5 * hourMs, 50],
  // Almost all of it is too old, as after a long pause.
  ['nobody has analysed', fill, 1.5 * hourMs, 1_000],
])(
  'a chunk of a table that %s reads as many pages as it would of a smaller one (G7)',
  async (_, make, retentionMs, rowsMax) => {
    await make(20_000)
    const few = await pagesOfAChunk(retentionMs, rowsMax)
    await make(160_000)
    const many = await pagesOfAChunk(retentionMs, rowsMax)
    expect(many).toBeLessThan(1.2 * few)
  },
)
