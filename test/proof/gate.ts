import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { latest } from '../../cloud/projections/built-in/latest.ts'
import { shapes } from '../../cloud/projections/built-in/shapes.ts'
import type { Projection } from '../../cloud/projections/definition.ts'
import { startProjections } from '../../cloud/projections/projections.ts'
import { checkFolder } from '../../cloud/schemas/checks.ts'
import type { GateReport } from '../../cloud/schemas/gate/gate.ts'
import { storedGate } from '../../cloud/schemas/gate/stored-gate.ts'
import { openGateSession, postgresStored } from '../../cloud/schemas/gate/stored-postgres.ts'
import { gateText } from '../../cloud/schemas/gate/told.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { locked, schemasOf } from '../support/cloud/schemas/sources.ts'
import { divide, firstWeekMs } from './ledgers.ts'

interface Options {
  events: number
  letters: number
  weeks: number
}

const { events, letters, weeks } = programOf(
  'npm run prove:gate --',
  `Writes a history and open dead letters into a database of its own, and holds two changes of a schema against them: one that is fine and one that is
not, with shapes and without; both ways are to come to the same.`,
)
  .option('--events <count>', 'in history', wholeNumber({ max: 100_000_000 }), 300_000)
  .option('--letters <count>', 'open ones', wholeNumber({ max: 1_000_000 }), 50)
  .option('--weeks <count>', 'that the events lie in', wholeNumber({ min: 4, max: 40 }), 20)
  .parse()
  .opts<Options>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)

// A tenth names version 1, the rest version 2; what is above 150 lies in two weeks.
const eventsSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, dataschema, time, recorded_time, disposition, body)
select 'gateway-1', '01JGFJJZ00TESTTESTTESTTEST', n, source, 'id-' || n, 'com.acme.climate', schema, at, at, 'accepted',
  json_build_object('specversion', '1.0', 'id', 'id-' || n, 'source', source, 'type', 'com.acme.climate',
    'time', said, 'recordedtime', said, 'datacontenttype', 'application/json', 'dataschema', schema,
    'partitionkey', 'sensor-' || n % 500, 'gateway', 'gateway-1', 'epoch', '01JGFJJZ00TESTTESTTESTTEST', 'sequence', n,
    'data', json_build_object('temperature', case when is_hot then 151.2 else 20 + n % 1000 / 10.0 end, 'humidity', n % 90,
      'battery', json_build_object('voltage', 3 + n % 100 / 100.0, 'low', n % 100 < 5), 'serial', 'K-' || lpad((n % 500)::text, 6, '0')),
    'chain', repeat('A', 43))
from generate_series($1::bigint, $2::bigint) as n
cross join lateral (select to_timestamp($3::float8 / 1000) + n * (interval '1 week' * $4::int / ($5::bigint + 1)) as at,
  '/devices/sensor-' || n % 500 as source, 'com.acme.climate/' || case when n % 10 = 0 then 1 else 2 end as schema,
  n * $4::int / ($5::bigint + 1) in (3, 4) and n % 73 = 1 as is_hot) as t
cross join lateral (select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as said) as s`

// Of nine that were refused for their schema six are still too hot; the others failed for reasons of their own.
const lettersSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, body, properties, headers, routing_key, queue, fingerprint, code,
  message, attempts, failures, instance, first_failed_at, last_failed_at)
select 'alerts', sha256(n::text::bytea), '/devices/sensor-' || n, 'letter-' || n, 'com.acme.climate', 'sensor-' || n,
  convert_to(json_build_object('id', 'letter-' || n, 'source', '/devices/sensor-' || n, 'type', 'com.acme.climate', 'dataschema', 'com.acme.climate/2',
    'data', json_build_object('temperature', case when n <= 6 then 160 else 20 end))::text, 'UTF8'),
  '{}', '{}', '', '', 'f', case when n <= 9 then 'UPCAST_MISSING' else 'HANDLER_FAILED' end, '', 1, '[]', 'proof', now(), now()
from generate_series(1, $1::int) as n`

const climate = (maximum: number, more: object = {}): object => ({
  type: 'object',
  properties: {
    temperature: { type: 'number', minimum: -60, maximum },
    humidity: { type: 'number', minimum: 0, maximum: 100 },
    ...more,
  },
  required: ['temperature'],
})
const changes = {
  'fine: an optional property, a higher maximum': climate(200, { site: { type: 'string', maxLength: 20 } }),
  'not fine: a maximum of 150': climate(150),
}

