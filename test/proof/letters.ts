import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { postgresReads } from '../../cloud/api/reads/reads-postgres.ts'
import type { Reads } from '../../cloud/api/reads/reads.ts'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { postgresUpkeep } from '../../cloud/letters/upkeep-postgres.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'

/**
 * How long it takes to list dead letters when there are very many, and how many pages of PostgreSQL's are touched: the statements of the
 * API as it makes them, each explained and then timed.
 */
const { letters, groups, rounds } = programOf(
  'node dist/test/proof/letters.js',
  'Writes many dead letters of some failure groups into a database of its own, and lists them as the API does.',
)
  .option('--letters <count>', 'how many', wholeNumber(), 1_000_000)
  .option('--groups <count>', 'failure groups that they are of', wholeNumber({ max: 1000 }), 40)
  .option('--rounds <count>', 'how often each is timed', wholeNumber({ max: 1000 }), 20)
  .parse()
  .opts<{ letters: number; groups: number; rounds: number }>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)

const groupsSql = `
insert into tidegate.failure_groups (fingerprint, consumer_group, code, type, message, frame, first_seen, last_seen, letters, open)
select lpad(to_hex(g), 16, '0'), 'group-' || g % 4, 'SITE_UNKNOWN', 'com.acme.climate', 'sensor-* has no site, request *',
  'at siteOf (alerts.mjs)', now() - interval '1 day', now() - g * interval '1 second', 0, 0
from generate_series(1, $1::int) as g`

// As long as those of a small reading: text, headers and a stack.
const lettersSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, gateway, epoch, sequence, body, properties, headers,
  routing_key, queue, fingerprint, code, message, stack, attempts, failures, instance, first_failed_at, last_failed_at)
select 'group-' || (1 + n % $1) % 4, sha256(n::text::bytea), '/devices/sensor-' || n % 5000, 'event-' || n, 'com.acme.climate',
  'sensor-' || n % 5000, 'gateway-1', '01M8AYEPOCH', n, convert_to(repeat('{"kpa":101.3}', 45), 'UTF8'), '{"messageId":"x"}', '{}',
  '01.com.acme.climate', 'group-0.01', lpad(to_hex(1 + n % $1), 16, '0'), 'SITE_UNKNOWN', 'sensor-' || n || ' has no site',
  repeat('at siteOf (file:///consumers/alerts.mjs:10:12)', 8), 5, '[]', 'cloud-1', now(), now()
from generate_series($2::bigint, $3::bigint) as n`

async function fill(database: Database): Promise<void> {
  await database.query(groupsSql, [groups])
  const step = 50_000
  for (let from = 1; from <= letters; from += step)
    await database.query(lettersSql, [groups, from, Math.min(letters, from + step - 1)])
  await postgresUpkeep(database, systemClock).fold()
  // Not folded yet, as after a second of many failures.
  await database.query(
    `insert into tidegate.failure_counts select lpad(to_hex(1 + n % $1), 16, '0'), 0, 0, 0 from generate_series(1, 2000) as n`,
    [groups],
  )
  await database.query('analyze tidegate.dead_letters')
  await database.query('analyze tidegate.failure_groups')
}

interface Plan {
  Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number }
  'Execution Time': number
}

async function measure(
  database: Database,
  name: string,
  read: (reads: Reads) => Promise<unknown>,
): Promise<boolean> {
  let buffers = 0
  const explaining = postgresReads({
    async query(text, values) {
      const [row] = await database.query<{ 'QUERY PLAN': Plan[] }>(
        `explain (analyze, buffers, format json) ${text}`,
        values,
      )
      const plan = row?.['QUERY PLAN'][0]?.Plan
      buffers += (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0)
      return []
    },
  })
  await read(explaining)
  const reads = postgresReads(database)
  const tookMs: number[] = []
  for (let round = 0; round < rounds; round++) {
    const fromMs = performance.now()
    await read(reads)
    tookMs.push(performance.now() - fromMs)
  }
  const sorted = tookMs.toSorted((a, b) => a - b)
  const at = (share: number): string =>
    (sorted[Math.min(rounds - 1, Math.floor(rounds * share))] ?? 0).toFixed(1)
  say(`${name.padEnd(48)} ${String(buffers).padStart(7)} pages  p50 ${at(0.5)} ms  max ${at(1)} ms`)
  return (sorted.at(-1) ?? 0) < 100
}

async function main(): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-letters-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir, env: process.env, say })
  const url = obtained.how === 'given' ? obtained.url : obtained.server.url
  const database = createDatabase({ url, poolMax: 2, applicationName: 'letters' })
  try {
    const start = {
      clock: systemClock,
      random: Math.random,
      log: silentLog,
      signal: new AbortController().signal,
      timeoutMs: 30_000,
    }
    await migrateDatabase(database, migrations, start)
    await fill(database)
    const all = {}
    const of = (group: number): string => (group % groups).toString(16).padStart(16, '0')
    const page =
      (await postgresReads(database).letters({ limit: 50, fingerprint: of(7) }, all)).next ?? undefined
    const results = [
      await measure(database, 'failure groups', (reads) => reads.failureGroups({ limit: 50 }, all)),
      await measure(database, 'first page of a failure group', (reads) =>
        reads.letters({ limit: 50, fingerprint: of(7) }, all),
      ),
      await measure(database, 'next page of it', (reads) =>
        reads.letters({ limit: 50, fingerprint: of(7), after: page }, all),
      ),
      await measure(database, 'newest letters of a consumer group', (reads) =>
        reads.letters({ limit: 50, group: 'group-1' }, all),
      ),
      await measure(database, 'newest letters of all', (reads) => reads.letters({ limit: 50 }, all)),
      await measure(database, 'letters of a device', (reads) =>
        reads.letters({ limit: 50, device: 'sensor-4711' }, all),
      ),
      await measure(database, 'one letter', (reads) => reads.letter(Math.ceil(letters / 2), all)),
      await measure(database, 'consumer groups', (reads) => reads.groups(all)),
    ]
    return results.every(Boolean)
  } finally {
    await database.close()
    if (obtained.how !== 'given') await obtained.server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

const isFast = await main()
if (!isFast) process.exitCode = 1
