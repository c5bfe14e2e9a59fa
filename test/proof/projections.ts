import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { postgresStorage } from '../../cloud/database/storage-postgres.ts'
import { rollups } from '../../cloud/projections/built-in/rollups.ts'
import { switchVersion } from '../../cloud/projections/deeds-postgres.ts'
import { startProjections } from '../../cloud/projections/projections.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'

/** How fast rollups are built from a long history, in what memory, killed on the way; and whether readers notice a switch. */
const { events, devices } = programOf(
  'node dist/test/proof/projections.js',
  'Writes a history into a database of its own, builds rollups from it, once more killed ten times, and switches under reads.',
)
  .option('--events <count>', 'how many', wholeNumber(), 1_000_000)
  .option('--devices <count>', 'of how many devices', wholeNumber({ max: 1_000_000 }), 1000)
  .parse()
  .opts<{ events: number; devices: number }>()

const kills = 10
const switches = 10

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

interface Standing {
  state: string
  applied: number
}

async function standing(database: Database, version: number): Promise<Standing> {
  const [row] = await database.query<Standing>(
    'select state, applied::float8 as applied from tidegate.projection_versions where name = $1 and version = $2',
    ['rollups', version],
  )
  return row ?? { state: '', applied: 0 }
}

/** How fast, and in what memory. */
async function build(database: Database): Promise<boolean> {
  const surroundings = { clock: systemClock, random: Math.random, log: silentLog }
  const before = process.memoryUsage().rss
  let peak = before
  const watching = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 50)
  const fromMs = performance.now()
  const projections = [rollups()]
  const running = startProjections({
    projections,
    database,
    instance: 'proof',
    timeoutMs: 30_000,
    ...surroundings,
  })
  let now = await standing(database, 1)
  while (now.state !== 'live') {
    await systemClock.sleep(200)
    now = await standing(database, 1)
  }
  const tookMs = performance.now() - fromMs
  clearInterval(watching)
  await running.close()
  const { applied } = now
  say(
    `${applied} events in ${(tookMs / 1000).toFixed(1)} s: ${Math.round((applied / tookMs) * 1000)} a second`,
  )
  const [found] = await database.query<{ counted: number; rows: number }>(
    `select sum(count)::float8 as counted, count(*)::float8 as rows from tidegate.rollups`,
  )
  say(`${found?.rows} buckets; memory ${mib(before)} before, ${mib(peak)} at most`)
  // Two fields, each in a minute and in an hour.
  return applied === events && found?.counted === 4 * events
}

/** Reads what a dashboard reads, over and over, until it is told to stop; each answer is to be the same. */
function constantReads(url: string): { stop(): Promise<{ reads: number; failed: string[] }> } {
  const stopping = new AbortController()
  const sql = `select count(*)::int as buckets, sum(count)::int as counted from tidegate.rollups where device = 'sensor-1'`
  const failed: string[] = []
  let reads = 0
  async function read(): Promise<void> {
    const client = new Client(url)
    await client.connect()
    let first: string | undefined
    while (!stopping.signal.aborted) {
      const answer = await client.query(sql).then(
        ({ rows }) => JSON.stringify(rows),
        (error: unknown) => `failed: ${String(error)}`,
      )
      first ??= answer
      if (answer !== first) failed.push(answer)
      reads += 1
    }
    await client.end()
  }
  const reading = Promise.all([read(), read()])
  return {
    async stop() {
      stopping.abort()
      await reading
      return { reads, failed }
    },
  }
}

/** Another version, by processes that are killed with -9 on the way; then it is to be the same as the first. */
async function buildKilled(database: Database, url: string): Promise<boolean> {
  const file = join(import.meta.dirname, 'projections-worker.js')
  const begin = (name: string): ChildProcess =>
    fork(file, [url, '2', name], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  for (let kill = 1; kill <= kills; kill++) {
    const worker = begin(`worker-${kill}`)
    const ended = once(worker, 'exit')
    while ((await standing(database, 2)).applied < (events * kill) / (kills + 1)) await systemClock.sleep(10)
    worker.kill('SIGKILL')
    await ended
  }
  const last = begin('last')
  const ended = once(last, 'exit')
  while ((await standing(database, 2)).state !== 'live') await systemClock.sleep(100)
  const { applied } = await standing(database, 2)
  const [found] = await database.query<{ differing: number }>(
    `select ((select count(*) from (select * from projection_rollups_1.buckets except all select * from projection_rollups_2.buckets) as a)
      + (select count(*) from (select * from projection_rollups_2.buckets except all select * from projection_rollups_1.buckets) as b))::float8 as differing`,
  )
  say(
    `killed ${kills} times: ${applied} events, ${found?.differing} buckets that differ from the first version`,
  )
  const isSwitched = await switchUnderReads(database, url)
  last.kill('SIGKILL')
  await ended
  return applied === events && found?.differing === 0 && isSwitched
}

async function switchUnderReads(database: Database, url: string): Promise<boolean> {
  const reading = constantReads(url)
  const storage = postgresStorage(database)
  for (let round = 0; round < switches; round++) {
    const version = round % 2 === 0 ? 2 : 1
    await systemClock.sleep(100)
    // The first version has nobody who works at it by now.
    const force = version === 1
    await storage.transaction(
      (tx) => switchVersion(tx, { name: 'rollups', version, force }),
      new AbortController().signal,
    )
  }
  await systemClock.sleep(100)
  const { reads, failed } = await reading.stop()
  say(`switched ${switches} times under ${reads} reads: ${failed.length} failed or differ ${failed[0] ?? ''}`)
  return failed.length === 0 && reads > switches
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
    return (await build(database)) && (await buildKilled(database, url))
  } finally {
    await database.close()
    if (obtained.how !== 'given') await obtained.server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

process.exitCode = (await main()) ? 0 : 1
