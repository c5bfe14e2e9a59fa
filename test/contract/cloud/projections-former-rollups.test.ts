import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { lettingGo } from '../../../cloud/projections/built-in/former-rollups-postgres.ts'
import { rollups, rollupsDefault } from '../../../cloud/projections/built-in/rollups.ts'
import { askJob, rebuildVersion, switchVersion } from '../../../cloud/projections/deeds-postgres.ts'
import type { Projection } from '../../../cloud/projections/definition.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'
import { createDatabase } from '../../support/servers.ts'

let bench: ProjectionBench
beforeAll(async () => {
  bench = await openProjectionBench()
})
afterAll(() => bench.close())

const startMs = Date.UTC(2026, 0, 1)
const at = (seconds: number): string => new Date(startMs + seconds * 1000).toISOString()
const reading = (ledger: Ledger, device: string, seconds: number, data: unknown) =>
  ledger.next(device, { time: at(seconds), data })

let device = ''
let ledger: Ledger
let run = 0
beforeEach(() => {
  device = `device-${++run}`
  ledger = new Ledger(`gateway-${run}`)
})

/** Its tables, with nobody at work in them. */
async function built(projection: Projection): Promise<void> {
  const running = bench.start([projection])
  await bench.live(projection.name, projection.version)
  await running.close()
}

async function compared(): Promise<object> {
  for (;;) {
    const step = await bench.transact(lettingGo)
    if (typeof step === 'object' && step.done) return step
  }
}

/** An instance of the version before. */
const seenBefore = (ago: string) =>
  bench.rows(
    `insert into tidegate.members (consumer_group, instance, seen_at, queue_generation) values ('rollups', 'before', clock_timestamp() - $1::interval, 2)
     on conflict (consumer_group, instance) do update set seen_at = excluded.seen_at`,
    [ago],
  )

const before = (bucket: number, count: number, width = 'minute', field = 't') =>
  bench.rows(
    `insert into tidegate.rollup_buckets (device, type, field, width, bucket, count, min, max, sum, last, last_time)
     values ($1, 'com.acme.climate', $2, $3, $4, $5::int, 1, 1, $5::int, 1, $4)`,
    [device, field, width, at(bucket), count],
  )
const countsOf = async (): Promise<number[]> =>
  (
    await bench.rows<{ count: number }>(
      `select count::int from tidegate.rollups where device = $1 and width = 'minute' order by bucket`,
      [device],
    )
  ).map(({ count }) => count)

describe('what was counted before rollups were a projection', () => {
  test('is to be compared where there is any, and is what readers see before there is a projection', async () => {
    const database = poolOf({ url: await createDatabase(), poolMax: 1, applicationName: 'test' })
    await migrated(database, migrations.slice(0, 18))
    await database.query(
      `insert into tidegate.rollup_buckets (device, type, field, width, bucket, count, min, max, sum, last, last_time)
       values ('a', 'com.acme.climate', 't', 'minute', now(), 1, 1, 1, 1, 1, now())`,
    )
    await migrated(database)
    expect(await database.query('select compared::int, done_at from tidegate.former_rollups')).toEqual([
      { compared: 0, done_at: null },
    ])
    expect(await database.query('select count::int, mean from tidegate.series')).toEqual([
      { count: 1, mean: 1 },
    ])
    expect(await postgresStorage(database).transaction(lettingGo, new AbortController().signal)).toBe('later')
    await database.close()
    expect(await bench.rows('select from tidegate.former_rollups')).toEqual([])
  })

  test('is shown until the projection has counted as much, and stays where history has it no more; the rest is kept for 30 days (G4)', async () => {
    await built(rollups())
    // History has the second of these, all of the third and more, and of the fourth a half.
    for (const [bucket, count] of [
      [0, 4],
      [60, 2],
      [120, 1],
      [180, 2],
    ] as const)
      await before(bucket, count)
    await bench.rows(
      'insert into tidegate.former_rollups (one) values (true) on conflict (one) do update set done_at = null, device = null',
    )
    await bench.database.query('select tidegate.show_rollups(1)')
    expect(await countsOf()).toEqual([4, 2, 1, 2])
    const running = bench.start([rollups()])
    await bench.store([61, 62, 121, 122, 181].map((seconds) => reading(ledger, device, seconds, { t: 1 })))
    await bench.live('rollups')
    expect(await countsOf()).toEqual([4, 2, 2, 2])
    await seenBefore('10 seconds')
    expect(await bench.transact(lettingGo)).toBe('later')
    await seenBefore('2 minutes')
    expect(await compared()).toMatchObject({ compared: 4, letGo: 2 })
    expect(await countsOf()).toEqual([4, 2, 2, 2])
    const covered = (): Promise<object[]> =>
      bench.rows('select count::int from tidegate.covered_rollups where device = $1 order by bucket', [
        device,
      ])
    expect(await covered()).toEqual([{ count: 2 }, { count: 1 }])
    expect(await bench.transact(lettingGo)).toBe('kept')
    await bench.rows(`update tidegate.former_rollups set keep_until = now()`)
    expect(await bench.transact(lettingGo)).toBe('forgetting')
    expect(await bench.transact(lettingGo)).toBe('nothing')
    expect(await covered()).toEqual([])
    // What comes is added by the projection alone.
    await bench.store([182, 183].map((seconds) => reading(ledger, device, seconds, { t: 1 })))
    await bench.live('rollups')
    expect(await countsOf()).toEqual([4, 2, 2, 3])
    await running.close()
  })

  test('answers whatever a device has sent, and is no part of tidegate.rollups once all of it is covered (G7)', async () => {
    await built(rollups())
    await bench.store([0, 0, 0].map((t) => reading(ledger, device, 60, { t })))
    await built(rollups())
    await before(60, 3)
    await bench.rows(
      `insert into tidegate.former_rollups (one) values (true) on conflict (one) do update set done_at = null, device = null, keep_until = null, kept = true`,
    )
    await bench.rows(`delete from tidegate.rollup_buckets where device <> $1`, [device])
    await bench.rows(
      `update tidegate.rollup_buckets set sum = 5e-324, count = 4, max = 0, min = 0 where device = $1`,
      [device],
    )
    await bench.database.query('select tidegate.show_rollups(1)')
    const means = () =>
      bench.rows(`select mean from tidegate.rollups where device = $1 and width = 'minute'`, [device])
    expect(await means()).toEqual([{ mean: 0 }])
    expect(
      await bench.rows(
        `select mean from tidegate.series($1, 'com.acme.climate', 't', interval '1 minute', timestamptz '2026-01-01', timestamptz '2026-01-02')`,
        [device],
      ),
    ).toEqual([{ mean: 0 }])
    // A row that somebody counts in still is compared as it is then.
    const reads = (): Promise<{ n: number }[]> =>
      bench.rows(
        `select count(*)::int as n from pg_rewrite as r join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
         where r.ev_class = 'tidegate.rollups'::regclass and d.refobjid = 'tidegate.rollup_buckets'::regclass`,
      )
    await compared()
    expect((await reads())[0]?.n).toBeGreaterThan(0)
    await bench.rows('update tidegate.rollup_buckets set count = 3 where device = $1', [device])
    await bench.rows('update tidegate.former_rollups set done_at = null, device = null')
    await compared()
    expect(await reads()).toEqual([{ n: 0 }])
    expect(await means()).toEqual([{ mean: 0 }])
  })
})

