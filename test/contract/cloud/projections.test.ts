import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { latest } from '../../../cloud/projections/built-in/latest.ts'
import type { Transaction } from '../../../cloud/database/storage.ts'
import {
  askJob,
  dropVersion,
  rebuildVersion,
  resumeVersion,
  switchVersion,
} from '../../../cloud/projections/deeds-postgres.ts'
import type { Projection, ProjectionOptions } from '../../../cloud/projections/definition.ts'
import { postgresVersions } from '../../../cloud/projections/versions-postgres.ts'
import { codeOf } from '../../../src/errors.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { counting } from '../../support/cloud/counting.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'

let bench: ProjectionBench
let ledger: Ledger

beforeEach(async () => {
  bench = await openProjectionBench()
  ledger = new Ledger()
})
afterEach(() => bench.close())

const counted = (view = 'projection.counting') =>
  bench.rows<{ device: string; sequences: string[] }>(`select device, sequences from ${view} order by 1`)

describe('a projection', () => {
  test('has each event once, in order, those of before and those that come (G4)', async () => {
    await bench.store([ledger.next('a'), ledger.next('b'), ledger.next('a')])
    bench.start([counting()])
    await bench.live('counting')
    await bench.store([ledger.next('a')])
    await bench.live('counting')
    expect(await counted()).toEqual([
      { device: 'a', sequences: ['1', '3', '4'] },
      { device: 'b', sequences: ['2'] },
    ])
  })

  test('is of what was accepted, and of the types it wants', async () => {
    await bench.store([ledger.next('a')], 'rejected')
    await bench.store([ledger.next('a'), ledger.next('a', { type: 'org.other.climate' })])
    bench.start([counting()])
    await bench.live('counting')
    expect(await counted()).toEqual([{ device: 'a', sequences: ['2'] }])
  })
})

const standing = async (version = 1) =>
  (
    await bench.rows<{
      state: string
      code: string | null
      id: string | null
      token: string
      applied: number
    }>(
      `select state, halted_code as code, halted_id as id, token::text, applied::float8 as applied
       from tidegate.projection_versions where name = 'counting' and version = $1`,
      [version],
    )
  )[0]

const done = async (job: string) =>
  (
    await bench.until<{ outcome: Record<string, unknown> }>(
      `select outcome from tidegate.projection_jobs where job = '${job}' and ended_at is not null`,
      (row) => row !== undefined,
    )
  ).outcome

const ask = async (kind: 'compare' | 'rebuild-device', device?: string) => {
  const job = randomUUID()
  await bench.transact((tx) =>
    askJob(tx, { name: 'counting', version: 1, job, kind, device, sample: undefined }),
  )
  return done(job)
}

/** Counts, and fails at some events. */
function failingAt(
  fails: (id: string) => Error | undefined,
  more: Partial<ProjectionOptions> = {},
): Projection {
  const inner = counting()
  return counting({
    ...more,
    async apply(events, context) {
      for (const event of events) {
        const error = fails(event.id)
        if (error) throw error
        await inner.apply([event], context)
      }
    },
  })
}

const poison = (id: string) =>
  id === 'id-3' ? Object.assign(new Error('no site'), { code: 'SITE' }) : undefined
const halted = () =>
  bench.until<{ code: string; id: string }>(
    `select halted_code as code, halted_id as id from tidegate.projection_versions where state = 'halted'`,
    (row) => row !== undefined,
  )

