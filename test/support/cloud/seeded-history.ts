import { readFileSync } from 'node:fs'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { devices } from '../../../cloud/projections/built-in/devices.ts'
import { latest } from '../../../cloud/projections/built-in/latest.ts'
import { rollups } from '../../../cloud/projections/built-in/rollups.ts'
import { withTables } from '../../../cloud/projections/tables-file.ts'
import { typedViews } from '../../../cloud/schemas/views/view.ts'
import { applyViews } from '../../../cloud/schemas/views/views-postgres.ts'
import { usableSchemas } from '../../../src/schemas/folder.ts'
import { postgresTables } from '../../../cloud/projections/tables-postgres.ts'
import { sourceOf } from './schemas/schema-files.ts'

/** As many events as 200 devices make in a week, so that more events are more weeks. */
const eventsOfWeek = 37_500
const eventsAtOnce = 50_000

/**
 * History as an installation has it that is some weeks old, up to now: a partition a week, 200 devices of one gateway, a type that is
 * rare, readings that were set aside, and the built-in projections of it, as far as questions ask for them. IDs are the MD5 of 1, the newest, of 2 and so on.
 * For the owner of the tables.
 */
export async function seedHistory(database: Database, events: number): Promise<void> {
  const weeks = Math.ceil(events / eventsOfWeek)
  await database.query(partSql(weeks))
  for (let from = 0; from < events; from += eventsAtOnce) {
    const upTo = Math.min(events, from + eventsAtOnce) - 1
    await database.query(eventsSql, [from, upTo, events, eventsOfWeek])
  }
  await makeProjections(database)
  await makeViews(database)
  for (const sql of projectedSql) await database.query(sql, sql.includes('$1') ? [events] : [])
  await database.query(
    `insert into tidegate.ledger_notes (gateway, epoch, from_sequence, to_sequence, reason, event_sequence)
     values ('gateway-1', 'seeded', $1, $1, 'expired', $1)`,
    [events + 1],
  )
  // As autovacuum does within a minute or two: newest pages are known to the index on times.
  const parts = await database.query<{ partition: string }>('select partition from tidegate.partitions')
  for (const { partition } of parts) await database.query(`vacuum (analyze) tidegate.${partition}`)
  await database.query('select tidegate.analyze_events()')
  for (const table of projected) await database.query(`vacuum (analyze) ${table}`)
}

/** Of the type that most events are of. */
async function makeViews(database: Database): Promise<void> {
  const schema = { properties: { temperature: { type: 'number' } } }
  const folder = usableSchemas(sourceOf({ 'com.acme.climate/1.json': schema }))
  await applyViews(database, typedViews(folder, 'checked'), { schema: 'reading', dryRun: false })
}

/** What is before the weeks to come is parted as well. */
const partSql = (weeks: number): string => `
do $$
declare
  monday timestamptz := (date_trunc('week', now() at time zone 'UTC') - interval '${weeks} weeks') at time zone 'UTC';
  until timestamptz := (select until_time from tidegate.partitions where partition = 'events_before');
begin
  alter table tidegate.events detach partition tidegate.events_before;
  execute format('alter table tidegate.events attach partition tidegate.events_before for values from (minvalue) to (%L)', monday);
  while monday < until loop
    perform tidegate.make_partition('events_' || to_char(monday at time zone 'UTC', 'YYYYMMDD'));
    execute format('alter table tidegate.events attach partition tidegate.%I for values from (%L) to (%L)',
                   'events_' || to_char(monday at time zone 'UTC', 'YYYYMMDD'), monday, monday + interval '1 week');
    monday := monday + interval '1 week';
  end loop;
end
$$`

const eventsSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, stored_time, disposition, reason, body)
select 'gateway-1', 'seeded', n + 1, '/devices/sensor-' || lpad((n % 200)::text, 3, '0'), id,
  case when n % 997 = 0 then 'com.acme.door' when aside then 'dev.tidegate.rejected' else 'com.acme.climate' end,
  at, at, at + interval '40 ms', case when aside then 'rejected' else 'accepted' end,
  case when aside then 'REJECTED_AT_EDGE: NOT_JSON: it is no JSON' end,
  json_build_object('id', id, 'type', 'com.acme.climate', 'note', repeat('x', 200),
    'data', json_build_object('temperature', 20 + n % 7, 'payload', 'eA=='))
