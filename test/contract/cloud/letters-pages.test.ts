import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresReads } from '../../../cloud/api/reads/reads-postgres.ts'
import type { LettersAsked } from '../../../cloud/api/reads/reads.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresUpkeep } from '../../../cloud/letters/upkeep-postgres.ts'
import { systemClock } from '../../../src/clock.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

/** 40,000 letters; of what is asked for there are the oldest 20 alone, so that whoever reads the newest first comes past all others. */
const letters = 40_000
const rare = 20

const causesSql = `
insert into tidegate.failure_groups (fingerprint, consumer_group, code, type, message, first_seen, last_seen)
select lpad(to_hex(n), 16, '0'), 'alerts', case n when 0 then 'RARE' else 'COMMON' end,
  case n when 0 then 'com.acme.rare' else 'com.acme.common' end, 'no site', now(), now()
from generate_series(0, 40) as n`

const lettersSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, body, properties, headers, routing_key, queue, fingerprint,
  code, message, attempts, failures, instance, first_failed_at, last_failed_at)
select case when n <= $2 then 'rare' else 'alerts' end, sha256(n::text::bytea), '/devices/d', 'event-' || n,
  case when n <= $2 then 'com.acme.rare' else 'com.acme.common' end, case when n <= $2 then 'rare' else 'sensor-' || n % 500 end,
  convert_to(repeat('{"kpa":101.3}', 20), 'UTF8'), '{}', '{}', 'r', 'q', lpad(to_hex(case when n <= $2 then 0 else 1 + n % 40 end), 16, '0'),
  case when n <= $2 then 'RARE' else 'COMMON' end, 'sensor-' || n || ' has no site', 5, '[]', 'cloud-1', now(), now()
from generate_series(1, $1::int) as n`

let database: Database
beforeAll(async () => {
  database = poolOf({ url: await createDatabase(), poolMax: 2, applicationName: 'test' })
  await migrated(database)
  await database.query(causesSql)
  await database.query(lettersSql, [letters, rare])
  await postgresUpkeep(database, systemClock).fold()
  await database.query('analyze tidegate.dead_letters')
  await database.query('analyze tidegate.failure_groups')
}, 60_000)
afterAll(() => database.close())

interface Plan {
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
}

/** What the API asks the database, explained: pages of PostgreSQL's that it touches. */
async function pagesOf(asked: Partial<LettersAsked>): Promise<number> {
  let pages = 0
  const explaining = postgresReads({
    async query(text, values) {
      const [row] = await database.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
        `explain (analyze, buffers, format json) /* ${randomUUID()} */ ${text}`,
        values,
      )
      const plan = row?.['QUERY PLAN'][0]?.Plan
      pages += (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0)
      return []
    },
  })
  await explaining.letters({ limit: 50, ...asked }, {})
  return pages
}

describe('letters are listed by an index, whatever alone they are asked by', () => {
  test('in a table that is worth it', async () => {
    const [row] = await database.query<{ pages: number }>(
      `select (pg_relation_size('tidegate.dead_letters') / 8192)::int as pages`,
    )
    expect(row?.pages).toBeGreaterThan(2_000)
  })

  test.each<[string, Partial<LettersAsked>]>([
    ['nothing', {}],
    ['consumer group', { group: 'rare' }],
    ['code', { code: 'RARE' }],
    ['type', { type: 'com.acme.rare' }],
    ['code and type', { code: 'RARE', type: 'com.acme.rare' }],
    ['device', { device: 'rare' }],
    ['failure group', { fingerprint: '0'.repeat(16) }],
    ['code, of all states', { code: 'RARE', state: 'all' }],
    ['device, of all states', { device: 'rare', state: 'all' }],
    ['state that none has', { state: 'replaying' }],
    ['a code that there is not', { code: 'NEVER' }],
  ])('by %s (G7)', async (_, asked) => {
    expect(await pagesOf(asked)).toBeLessThan(600)
  })

  test('by a code that many causes have, a page of each of them and no more (G7)', async () => {
    const causes = 40
    expect(await pagesOf({ code: 'COMMON', limit: 10 })).toBeLessThan(causes * 11 + 600)
  })
})
