import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import type { Appended, HistoryRecord } from '../../../cloud/history/history.ts'
import { silentLog } from '../../../src/log.ts'
import { audit } from '../../support/cloud/audited-database.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

const dayMs = 24 * 3_600_000
const { signal } = new AbortController()
const mondayMs = (): number => {
  const now = new Date()
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - ((now.getUTCDay() + 6) % 7))
}
/** Of the week after this one: it has a partition of its own, whenever the test runs. */
const nextWeekMs = (days: number): number => mondayMs() + (7 + days) * dayMs

let sequence = 0
function record(id: string, recordedMs: number, more: Partial<HistoryRecord> = {}): HistoryRecord {
  sequence++
  const data = { type: 'com.acme.climate', data: { temperature: 21 } }
  return {
    gateway: 'gateway-1',
    epoch: '0'.repeat(26),
    sequence,
    source: '/devices/device-1',
    id,
    type: 'com.acme.climate',
    subject: undefined,
    dataschema: undefined,
    timeMs: recordedMs,
    recordedMs,
    disposition: 'accepted',
    reason: undefined,
    body: JSON.stringify(data),
    ...more,
  }
}

let url: string
let database: Database
let owner: Client
beforeAll(async () => {
  url = await createDatabase()
  database = poolOf({ url, poolMax: 4, applicationName: 'test' })
  await migrated(database)
  owner = new Client(url)
  await owner.connect()
})
afterAll(async () => {
  await database.close()
  await owner.end()
})

const append = (...records: HistoryRecord[]): Promise<Appended[]> =>
  postgresStorage(database).transaction((tx) => postgresHistory(tx).append(records), signal)

const whereIs = async (id: string): Promise<string[]> => {
  const rows = await database.query<{ partition: string }>(
    'select (select relname from pg_class where oid = e.tableoid) as partition from tidegate.events as e where id = $1 order by recorded_time',
    [id],
  )
  return rows.map(({ partition }) => partition)
}

const partitionOf = (ms: number): string =>
  `events_${new Date(ms).toISOString().slice(0, 10).replaceAll('-', '')}`

const fillers = (count: number): HistoryRecord[] =>
  Array.from({ length: count }, (_, index) => record(`filler-${sequence}-${index}`, nextWeekMs(1)))

