import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { devices } from '../../../cloud/projections/built-in/devices.ts'
import { rollups, rollupsDefault } from '../../../cloud/projections/built-in/rollups.ts'
import { askJob, switchVersion } from '../../../cloud/projections/deeds-postgres.ts'
import type { Projection } from '../../../cloud/projections/definition.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'

let bench: ProjectionBench
beforeAll(async () => {
  bench = await openProjectionBench()
})
afterAll(() => bench.close())

const startMs = Date.UTC(2026, 0, 1)
const at = (seconds: number): string => new Date(startMs + seconds * 1000).toISOString()
const daysAgo = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString()
const reading = (ledger: Ledger, device: string, seconds: number, data: unknown) =>
  ledger.next(device, { time: at(seconds), data })

const buckets = (device: string, view = 'tidegate.rollups') =>
  bench.rows(
    `select field, width, extract(epoch from bucket - timestamptz '2026-01-01 00:00:00+00')::int as at,
       count::int, min, max, sum, mean, last, extract(epoch from last_time - timestamptz '2026-01-01 00:00:00+00')::int as last_at
     from ${view} where device = $1 order by field, width, bucket`,
    [device],
  )

const seriesOf = (device: string) =>
  bench.rows(
    `select mean from tidegate.series($1, 'com.acme.climate', 't', interval '1 hour', timestamptz '2026-01-01', timestamptz '2026-01-02')`,
    [device],
  )

const done = async (job: string) =>
  (
    await bench.until<{ outcome: Record<string, unknown> }>(
      `select outcome from tidegate.projection_jobs where job = '${job}' and ended_at is not null`,
      (row) => row !== undefined,
    )
  ).outcome

const ask = async (kind: 'compare' | 'rebuild-device', name: string, version: number, device?: string) => {
  const job = randomUUID()
  await bench.transact((tx) => askJob(tx, { name, version, job, kind, device, sample: 100 }))
  return done(job)
}

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