describe('an event that cannot be applied', () => {
  test('stops its projection, and all before it are applied (G5)', async () => {
    await bench.store([1, 2, 3, 4, 5].map(() => ledger.next('a')))
    const running = bench.start([failingAt(poison), latest])
    expect(await halted()).toEqual({ code: 'SITE', id: 'id-3' })
    expect(await counted()).toEqual([{ device: 'a', sequences: ['1', '2'] }])
    // Another one goes on.
    await bench.live('latest')
    await expect
      .poll(() => running.statuses()[0])
      .toMatchObject({ doing: 'halted', fault: { code: 'PROJECTION_HALTED' } })
  })

  test('is left out when somebody says so, or tried again', async () => {
    await bench.store([1, 2, 3, 4].map(() => ledger.next('a')))
    bench.start([failingAt(poison)])
    await halted()
    const key = { name: 'counting', version: 1 }
    await bench.transact((tx) => resumeVersion(tx, key))
    await halted()
    const outcome = await bench.transact((tx) => resumeVersion(tx, { ...key, skip: 'id-3' }))
    expect(outcome.skipped).toEqual({ source: '/devices/a', id: 'id-3' })
    await bench.live('counting')
    expect(await counted()).toEqual([{ device: 'a', sequences: ['1', '2', '4'] }])
    // And stays out of what is computed again.
    expect(await ask('compare')).toMatchObject({ sampled: 1, same: true })
    expect(await ask('rebuild-device', 'a')).toEqual({ removed: 1, applied: 3 })
    await expect(bench.transact((tx) => resumeVersion(tx, { ...key, skip: 'id-3' }))).rejects.toMatchObject({
      code: 'PROJECTION_NOT_HALTED',
    })
  })

  test('for now is tried again until it can be', async () => {
    let left = 3
    const busy = () => (left-- > 0 ? Object.assign(new Error('busy'), { retryable: true }) : undefined)
    await bench.store([ledger.next('a'), ledger.next('a')])
    bench.start([failingAt((id) => (id === 'id-2' ? busy() : undefined))])
    await bench.live('counting')
    expect(await counted()).toEqual([{ device: 'a', sequences: ['1', '2'] }])
    expect(left).toBeLessThan(0)
  })

  test('as its statement fails on another, is no more than one event', async () => {
    await bench.store([1, 2, 3, 4].map(() => ledger.next('a')))
    bench.start([
      counting({
        tables: 'create table counting (device text, sequence bigint primary key check (sequence <> 4))',
        async apply(events, { tx }) {
          await tx.query('insert into counting select $1, unnest($2::bigint[])', [
            'a',
            events.map(({ sequence }) => sequence),
          ])
        },
      }),
    ])
    expect(await halted()).toEqual({ code: '23514', id: 'id-4' })
    expect(await bench.rows('select count(*)::int as n from projection.counting')).toEqual([{ n: 3 }])
  })
})

describe('several instances', () => {
  test('take turns: one works, another takes over where it was, and nothing comes twice (G4)', async () => {
    await bench.store([ledger.next('a'), ledger.next('b')])
    const first = bench.start([counting()], { instance: 'first' })
    await bench.live('counting')
    const second = bench.start([counting()], { instance: 'second' })
    await expect.poll(() => second.statuses()[0]?.doing).toBe('waiting')
    await bench.store([ledger.next('a')])
    await first.close()
    await bench.store([ledger.next('b')])
    await expect.poll(() => second.statuses()[0]?.doing, { timeout: 10_000 }).toBe('working')
    await bench.live('counting')
    expect(await counted()).toEqual([
      { device: 'a', sequences: ['1', '3'] },
      { device: 'b', sequences: ['2', '4'] },
    ])
  })

  test('a holder whose lease is another’s commits nothing more (G4)', async () => {
    await bench.store([ledger.next('a')])
    bench.start([counting()])
    await bench.live('counting')
    const row = await standing()
    const former = { name: 'counting', version: 1, token: BigInt(row?.token ?? 0) }
    await bench.rows('update tidegate.projection_versions set token = token + 1')
    const late = bench.transact(async (tx) => {
      await postgresVersions(tx, 1000).lock(former)
    })
    await expect(late).rejects.toMatchObject({ code: 'PROJECTION_LEASE_LOST' })
    // And it takes another lease, as everybody may.
    await bench.store([ledger.next('a')])
    await bench.live('counting')
    expect(await counted()).toEqual([{ device: 'a', sequences: ['1', '2'] }])
  })

  test('under one number do not mix what two modules say', async () => {
    const first = bench.start([counting()])
    await bench.live('counting')
    await first.close()
    const other = bench.start([counting({ events: ['com.acme.climate'] })])
    await expect.poll(() => other.statuses()[0]?.fault?.code).toBe('PROJECTION_CHANGED')
  })
})

