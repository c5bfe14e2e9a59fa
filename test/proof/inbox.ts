import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { guardedMs } from '../../cloud/database/inbox-weeks-postgres.ts'
import { inboxWeeks } from '../../cloud/database/migrations/0018-inbox-weeks.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import type { Migration } from '../../cloud/database/migrations/migration.ts'
import { postgresStorage } from '../../cloud/database/storage-postgres.ts'
import type { EventIdentity, Storage, Transaction } from '../../cloud/database/storage.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { formerClaim } from '../support/cloud/former-inbox.ts'
import { weekPasses } from '../support/cloud/inbox-claims.ts'

/** What a claim costs, by weeks and as it was before: bytes on disk and of WAL, rate. They take turns, on one server, in one run. */
const { claims, batch, rounds, kept } = programOf(
  'node dist/test/proof/inbox.js',
  'Claims events in two databases of its own, in the inbox by weeks and in that of before, by turns.',
)
  .option('--claims <count>', 'claims a round, and in each week before', wholeNumber(), 200_000)
  .option('--batch <count>', 'claims in a transaction', wholeNumber({ max: 10_000 }), 200)
  .option('--rounds <count>', 'rounds', wholeNumber({ max: 1000 }), 5)
  .option('--kept <count>', 'full weeks that are asked, too', wholeNumber({ min: 0, max: 8 }), 2)
  .parse()
  .opts<{ claims: number; batch: number; rounds: number; kept: number }>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const { signal } = new AbortController()

type ClaimIn = (tx: Transaction, identities: readonly EventIdentity[]) => Promise<boolean[]>

interface Way {
  storage: Storage
  name: string
  database: Database
  claim: ClaimIn
  size: string
}

const perDevice = 1000
const eventOf = (n: number): EventIdentity => ({
  source: `/devices/sensor-${n % perDevice}`,
  id: randomUUID(),
})

async function claimMany({ storage, claim }: Way, count: number): Promise<void> {
  for (let from = 0; from < count; from += batch) {
    const events = Array.from({ length: Math.min(batch, count - from) }, (_, n) => eventOf(from + n))
    const fresh = await storage.transaction((tx) => claim(tx, events), signal)
    if (fresh.includes(false)) throw new Error('a new event was taken for a repeat')
  }
}

interface Cost {
  perSecond: number
  walBytes: number
}

async function measured(way: Way): Promise<Cost> {
  const lsn = await walAt(way)
  const fromMs = performance.now()
  await claimMany(way, claims)
  const perSecond = claims / ((performance.now() - fromMs) / 1000)
  return { perSecond, walBytes: ((await walAt(way)) - lsn) / claims }
}

/** Bytes since the server was made. */
async function walAt({ database }: Way): Promise<number> {
  const [row] = await database.query<{ at: number }>(`select (pg_current_wal_lsn() - '0/0')::float8 as at`)
  return row?.at ?? NaN
}

const middle = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

async function bytesOf({ database, size }: Way): Promise<number> {
  const [row] = await database.query<{ bytes: number }>(`select (${size})::float8 as bytes`)
  return row?.bytes ?? NaN
}

async function measure(ways: readonly Way[]): Promise<void> {
  const costs = new Map<Way, Cost[]>(ways.map((way) => [way, []]))
  for (let round = 0; round < rounds; round++)
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) costs.get(way)?.push(await measured(way))
  const figures: number[][] = []
  for (const way of ways) {
    const all = costs.get(way) ?? []
    const [rate, wal] = [middle(all.map((c) => c.perSecond)), middle(all.map((c) => c.walBytes))]
    const bytes = (await bytesOf(way)) / (claims * (rounds + kept))
    figures.push([rate, wal, bytes])
    say(
      `${way.name}: ${Math.round(rate)} claims/s, ${bytes.toFixed(0)} bytes and ${wal.toFixed(0)} of WAL a claim`,
    )
  }
  const [weeks = [], before = []] = figures
  const ratios = weeks.map((figure, n) => (figure / (before[n] ?? NaN)).toFixed(2))
  say(`by weeks : before: rate ${ratios[0]}, bytes ${ratios[1 + 1]}, WAL ${ratios[1]}`)
}

async function open(url: string, name: string, steps: readonly Migration[]): Promise<Database> {
  const admin = createDatabase({ url, poolMax: 1, applicationName: 'proof' })
  await admin.query(`create database ${name}`)
  // The disk is the same for both: what is measured is work, not waiting.
  await admin.query(`alter database ${name} set synchronous_commit = off`)
  await admin.close()
  const own = new URL(url)
  own.pathname = `/${name}`
  const database = createDatabase({ url: own.href, poolMax: 2, applicationName: 'proof' })
  await migrateDatabase(database, steps, { signal, log: silentLog })
  return database
}

async function waysOn(url: string): Promise<[Way, Way]> {
  const byWeeks = await open(url, 'by_weeks', migrations)
  const asBefore = await open(url, 'as_before', migrations.slice(0, migrations.indexOf(inboxWeeks)))
  return [
    {
      name: 'by weeks',
      database: byWeeks,
      storage: postgresStorage(byWeeks),
      claim: (tx, events) => tx.inbox.claim('group', events),
      size: `select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'tidegate.inbox_claims'::regclass`,
    },
    {
      name: 'as before',
      database: asBefore,
      storage: postgresStorage(asBefore),
      claim: (tx, events) => formerClaim(tx, 'group', events),
      size: `select pg_total_relation_size('tidegate.inbox')`,
    },
  ]
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-inbox-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir, env: { ...process.env, TIDEGATE_PG_URL: '' }, say })
  if (obtained.how === 'given') throw new Error('a server that was given is not used here')
  const ways = await waysOn(obtained.server.url)
  try {
    for (let week = 0; week < kept; week++) {
      for (const way of ways) await claimMany(way, claims)
      await weekPasses(ways[0].database)
    }
    for (const { database } of ways) await database.query('vacuum analyze')
    // Then it is known that nobody is left who claimed before the border.
    for (const way of ways) await claimMany(way, 1)
    await systemClock.sleep(guardedMs + 1_000)
    await measure(ways)
  } finally {
    for (const { database } of ways) await database.close()
    await obtained.server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

await main()
