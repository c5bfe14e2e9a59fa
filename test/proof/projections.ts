import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { latest } from '../../cloud/projections/latest.ts'
import { startProjections } from '../../cloud/projections/projections.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'

/** How fast `latest` is built from a long history, and what memory it takes. */
const { events, devices } = programOf(
  'node dist/test/proof/projections.js',
  'Writes a history into a database of its own, and builds the projection latest from it.',
)
  .option('--events <count>', 'how many', wholeNumber(), 1_000_000)
  .option('--devices <count>', 'of how many devices', wholeNumber({ max: 1_000_000 }), 1000)
  .parse()
  .opts<{ events: number; devices: number }>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)

// As long as a small reading; what is not looked at here is the same in all.
const eventsSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
select 'gateway-1', '01JGFJJZ00TESTTESTTESTTEST', n, '/devices/sensor-' || n % $1, 'id-' || n, 'com.acme.climate', at, at, 'accepted',
  json_build_object('specversion', '1.0', 'id', 'id-' || n, 'source', '/devices/sensor-' || n % $1, 'type', 'com.acme.climate',
    'time', said, 'recordedtime', said, 'datacontenttype', 'application/json', 'dataschema', 'com.acme.climate/2',
    'partitionkey', 'sensor-' || n % $1, 'gateway', 'gateway-1', 'epoch', '01JGFJJZ00TESTTESTTESTTEST', 'sequence', n,
    'data', json_build_object('temperature', 20 + n % 100 / 10.0, 'humidity', n % 90), 'chain', repeat('A', 43))
from generate_series($2::bigint, $3::bigint) as n
cross join lateral (select now() - interval '20 days' + n * interval '1 second' as at) as t
cross join lateral (select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as said) as s`

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

async function fill(database: Database): Promise<void> {
  const step = 20_000
  for (let from = 1; from <= events; from += step)
    await database.query(eventsSql, [devices, from, Math.min(events, from + step - 1)])
  await database.query('analyze')
}

async function build(database: Database): Promise<boolean> {
  const surroundings = { clock: systemClock, random: Math.random, log: silentLog }
  const before = process.memoryUsage().rss
  let peak = before
  const watching = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 50)
  const fromMs = performance.now()
  const running = startProjections({
    projections: [latest],
    database,
    instance: 'proof',
    timeoutMs: 30_000,
    ...surroundings,
  })
  let applied = 0
  for (let state = ''; state !== 'live';) {
    await systemClock.sleep(200)
    const [row] = await database.query<{ state: string; applied: number }>(
      'select state, applied::float8 as applied from tidegate.projection_versions',
    )
    state = row?.state ?? ''
    applied = row?.applied ?? 0
  }
  const tookMs = performance.now() - fromMs
  clearInterval(watching)
  await running.close()
  const [found] = await database.query<{ rows: number }>(
    'select count(*)::float8 as rows from projection.latest',
  )
  say(
    `${applied} events in ${(tookMs / 1000).toFixed(1)} s: ${Math.round((applied / tookMs) * 1000)} a second`,
  )
  say(`${found?.rows} rows; memory ${mib(before)} before, ${mib(peak)} at most`)
  return applied === events && found?.rows === Math.min(events, devices)
}

async function main(): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-projections-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir, env: process.env, say })
  const url = obtained.how === 'given' ? obtained.url : obtained.server.url
  const database = createDatabase({ url, poolMax: 4, applicationName: 'projections' })
  try {
    const { signal } = new AbortController()
    await migrateDatabase(database, migrations, { log: silentLog, signal })
    await fill(database)
    return await build(database)
  } finally {
    await database.close()
    if (obtained.how !== 'given') await obtained.server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

process.exitCode = (await main()) ? 0 : 1