describe('versions side by side', () => {
  const second = { tables: 'create table counting (device text primary key, events bigint)', version: 2 }
  const sums = (more: Partial<ProjectionOptions> = {}): Projection =>
    counting({
      ...second,
      async apply(events, { tx }) {
        for (const event of events)
          await tx.query(
            'insert into counting as c values ($1, 1) on conflict (device) do update set events = c.events + 1',
            [event.partitionkey],
          )
      },
      ...more,
    })

  test('are switched without a failed read, other columns or not, and back', async () => {
    await bench.store([1, 2, 3].map(() => ledger.next('a')))
    bench.start([counting()])
    // The first that has tables is active.
    await bench.live('counting')
    bench.start([sums(), counting({ version: 3 })])
    await Promise.all([1, 2, 3].map((version) => bench.live('counting', version)))
    await bench.rows('grant select on projection.counting to tidegate_auditor')
    const readers = [1, 2].map(() => constantReads(bench.urlOf('reader')))
    for (const asked of [{ version: 3 }, { version: 2 }, { back: true }, { version: 1 }, { version: 2 }]) {
      await Promise.all(readers.map((reader) => reader.more()))
      await bench.transact((tx) => switchVersion(tx, { name: 'counting', ...asked }))
    }
    const reads = await Promise.all(readers.map((reader) => reader.stop()))
    expect(reads).toEqual([[], []])
    expect(await bench.rows('select * from projection.counting')).toEqual([{ device: 'a', events: '3' }])
    const rights = await bench.rows<{ may: boolean }>(
      `select has_table_privilege('tidegate_auditor', 'projection.counting', 'select') as may`,
    )
    expect(rights).toEqual([{ may: true }])
  }, 60_000)

  test('are not switched to before they are live, nor dropped or begun again while they are active', async () => {
    await bench.store([ledger.next('a'), ledger.next('a')])
    bench.start([counting()])
    // The first that has tables is active.
    await bench.live('counting')
    bench.start([failingAt(() => new Error('never'), { version: 2 })])
    await bench.live('counting')
    await bench.until(
      `select from tidegate.projection_versions where version = 2 and state = 'halted'`,
      Boolean,
    )
    const refused = async (work: (tx: Transaction) => Promise<unknown>) =>
      bench.transact(work).then(
        () => 'done',
        (error: unknown) => codeOf(error),
      )
    const name = 'counting'
    expect(await refused((tx) => switchVersion(tx, { name, version: 2 }))).toBe('PROJECTION_BEHIND')
    expect(await refused((tx) => switchVersion(tx, { name, version: 1 }))).toBe('PROJECTION_ACTIVE')
    expect(await refused((tx) => switchVersion(tx, { name, version: 9 }))).toBe('PROJECTION_UNKNOWN')
    expect(await refused((tx) => dropVersion(tx, { name, version: 1 }))).toBe('PROJECTION_ACTIVE')
    expect(await refused((tx) => rebuildVersion(tx, { name, version: 1 }))).toBe('PROJECTION_ACTIVE')
    expect(await refused((tx) => switchVersion(tx, { name: 'other', version: 1 }))).toBe('PROJECTION_UNKNOWN')
  })

  test('begin again, and are dropped with all they have', async () => {
    await bench.store([ledger.next('a'), ledger.next('a')])
    bench.start([counting()])
    await bench.live('counting')
    const other = bench.start([counting({ version: 2 })])
    await bench.live('counting', 2)
    const key = { name: 'counting', version: 2 }
    await bench.rows('update projection_counting_2.counting set events = 99')
    await bench.transact((tx) => rebuildVersion(tx, key))
    await bench.live('counting', 2)
    expect(await counted('projection_counting_2.counting')).toEqual([{ device: 'a', sequences: ['1', '2'] }])
    await other.close()
    await bench.transact((tx) => dropVersion(tx, key))
    expect(await bench.rows(`select to_regnamespace('projection_counting_2') as there`)).toEqual([
      { there: null },
    ])
    expect(await standing(2)).toBeUndefined()
  })

  test('leave a view of somebody upon theirs as it is, and say so', async () => {
    bench.start([counting()])
    // The first that has tables is active.
    await bench.live('counting')
    bench.start([sums()])
    await bench.live('counting')
    await bench.live('counting', 2)
    await bench.rows('create view public.mine as select sequences from projection.counting')
    const switching = bench.transact((tx) => switchVersion(tx, { name: 'counting', version: 2 }))
    await expect(switching).rejects.toMatchObject({ code: 'PROJECTION_VIEW_USED' })
  })
})

describe('jobs', () => {
  test('compare counts, and finds by key what history does not say', async () => {
    await bench.store([ledger.next('a'), ledger.next('b'), ledger.next('a')])
    bench.start([counting()])
    await bench.live('counting')
    expect(await ask('compare')).toEqual({
      tables: [{ table: 'counting', rows: 2, activeRows: null }],
      sampled: 2,
      differing: [],
      same: true,
    })
    await bench.rows(`update projection_counting_1.counting set events = 7 where device = 'b'`)
    expect(await ask('compare')).toMatchObject({
      differing: [{ key: 'b', table: 'counting', beside: 1, missing: 1 }],
      same: false,
    })
    expect(await bench.rows(`select to_regnamespace('projection_counting_1_scratch') as there`)).toEqual([
      { there: null },
    ])
  })

  test('make the rows of one device anew, in place, and go on', async () => {
    await bench.store([ledger.next('a'), ledger.next('b'), ledger.next('a')])
    bench.start([counting()])
    await bench.live('counting')
    await bench.rows('update projection_counting_1.counting set events = 99')
    expect(await ask('rebuild-device', 'a')).toEqual({ removed: 1, applied: 2 })
    await bench.store([ledger.next('a')])
    await bench.live('counting')
    expect(
      await bench.rows('select device, events::int, sequences from projection.counting order by 1'),
    ).toEqual([
      { device: 'a', events: 3, sequences: ['1', '3', '4'] },
      { device: 'b', events: 99, sequences: ['2'] },
    ])
  })

  test('that cannot be done say why, and hold nobody up', async () => {
    await bench.store([ledger.next('a')])
    bench.start([counting({ keyColumn: 'meter' })])
    await bench.live('counting')
    expect(await ask('rebuild-device', 'a')).toMatchObject({ failed: { code: 'PROJECTION_KEYLESS' } })
    await bench.store([ledger.next('a')])
    await bench.live('counting')
    expect(await counted()).toEqual([{ device: 'a', sequences: ['1', '2'] }])
  })
})