function folderWith(third: object): ReturnType<typeof schemasOf> {
  const files = {
    'com.acme.climate/type.yaml': 'compatibility: BACKWARD_TRANSITIVE\n',
    'com.acme.climate/1.json': climate(155),
    'com.acme.climate/2.json': climate(160),
    'com.acme.climate/3.json': third,
  }
  return schemasOf(locked(files, ['com.acme.climate/1.json', 'com.acme.climate/2.json']))
}

async function fill(database: Database, url: string): Promise<void> {
  const client = new Client(url)
  await client.connect()
  await divide(client, weeks)
  await client.end()
  const step = 20_000
  for (let from = 1; from <= events; from += step)
    await database.query(eventsSql, [from, Math.min(events, from + step - 1), firstWeekMs, weeks, events])
  await database.query(lettersSql, [letters])
  await database.query('vacuum analyze tidegate.events')
}

/** Both read the same events, by turns in one run. */
async function build(database: Database, projection: Projection): Promise<void> {
  const surroundings = { clock: systemClock, random: Math.random, log: silentLog }
  const cpuBefore = process.cpuUsage()
  const beganMs = performance.now()
  const running = startProjections({
    projections: [projection],
    database,
    instance: 'proof',
    timeoutMs: 30_000,
    ...surroundings,
  })
  for (let isLive = false; !isLive;) {
    await systemClock.sleep(20)
    const [row] = await database.query<{ live: boolean }>(
      `select state = 'live' as live from tidegate.projection_versions where name = $1`,
      [projection.name],
    )
    isLive = row?.live === true
  }
  const tookMs = performance.now() - beganMs
  const { user, system } = process.cpuUsage(cpuBefore)
  await running.close()
  const microseconds = (user + system) / events
  say(
    `${projection.name.padEnd(8)} ${(tookMs / 1000).toFixed(1)} s, ${Math.round((events / tookMs) * 1000)} events a second, ${microseconds.toFixed(1)} µs of the cloud's CPU each`,
  )
}

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

async function ask(database: Database, third: object): Promise<GateReport> {
  const session = await openGateSession(database)
  const folder = folderWith(third)
  const before = process.memoryUsage().rss
  let peak = before
  const beganMs = performance.now()
  const onProgress = (): void => void (peak = Math.max(peak, process.memoryUsage().rss))
  const checked = checkFolder(folder, [])
  const comparedMs = performance.now() - beganMs
  const report = await storedGate(postgresStored(database, session)).judge(folder, checked, { onProgress })
  const tookMs = performance.now() - beganMs - comparedMs
  await session.end()
  say(gateText(report).replaceAll(/^/gm, '  '))
  say(`  ${(tookMs / 1000).toFixed(2)} s; memory ${mib(before)} before, ${mib(peak)} at most`)
  return report
}

/** What of a report is to be the same, however it was found. */
function essence({ ok, verdicts }: GateReport): string {
  return JSON.stringify([ok, verdicts.map(({ groups, letters: found }) => [groups, found])])
}

async function prove(database: Database, url: string): Promise<boolean> {
  await fill(database, url)
  say(`${events} events in ${weeks} weeks, ${letters} open dead letters`)
  const whole: string[] = []
  for (const [what, third] of Object.entries(changes)) {
    say(`${what}, without shapes`)
    whole.push(essence(await ask(database, third)))
  }
  for (const projection of [latest, shapes]) await build(database, projection)
  let isSame = true
  for (const [at, [what, third]] of Object.entries(changes).entries()) {
    say(`${what}, with shapes`)
    isSame = essence(await ask(database, third)) === whole[at] && isSame
  }
  say(isSame ? 'both ways come to the same' : 'WRONG: shapes come to something else')
  return isSame
}

async function main(): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-gate-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir: join(dir, 'postgres'), env: {}, say: () => {} })
  if (obtained.how === 'given') throw new Error('this measures on a server of its own')
  try {
    const url = await obtained.server.createDatabase('gate')
    const database = createDatabase({ url, poolMax: 4, applicationName: 'gate' })
    const { signal } = new AbortController()
    await migrateDatabase(database, migrations, { log: silentLog, signal })
    try {
      return await prove(database, url)
    } finally {
      await database.close()
    }
  } finally {
    await obtained.server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

process.exitCode = (await main()) ? 0 : 1
