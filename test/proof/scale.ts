import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { postgresStorage } from '../../cloud/database/storage-postgres.ts'
import { postgresHistory } from '../../cloud/history/history-postgres.ts'
import type { HistoryRecord } from '../../cloud/history/history.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { seedHistory } from '../support/cloud/seeded-history.ts'

/** What an event costs when history has grown tenfold: time to store it, as history does, and bytes by table and index. */
const { few, many, rounds } = programOf(
  'node dist/test/proof/scale.js',
  'Stores events in turn in two histories in databases of their own, as the cloud does, and tells how long it took and how many bytes an event has.',
)
  .option('--few <count>', 'events of the one', wholeNumber(), 300_000)
  .option('--many <count>', 'events of the other', wholeNumber(), 3_000_000)
  .option('--rounds <count>', 'how often each is given 2,000 events', wholeNumber({ max: 1000 }), 30)
  .parse()
  .opts<{ few: number; many: number; rounds: number }>()

const batches = 10
const ofBatch = 200
const { signal } = new AbortController()
const say = (text: string): void => void process.stdout.write(`${text}\n`)

interface Series {
  name: string
  database: Database
  usPerEvent: number[]
}

async function open(url: string, name: string, events: number): Promise<Series> {
  const database = createDatabase({ url, poolMax: 2, applicationName: 'proof' })
  await migrateDatabase(database, migrations, { signal, log: silentLog })
  await seedHistory(database, events)
  return { name, database, usPerEvent: [] }
}

let sequence = 0
function record(): HistoryRecord {
  const nowMs = Date.now()
  const id = randomUUID()
  const source = `/devices/sensor-${String(++sequence % 200).padStart(3, '0')}`
  return {
    gateway: 'gateway-2',
    epoch: '0'.repeat(26),
    sequence,
    source,
    id,
    type: 'com.acme.climate',
    subject: undefined,
    dataschema: undefined,
    timeMs: nowMs,
    recordedMs: nowMs,
    disposition: 'accepted',
    reason: undefined,
    body: JSON.stringify({ id, source, note: 'x'.repeat(200), data: { temperature: 21 } }),
  }
}

async function storeSome({ database, usPerEvent }: Series): Promise<void> {
  const storage = postgresStorage(database)
  const fromMs = performance.now()
  for (let index = 0; index < batches; index++) {
    const records = Array.from({ length: ofBatch }, record)
    await storage.transaction((tx) => postgresHistory(tx).append(records), signal)
  }
  usPerEvent.push(((performance.now() - fromMs) * 1000) / (batches * ofBatch))
}

const middleOf = (values: readonly number[]): number =>
  values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0

/** Of the largest week, so that what each has at the least does not count. */
const bytesSql = `
with week as (
  select partition, (select count(*) from tidegate.events where tableoid = ('tidegate.' || partition)::regclass) as events
  from tidegate.partitions order by bytes desc limit 1)
select 'table' as what, pg_table_size(('tidegate.' || partition)::regclass)::float8 / events as bytes from week
union all
select replace(relname, partition || '_', ''), pg_relation_size(indexrelid)::float8 / events
from week join pg_index on indrelid = ('tidegate.' || partition)::regclass join pg_class as i on i.oid = indexrelid
order by 2 desc`

async function measure(one: Series, other: Series): Promise<void> {
  for (const series of [one, other]) await storeSome(series)
  one.usPerEvent.length = other.usPerEvent.length = 0
  for (let round = 0; round < rounds; round++)
    for (const series of round % 2 === 0 ? [one, other] : [other, one]) await storeSome(series)
  const ratios = one.usPerEvent.map((us, round) => us / (other.usPerEvent[round] ?? us))
  for (const { name, usPerEvent } of [one, other])
    say(`${name}: ${middleOf(usPerEvent).toFixed(1)} µs an event, in the middle of ${rounds} rounds`)
  say(
    `rate of ${other.name} by that of ${one.name}: ${middleOf(ratios).toFixed(3)}, in the middle of the pairs`,
  )
  const rows = await other.database.query<{ what: string; bytes: number }>(bytesSql)
  for (const { what, bytes } of rows) say(`${bytes.toFixed(0).padStart(6)} bytes an event  ${what}`)
  say(
    `${rows
      .reduce((sum, { bytes }) => sum + bytes, 0)
      .toFixed(0)
      .padStart(6)} bytes an event, in all`,
  )
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-scale-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir, env: { ...process.env, TIDEGATE_PG_URL: '' }, say })
  if (obtained.how === 'given') throw new Error('a server that was given is not used here')
  const { server } = obtained
  const series: Series[] = []
  try {
    for (const events of [few, many]) {
      const name = `scale_${events}`
      const url = new URL(server.url)
      const admin = createDatabase({ url: server.url, poolMax: 1, applicationName: 'proof' })
      await admin.query(`create database ${name}`)
      await admin.close()
      url.pathname = `/${name}`
      series.push(await open(url.href, `${events.toLocaleString('en')} events`, events))
    }
    const [one, other] = series
    if (one && other) await measure(one, other)
  } finally {
    for (const { database } of series) await database.close()
    await server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

await main()