test('what a module’s tables may not be is said, and nothing is left of it', async () => {
  const running = bench.start([counting({ tables: 'create table other (device text)' })])
  await expect.poll(() => running.statuses()[0]?.fault?.message).toMatch(/none of them is named counting/)
  expect(await bench.rows(`select to_regnamespace('projection_counting_1') as there`)).toEqual([
    { there: null },
  ])
})

const refused = (sql: string) =>
  bench.database.query(sql).then(
    () => 'done',
    (error: unknown) => codeOf(error instanceof Error && 'cause' in error ? (error.cause ?? error) : error),
  )

test('the cloud can make schemas of projections, and no others (G8)', async () => {
  expect(await refused(`create schema mine`)).toBe('42501')
  for (const name of ['tidegate', 'a b', 'x; drop schema tidegate', '', 'a'.repeat(32)])
    expect(await refused(`select tidegate.open_projection('${name}'::text || '"', 1)`)).toBe('22023')
  expect(await refused(`select tidegate.drop_projection('tidegate"', 1)`)).toBe('22023')
  expect(await refused(`select tidegate.open_projection('a', 0)`)).toBe('22023')
  expect(await refused(`select tidegate.open_projection('a', 1)`)).toBe('22023')
  await bench.rows(
    `insert into tidegate.projection_versions (name, version, definition) values ('a', 1, 'x')`,
  )
  expect(await refused(`select tidegate.open_projection('a', 1)`)).toBe('done')
  // Somebody's own schema that is named like one stays as it is.
  await bench.rows('create schema projection_a_1_scratch')
  expect(await refused(`select tidegate.open_projection('a', 1, true)`)).toBe('42P06')
  expect(await refused(`select tidegate.drop_projection('a', 1, true)`)).toBe('42501')
  const byAll = `select proname from pg_proc where proname ~ 'projection' and pronamespace = 'tidegate'::regnamespace
    and has_function_privilege('public', oid, 'execute')`
  expect(await bench.rows(byAll)).toEqual([])
  expect(await refused(`drop schema projection`)).toBe('42501')
})

const at = (second: number): string => `2026-01-01T00:00:0${second}.000Z`

test('latest has the last event of each device and type by its time, whatever is in it', async () => {
  await bench.store([
    ledger.next('a', { time: at(2), data: { n: 2 } }),
    ledger.next('a', { time: at(1), data: { n: 1 } }),
    ledger.next('a', { type: 'com.acme.power', time: at(1), data: 'x\0y' }),
    ledger.next('b', { data: { 'k\0': '\ud800', fine: '\\u0000' } }),
    ledger.next('b', { type: 'com.acme.null', data: null }),
  ])
  bench.start([latest])
  await bench.live('latest')
  const rows = await bench.rows('select device, type, data from projection.latest order by device, type')
  expect(rows).toEqual([
    { device: 'a', type: 'com.acme.climate', data: { n: 2 } },
    { device: 'a', type: 'com.acme.power', data: 'x\ufffdy' },
    { device: 'b', type: 'com.acme.climate', data: { 'k\ufffd': '\ufffd', fine: '\\u0000' } },
    { device: 'b', type: 'com.acme.null', data: null },
  ])
})

/** Reads the view over and over, by a connection of its own, and says what failed. */
function constantReads(url: string): { more(): Promise<void>; stop(): Promise<string[]> } {
  const stopping = new AbortController()
  const failed: string[] = []
  let count = 0
  async function read(): Promise<void> {
    const client = new Client(url)
    await client.connect()
    while (!stopping.signal.aborted) {
      try {
        const { rows } = await client.query<{ events: string }>('select events from projection.counting')
        if (rows[0]?.events !== '3') failed.push(`read ${rows[0]?.events}`)
      } catch (error) {
        failed.push(String(error))
      }
      count += 1
    }
    await client.end()
  }
  const reading = read()
  return {
    /** Until it has read ten times more. */
    async more() {
      const wanted = count + 10
      await expect.poll(() => count).toBeGreaterThan(wanted)
    },
    async stop() {
      stopping.abort()
      await reading
      return failed
    },
  }
}