describe('rollups', () => {
  test('are count, min, max, sum and last by event time, whatever is no number left out (G5)', async () => {
    await bench.store([
      reading(ledger, device, 61, { t: 0.1, battery: { voltage: 3.5 }, name: 'x' }),
      reading(ledger, device, 119, { t: 0.2 }),
      reading(ledger, device, 62, { t: -7 }),
      reading(ledger, device, 3600, { t: 1e290 }),
      reading(ledger, device, 5, ['none']),
      ...[1e16, 1, -1e16].map((exact) => reading(ledger, device, 7200, { exact })),
      ledger.next(device, {
        time: '1970-01-01T00:00:00Z',
        timestatus: 'implausible',
        data: JSON.parse(String.raw`{"\ud800":1,"\u0000":2,"late":3}`) as unknown,
      }),
    ])
    await built(rollups())
    const minute = { width: 'minute', at: 60 }
    const [first] = await buckets(device)
    expect(first).toEqual({
      field: 'battery.voltage',
      width: 'hour',
      at: 0,
      count: 1,
      min: 3.5,
      max: 3.5,
      sum: 3.5,
      mean: 3.5,
      last: 3.5,
      last_at: 61,
    })
    expect((await buckets(device)).filter((row) => 'field' in row && row.field === 't')).toEqual([
      // Of decimal numbers: 0.1 + 0.2 is 0.3.
      {
        field: 't',
        width: 'hour',
        at: 0,
        count: 3,
        min: -7,
        max: 0.2,
        sum: -6.7,
        mean: -6.7 / 3,
        last: 0.2,
        last_at: 119,
      },
      {
        field: 't',
        width: 'hour',
        at: 3600,
        count: 1,
        min: 1e290,
        max: 1e290,
        sum: 1e290,
        mean: 1e290,
        last: 1e290,
        last_at: 3600,
      },
      {
        field: 't',
        ...minute,
        count: 3,
        min: -7,
        max: 0.2,
        sum: -6.7,
        mean: -6.7 / 3,
        last: 0.2,
        last_at: 119,
      },
      {
        field: 't',
        width: 'minute',
        at: 3600,
        count: 1,
        min: 1e290,
        max: 1e290,
        sum: 1e290,
        mean: 1e290,
        last: 1e290,
        last_at: 3600,
      },
    ])
    // In floating point the one would be lost, or not, by the batch that it is in.
    expect((await buckets(device)).filter((row) => 'field' in row && row.field === 'exact')).toMatchObject([
      { sum: 1 },
      { sum: 1 },
    ])
    // By the gateway's clock, since the device's is not believed.
    expect((await buckets(device)).filter((row) => 'field' in row && row.field === 'late')).toHaveLength(2)
  })

  test('have sums of 16 digits, exactly', async () => {
    await bench.store([0.1234567890123456, 2, 1e-16].map((t) => reading(ledger, device, 60, { t })))
    await built(rollups())
    expect(
      await bench.rows(
        `select sum::text from projection_rollups_1.buckets where device = $1 and width = 'minute'`,
        [device],
      ),
    ).toEqual([{ sum: '2.1234567890123457' }])
  })

  test('answer whatever a device has sent: the mean of a denormal and zeros is 0 (G7)', async () => {
    await bench.store([5e-324, 0, 0].map((t) => reading(ledger, device, 60, { t })))
    await built(rollups())
    expect(await buckets(device)).toMatchObject([
      { count: 3, max: 0, sum: 0, mean: 0 },
      { count: 3, max: 0, sum: 0, mean: 0 },
    ])
    // Stored by something before.
    await bench.rows('update projection_rollups_1.buckets set sum = 5e-324, max = 5e-324 where device = $1', [
      device,
    ])
    expect(await buckets(device)).toMatchObject([{ mean: 0 }, { mean: 0 }])
    expect(
      await bench.rows(`select sum, mean from projection.rollups where device = $1 and width = 'hour'`, [
        device,
      ]),
    ).toEqual([{ sum: 0, mean: 0 }])
    expect(await seriesOf(device)).toEqual([{ mean: 0 }])
  })

  test('of which the newest of a series is read by a few pages, however long it is', async () => {
    await built(rollups())
    await bench.rows(
      `insert into projection_rollups_1.buckets select $1, 'com.acme.climate', 't', 'minute', timestamptz '2026-01-01' + m * interval '1 minute', 1, 1, 1, 1, 1, now()
       from generate_series(1, 20000) as m`,
      [device],
    )
    await bench.rows('analyze projection_rollups_1.buckets')
    const [plan] = await bench.rows<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
      `explain (analyze, buffers, format json) select bucket, mean from tidegate.rollups
       where device = '${device}' and type = 'com.acme.climate' and field = 't' and width = 'minute' order by bucket desc limit 1`,
    )
    const read = plan?.['QUERY PLAN'][0].Plan ?? {}
    expect((read['Shared Hit Blocks'] ?? 0) + (read['Shared Read Blocks'] ?? 0)).toBeLessThan(20)
  })

  test('are read of the table itself, and of nothing that the cloud at work could put in its place (G8)', async () => {
    await built(rollups())
    const upon = await bench.rows<{ name: string }>(
      `select distinct refobjid::regclass::text as name from pg_rewrite as r
         join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
       where r.ev_class = 'tidegate.rollups'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class`,
    )
    expect(upon).toEqual([{ name: 'projection_rollups_1.buckets' }])
    const shown = (version: number) => bench.database.query('select tidegate.show_rollups($1)', [version])
    await expect(shown(7)).rejects.toThrow(/is not the table/)
    for (const [made, undone] of [
      ['enable row level security', 'disable row level security'],
      ['rename to other', undefined],
    ] as const) {
      await bench.rows(`alter table projection_rollups_1.buckets ${made}`)
      if (undone === undefined)
        await bench.rows(
          'create view projection_rollups_1.buckets as select * from projection_rollups_1.other',
        )
      await expect(shown(1)).rejects.toThrow(/is not the table/)
      if (undone !== undefined) await bench.rows(`alter table projection_rollups_1.buckets ${undone}`)
    }
    await bench.rows(
      'drop view projection_rollups_1.buckets; alter table projection_rollups_1.other rename to buckets',
    )
    await shown(1)
  })

  test('of another version have the fields, widths and days that it says, are compared, and are the same again when a device is built anew', async () => {
    const other = rollups({
      ...rollupsDefault,
      version: 2,
      fields: ['t', 'battery.*'],
      widths: ['minute', 'day'],
      keepMs: { minute: 30 * 86_400_000 },
    })
    const old = [40, 31, 29].map((days) =>
      ledger.next(device, { time: daysAgo(days), data: { t: days, u: 1 } }),
    )
    await bench.store(old)
    const running = bench.start([rollups(), other])
    await Promise.all([bench.live('rollups'), bench.live('rollups', 2)])
    // Late, and older than what is kept.
    await bench.store([ledger.next(device, { time: daysAgo(35), data: { t: 35, battery: { voltage: 3 } } })])
    await Promise.all([bench.live('rollups'), bench.live('rollups', 2)])
    const shown = async (): Promise<object[]> =>
      bench.rows(
        `select field, width, count::int, sum from projection_rollups_2.rollups where device = $1 order by field, width, bucket`,
        [device],
      )
    const expected = [
      { field: 'battery.voltage', width: 'day', count: 1, sum: 3 },
      ...[40, 35, 31, 29].map((days) => ({ field: 't', width: 'day', count: 1, sum: days })),
      { field: 't', width: 'minute', count: 1, sum: 29 },
    ]
    // A voltage alone has its own day: nothing newer of that series was stored than what is 35 days old, and it is too old as well.
    expect(await shown()).toEqual(expected)
    expect(await ask('compare', 'rollups', 2)).toMatchObject({ differing: [] })
    expect(await ask('rebuild-device', 'rollups', 2, device)).toMatchObject({ applied: 4 })
    expect(await shown()).toEqual(expected)
    await bench.transact((tx) => switchVersion(tx, { name: 'rollups', version: 2 }))
    expect((await buckets(device)).length).toBe(expected.length)
    await bench.transact((tx) => switchVersion(tx, { name: 'rollups', back: true }))
    await running.close()
  })
})

describe('devices', () => {
  test('are one row each: first and last seen, types and how many events; and the same again when one is built anew', async () => {
    await bench.store([
      reading(ledger, device, 60, { t: 1 }),
      ledger.next(device, { time: at(5), type: 'com.acme.alarm', data: { on: true } }),
      reading(ledger, device, 30, { t: 1 }),
    ])
    const running = bench.start([devices])
    await bench.live('devices')
    await bench.store([reading(ledger, device, 90, { t: 1 })])
    await bench.live('devices')
    const row = () =>
      bench.rows<{ first: Date; last: Date }>(
        'select first_seen as first, last_seen as last, types, events::int from projection.devices where device = $1',
        [device],
      )
    const expected = [
      {
        first: new Date(at(5)),
        last: new Date(at(90)),
        types: ['com.acme.alarm', 'com.acme.climate'],
        events: 4,
      },
    ]
    expect(await row()).toEqual(expected)
    expect(await ask('rebuild-device', 'devices', 1, device)).toMatchObject({ removed: 1, applied: 4 })
    expect(await row()).toEqual(expected)
    await running.close()
  })
})