const rebuild = (force?: boolean) =>
  bench.transact((tx) =>
    askJob(tx, {
      name: 'rollups',
      version: 1,
      job: randomUUID(),
      kind: 'rebuild-device',
      device,
      sample: 1,
      force,
    }),
  )

describe('what history has no more', () => {
  const code = 'PROJECTION_HISTORY_SHORTER'
  test('is not counted away: a device of which history lacks the first bucket is built anew by force alone (G5)', async () => {
    await bench.store([reading(ledger, device, 86_400, { t: 1 })])
    await built(rollups())
    await rebuild()
    await bench.rows(
      `insert into projection_rollups_1.buckets select device, type, field, width, bucket - interval '90 days', count, min, max, sum, last, last_time
       from projection_rollups_1.buckets where device = $1`,
      [device],
    )
    await expect(rebuild()).rejects.toMatchObject({ code })
    await rebuild(true)
  })

  test('is not switched away, nor begun again without: a version that was built when weeks were retired (G5)', async () => {
    const second = rollups({ ...rollupsDefault, version: 2 })
    const running = bench.start([rollups(), second])
    await bench.live('rollups', 2)
    await bench.transact((tx) => switchVersion(tx, { name: 'rollups', version: 2 }))
    await bench.transact((tx) => switchVersion(tx, { name: 'rollups', back: true }))
    // Retired when both had counted it, and before the third began.
    await bench.rows(
      `set session_replication_role = replica;
       insert into tidegate.retirements (retirement, partition, from_time, until_time, file, sha256, events, repeats, repeats_sha256) values (gen_random_uuid(), 'x', now(), now(), 'x', 'x', 1, 0, 'x');
       set session_replication_role = origin`,
    )
    await bench.transact((tx) => switchVersion(tx, { name: 'rollups', version: 2 }))
    await bench.transact((tx) => switchVersion(tx, { name: 'rollups', back: true }))
    await expect(rebuild()).rejects.toMatchObject({ code })
    const again = (force?: boolean) =>
      bench.transact((tx) => rebuildVersion(tx, { name: 'rollups', version: 2, force }))
    await expect(again()).rejects.toMatchObject({ code })
    const late = bench.start([rollups({ ...rollupsDefault, version: 3 })])
    await bench.live('rollups', 3)
    const third = (force?: boolean) =>
      bench.transact((tx) => switchVersion(tx, { name: 'rollups', version: 3, force }))
    await expect(third()).rejects.toMatchObject({ code })
    await third(true)
    await again(true)
    await Promise.all([running.close(), late.close()])
  })
})
