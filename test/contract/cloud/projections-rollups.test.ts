import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { devices } from '../../../cloud/projections/built-in/devices.ts'
import { lettingGo } from '../../../cloud/projections/built-in/former-rollups-postgres.ts'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { rollups, rollupsDefault } from '../../../cloud/projections/built-in/rollups.ts'
import { askJob, switchVersion } from '../../../cloud/projections/deeds-postgres.ts'
import type { Projection } from '../../../cloud/projections/definition.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'
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

  test('is shown until the projection has counted as much, and stays where history has it no more; the rest is let go (G4)', async () => {
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
    expect(await countsOf()).toEqual([4, 2, 1, 2])
    const running = bench.start([rollups()])
    await bench.store([61, 62, 121, 122, 181].map((seconds) => reading(ledger, device, seconds, { t: 1 })))
    await bench.live('rollups')
    expect(await countsOf()).toEqual([4, 2, 2, 2])
    let step = await bench.transact(lettingGo)
    while (typeof step === 'string' || !step.done) step = await bench.transact(lettingGo)
    expect(step).toMatchObject({ compared: 4, letGo: 2 })
    expect(await countsOf()).toEqual([4, 2, 2, 2])
    expect(await bench.transact(lettingGo)).toBe('nothing')
    // What comes is added by the projection alone.
    await bench.store([182, 183].map((seconds) => reading(ledger, device, seconds, { t: 1 })))
    await bench.live('rollups')
    expect(await countsOf()).toEqual([4, 2, 2, 3])
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