from (
  select n, md5(($3::bigint - n)::text) as id, n % 499 = 7 as aside, now() - interval '1 minute' - ($3::bigint - n) * (interval '1 week' / $4::int) as at
  from generate_series($1::bigint, $2::bigint) as n) as made`

/** Their tables, as whoever holds their leases makes them. */
async function makeProjections(database: Database): Promise<void> {
  await postgresStorage(database).transaction(async (tx) => {
    for (const projection of [rollups(), devices, latest].map(withTables)) {
      await tx.query(
        `insert into tidegate.projection_versions (name, version, definition, state, live_at) values ($1, $2, 'seeded', 'live', now())`,
        [projection.name, projection.version],
      )
      await postgresTables.make(tx, projection)
    }
  }, new AbortController().signal)
}

const projected = [
  'projection_rollups_1.buckets',
  'projection_devices_1.devices',
  'projection_latest_1.latest',
]
const deviceSql = `'sensor-' || lpad(d::text, 3, '0')`

// Two weeks of hours, and eight hours of minutes.
const projectedSql = [
  `insert into projection_rollups_1.buckets (device, type, field, width, bucket, count, min, max, sum, last, last_time)
   select ${deviceSql}, 'com.acme.climate', 'temperature', width, date_trunc(width, now()) - n * step, 60, 20, 26, 1380, 23, now() - n * step
   from generate_series(0, 199) as d cross join (values ('hour', interval '1 hour', 335), ('minute', interval '1 minute', 480)) as w (width, step, steps)
   cross join lateral generate_series(0, steps) as n`,
  `insert into projection_devices_1.devices (device, first_seen, last_seen, types, events)
   select ${deviceSql}, now() - interval '35 days', now(), array['com.acme.climate', 'com.acme.door'], $1::bigint / 200 from generate_series(0, 199) as d`,
  `insert into projection_latest_1.latest (device, type, time, data, cursor)
   select ${deviceSql}, type, now() - d * interval '1 second', json_build_object('temperature', 21, 'note', repeat('x', 200)), '1.1.' || d
   from generate_series(0, 199) as d cross join unnest(array['com.acme.climate', 'com.acme.door']) as type`,
]

export interface Question {
  /** What is asked, in the words of the page. */
  asked: string
  sql: string
}

/** Those of docs/DATABASE.md. */
export function documentedQuestions(): Question[] {
  const page = readFileSync('docs/DATABASE.md', 'utf8')
  const section = page.split('\n## Questions\n')[1]?.split('\n## ')[0] ?? ''
  return [...section.matchAll(/([^\n]+):\n\n```sql\n(.*?)```/gs)].map(([, asked = '', sql = '']) => ({
    asked,
    sql: sql.replace(/;\s*$/, ''),
  }))
}

export interface Answered {
  rows: number
  pages: number
  ms: number
  /** Partitions of events that were read from the beginning to the end. */
  readWhole: string[]
}

/** How PostgreSQL answers: pages touched, in memory or not, once what is needed is there. */
export async function answer(database: Database, sql: string): Promise<Answered> {
  const readWhole: string[] = []
  await database.query(sql)
  const [found] = await database.query<{ 'QUERY PLAN': [Explained] }>(
    `explain (analyze, buffers, format json) ${sql}`,
  )
  const explained = found?.['QUERY PLAN'][0]
  if (explained === undefined) throw new Error('PostgreSQL has explained nothing')
  walk(explained.Plan)
  return {
    rows: explained.Plan['Actual Rows'],
    pages: explained.Plan['Shared Hit Blocks'] + explained.Plan['Shared Read Blocks'],
    ms: explained['Execution Time'],
    readWhole,
  }

  function walk(node: Node): void {
    const name = node['Relation Name']
    const isWhole = node['Node Type'] === 'Seq Scan' && node['Actual Loops'] > 0
    if (
      isWhole &&
      name?.startsWith('events_') &&
      node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) > 0
    )
      readWhole.push(name)
    for (const child of node.Plans ?? []) walk(child)
  }
}

interface Explained {
  Plan: Node
  'Execution Time': number
}

interface Node {
  'Node Type': string
  'Relation Name'?: string
  'Actual Loops': number
  'Actual Rows': number
  'Rows Removed by Filter'?: number
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
  Plans?: Node[]
}