describe('history by weeks', () => {
  test('each event is in the week in which its gateway recorded it, whatever its clock says', async () => {
    const at = { before: 0, 'next week': nextWeekMs(1), ahead: nextWeekMs(700) }
    await append(...Object.entries(at).map(([id, recordedMs]) => record(id, recordedMs)))
    expect(await whereIs('before')).toEqual(['events_before'])
    expect(await whereIs('next week')).toEqual([partitionOf(nextWeekMs(0))])
    expect(await whereIs('ahead')).toEqual(['events_other'])
  })

  test.each([1, 40])(
    'an identity that was numbered twice is a repeat in whichever week around it, among %i (G4)',
    async (company) => {
      const id = `twice-${company}`
      const first = record(id, nextWeekMs(1))
      expect(await append(first)).toEqual(['stored'])
      const [again, later, earlier] = await append(
        first,
        record(id, nextWeekMs(8)),
        record(id, nextWeekMs(-6)),
        ...fillers(company),
      )
      expect([again, later, earlier]).toEqual(['again', 'repeat', 'repeat'])
      expect(await append(record(id, nextWeekMs(9), { body: '{"type":"other"}' }))).toEqual(['rival'])
      expect(await whereIs(id)).toHaveLength(1)
    },
  )

  test('two of one identity in one batch are one, though they belong to two weeks (G4)', async () => {
    const batch = [record('pair', nextWeekMs(1)), record('pair', nextWeekMs(8)), ...fillers(30)]
    expect((await append(...batch)).slice(0, 2)).toEqual(['stored', 'repeat'])
    expect(await whereIs('pair')).toHaveLength(1)
  })

  test('an identity that comes again after the window is stored, and each of the two is known when it is delivered again (G4)', async () => {
    const first = record('old', nextWeekMs(-30))
    const second = record('old', nextWeekMs(1))
    expect(await append(first)).toEqual(['stored'])
    expect(await append(second)).toEqual(['stored'])
    expect(await append(first, second)).toEqual(['again', 'again'])
    // In one partition of before, its own index knows for longer than the window.
    expect(await append(record('old', nextWeekMs(-60)))).toEqual(['repeat'])
  })

  test('another copy of what is stored twice is no rival of the one it says the same as (G9)', async () => {
    await append(record('double', nextWeekMs(-30)))
    await append(record('double', nextWeekMs(1), { body: '{"type":"b"}' }))
    expect(await append(record('double', nextWeekMs(2), { body: '{"type":"b"}' }))).toEqual(['repeat'])
  })

  test('however often one repeats itself, the statements are as many (G7)', async () => {
    const counts = await Promise.all(
      [20, 400].map(async (count) => {
        let statements = 0
        const batch = Array.from({ length: count }, () =>
          record(`flood-${count}`, nextWeekMs(1), { body: `{"type":"${sequence}"}` }),
        )
        const answers = await postgresStorage(database).transaction(async (tx) => {
          const counted = Object.assign(Object.create(tx), {
            run: (...args: Parameters<typeof tx.run>) => {
              statements++
              return tx.run(...args)
            },
          }) as typeof tx
          return await postgresHistory(counted).append(batch)
        }, signal)
        expect(answers).toEqual(['stored', ...Array.from({ length: count - 1 }, () => 'rival')])
        return statements
      }),
    )
    expect(counts[1]).toBe(counts[0])
  })

  test.each([1, 40])(
    'an outbox that was put back to what it was weeks ago is told, by %i of its events (G2)',
    async (count) => {
      const epoch = `back-${count}`.padEnd(26, '0')
      const batch = (prefix: string, ms: number): HistoryRecord[] =>
        Array.from({ length: count }, (_, index) =>
          record(`${prefix}-${count}-${index}`, ms, { epoch, sequence: index + 1 }),
        )
      expect(new Set(await append(...batch('then', nextWeekMs(-3))))).toEqual(new Set(['stored']))
      expect(new Set(await append(...batch('now', nextWeekMs(1))))).toEqual(new Set(['place-taken']))
    },
  )

  test('a place that is taken is told within its week', async () => {
    const first = record('place', nextWeekMs(1))
    await append(first)
    expect(await append({ ...record('another', nextWeekMs(2)), sequence: first.sequence })).toEqual([
      'place-taken',
    ])
  })

  test('what is new is looked for in the weeks around it only, by its identity alone', async () => {
    // Of one device, and no statistics yet: by source and time all of them would be read.
    await owner.query(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
       select 'gateway-2', 'many', n, '/devices/device-1', 'many-' || n, 't', now(), to_timestamp($1) + n * interval '1 second', 'accepted', '{}'
       from generate_series(1, 20000) as n`,
      [nextWeekMs(-4) / 1000],
    )
    const plan = await explained(record('planned', nextWeekMs(1)))
    expect(plan.length).toBeGreaterThan(3)
    const scanned = plan.filter((node) => node.loops > 0).map((node) => node.relation)
    expect(scanned).not.toContain(partitionOf(nextWeekMs(0)))
    const inBefore = plan.filter(({ relation, loops }) => relation === 'events_before' && loops > 0)
    expect(inBefore.length).toBeGreaterThan(0)
    for (const { index } of inBefore) expect(index).toMatch(/_(id|pkey)$/)
  })
})

interface Scan {
  relation: string
  index: string | undefined
  loops: number
}

/** How PostgreSQL looks for what it stores: each scan of a partition. */
async function explained(one: HistoryRecord): Promise<Scan[]> {
  const scans: Scan[] = []
  const walk = (node: Record<string, unknown>): void => {
    if (typeof node['Relation Name'] === 'string' && String(node['Node Type']).includes('Scan'))
      scans.push({
        relation: node['Relation Name'],
        index: node['Index Name'] as string | undefined,
        loops: Number(node['Actual Loops']),
      })
    for (const child of (node['Plans'] ?? []) as Record<string, unknown>[]) walk(child)
  }
  await postgresStorage(database).transaction(async (tx) => {
    const spied = {
      ...tx,
      run: async <Row extends unknown[]>(name: string, text: string, values: readonly unknown[]) => {
        if (name.startsWith('history-append')) {
          const { rows } = await tx.query(`explain (analyze, format json) ${text}`, [...values])
          walk(
            (rows[0] as { 'QUERY PLAN': { Plan: Record<string, unknown> }[] })['QUERY PLAN'][0]?.Plan ?? {},
          )
        }
        return [] as Row[]
      },
    }
    await postgresHistory(spied)
      .append([one])
      .catch(() => {})
  }, signal)
  return scans
}

describe('the weeks to come', () => {
  test('are made once, by however many at a time, and take what was waiting for them', async () => {
    const early = nextWeekMs(14 + 1)
    await append(record('early', early))
    expect(await whereIs('early')).toEqual(['events_other'])
    const made = await Promise.all(
      [1, 2, 3].map(() =>
        database.query<{ made: string[] }>('select tidegate.prepare_partitions(4) as made'),
      ),
    )
    const names = made.flatMap(([row]) => row?.made ?? [])
    expect(names).toHaveLength(new Set(names).size)
    expect(names).toContain(partitionOf(nextWeekMs(14)))
    expect(await whereIs('early')).toEqual([partitionOf(nextWeekMs(14))])
    for (const name of names)
      for (const sql of [
        `update tidegate.${name} set id = ''`,
        `delete from tidegate.${name}`,
        `truncate tidegate.${name}`,
      ])
        await expect(owner.query(sql)).rejects.toThrow('append-only')
  })

  test('are weeks of UTC, whatever the sessions’ time zone and date style', async () => {
    const elsewhere = await createDatabase()
    const client = new Client(elsewhere)
    await client.connect()
    await client.query(
      `alter database ${new URL(elsewhere).pathname.slice(1)} set timezone = 'Asia/Kolkata'; alter database ${new URL(elsewhere).pathname.slice(1)} set datestyle = 'SQL, DMY'`,
    )
    const pool = poolOf({ url: elsewhere, poolMax: 1, applicationName: 'test' })
    await migrated(pool)
    await client.end()
    await pool.query('select tidegate.prepare_partitions(8)')
    const rows = await pool.query<{ partition: string; monday: string; hours: number }>(
      `select partition, to_char(from_time at time zone 'UTC', 'YYYYMMDD HH24:MI') as monday,
              extract(epoch from until_time - from_time)::int / 3600 as hours
       from tidegate.partitions where partition not in ('events_before', 'events_other')`,
    )
    expect(rows).toHaveLength(8)
    for (const { partition, monday, hours } of rows) {
      expect(`events_${monday}`).toBe(`${partition} 00:00`)
      expect(hours).toBe(168)
    }
    await pool.close()
  })
})

const eras = (): Promise<{ era: number }[]> => database.query('select era from tidegate.eras order by era')

describe('eras', () => {
  test('stay what they are in one life of the server, and one is opened for another', async () => {
    await owner.query('select tidegate.current_era()')
    const [{ era } = { era: 0 }, ...others] = await eras()
    expect(others).toEqual([])
    // As after a start, and in a dump that was restored elsewhere.
    await owner.query(
      `set session_replication_role = replica; update tidegate.eras set server_started = server_started - interval '1 minute'; set session_replication_role = origin`,
    )
    await owner.query('select tidegate.current_era(); select tidegate.current_era()')
    expect(await eras()).toEqual([{ era }, { era: era + 1 }])
    await append(record('in the second', nextWeekMs(1)))
    expect(await database.query(`select era from tidegate.events where id = 'in the second'`)).toEqual([
      { era: era + 1 },
    ])
  })
})

describe('a database of before there were weeks', () => {
  test('keeps every event where it lies, is audited as before, and goes on (G2, G8)', async () => {
    const former = await createDatabase()
    const pool = poolOf({ url: former, poolMax: 2, applicationName: 'test' })
    const step = { signal, log: silentLog }
    await migrateDatabase(pool, migrations.slice(0, 13), step)
    const ledger = new Ledger()
    const events = Array.from({ length: 300 }, (_, index) => ledger.next(`device-${index % 7}`))
    for (const { event, text } of events)
      await pool.query(
        `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'accepted', $9)`,
        [
          event.gateway,
          event.epoch,
          event.sequence,
          event.source,
          event.id,
          event.type,
          event.time,
          event.recordedtime,
          text,
        ],
      )
    await pool.query(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
       values ('ahead', 'x', 1, '/devices/a', 'ahead', 't', now(), now() + interval '20 years', 'accepted', '{}')`,
    )
    const rowsOf = `select md5(string_agg(e.position || e.body::text || e.stored_time, ',' order by e.position)) as sum, count(*)::int from tidegate.events as e`
    const before = await pool.query(rowsOf)
    await pool.query(
      'create view public.dashboard with (security_barrier) as select id, source, time from tidegate.events',
    )
    await pool.query('grant select on public.dashboard to public')
    await pool.query(
      'grant select (id, source) on tidegate.events to public; grant insert on tidegate.events to public',
    )
    const [file] = await pool.query<{ node: string }>(
      `select pg_relation_filenode('tidegate.events')::text as node`,
    )

    await migrateDatabase(pool, migrations, step)

    expect(await pool.query(rowsOf)).toEqual(before)
    expect(await pool.query(`select pg_relation_filenode('tidegate.events_before')::text as node`)).toEqual([
      file,
    ])
    expect(await pool.query('select id from tidegate.events_other')).toEqual([{ id: 'ahead' }])
    const reports = await audit(former, { gateway: 'gateway-1' })
    expect(reports).toMatchObject([{ ok: true, present: { count: 300 } }])
    // As an instance of the version before writes, which is still at work.
    await pool.query(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
       values ('late', 'x', 1, '/devices/a', 'late', 't', now(), now(), 'accepted', '{}') on conflict do nothing`,
    )
    const [late] = await pool.query<{ position: string; era: number }>(
      `select position, era from tidegate.events where id = 'late'`,
    )
    expect(Number(late?.position)).toBeGreaterThan(301)
    expect(late?.era).toBeGreaterThan(0)
    expect(
      await pool.query(
        `select reloptions, relacl is not null as granted from pg_class where relname = 'dashboard'`,
      ),
    ).toEqual([{ reloptions: ['security_barrier=true'], granted: true }])
    expect(
      await pool.query(
        `select has_table_privilege('public', 'tidegate.events', 'insert') as inserted, has_sequence_privilege('public', 'tidegate.event_position', 'usage') as counted,
                has_column_privilege('public', 'tidegate.events', 'id', 'select') as seen, has_column_privilege('public', 'tidegate.events', 'body', 'select') as all_seen`,
      ),
    ).toEqual([{ inserted: true, counted: true, seen: true, all_seen: false }])
    await pool.query(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
       values ('late', 'x', 2, '/devices/a', 'next week', 't', now(), now() + interval '8 days', 'accepted', '{}')`,
    )
    expect(
      await pool.query(`select id from public.dashboard where id in ('late', 'next week') order by id`),
    ).toEqual([{ id: 'late' }, { id: 'next week' }])
    await pool.close()
  })

  test.each([
    [
      'materialized view daily',
      'create materialized view public.daily as select source from tidegate.events',
    ],
    ['publication changes', 'create publication changes for table tidegate.events'],
    ['publication all', 'create publication all_of_it for all tables'],
    ['view whole', 'create view public.whole as select e from tidegate.events as e'],
    [
      'function counted',
      'create function public.counted() returns bigint language sql begin atomic select count(*) from tidegate.events; end',
    ],
    [
      'trigger mine',
      `create function public.mine() returns trigger language plpgsql as $$ begin return new; end $$;
       create trigger mine after insert on tidegate.events for each row execute function public.mine()`,
    ],
  ])('is left as it is while it has a %s, which would see the first week only', async (what, sql) => {
    const former = await createDatabase()
    const pool = poolOf({ url: former, poolMax: 2, applicationName: 'test' })
    const step = { signal, log: silentLog }
    await migrateDatabase(pool, migrations.slice(0, 13), step)
    const client = new Client(former)
    await client.connect()
    await client.query(sql)
    await expect(migrateDatabase(pool, migrations, step)).rejects.toMatchObject({
      code: 'MIGRATION_BLOCKED',
      message: expect.stringContaining(what.split(' ')[0] as string) as string,
    })
    const { rows } = await client.query('select max(version)::int as step from tidegate.migrations')
    expect(rows).toEqual([{ step: 13 }])
    await client.end()
    await pool.close()
  })
})
