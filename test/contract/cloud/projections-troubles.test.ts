import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Transaction } from '../../../cloud/database/storage.ts'
import { postgresReader } from '../../../cloud/history/reader-postgres.ts'
import {
  askJob,
  dropVersion,
  rebuildVersion,
  resumeVersion,
  switchVersion,
} from '../../../cloud/projections/deeds-postgres.ts'
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

const name = 'counting'
const stored = (count = 1) => bench.store(Array.from({ length: count }, () => ledger.next('a')))
const refused = (work: (tx: Transaction) => Promise<unknown>) =>
  bench.transact(work).then(
    () => 'done',
    (error: unknown) => codeOf(error),
  )
const sequences = async (of = 'projection.counting') =>
  (await bench.rows<{ sequences: string[] }>(`select sequences from ${of}`)).flatMap((row) => row.sequences)
const halted = (of = name) =>
  bench.until<{ code: string; id: string; cursor: string }>(
    `select halted_code as code, halted_id as id, cursor from tidegate.projection_versions where state = 'halted' and name = '${of}'`,
    (row) => row !== undefined,
  )

async function ask(kind: 'compare' | 'rebuild-device'): Promise<Record<string, unknown>> {
  const job = randomUUID()
  await bench.transact((tx) => askJob(tx, { name, version: 1, job, kind, device: 'a', sample: undefined }))
  const { outcome } = await bench.until<{ outcome: Record<string, unknown> }>(
    `select outcome from tidegate.projection_jobs where job = '${job}' and ended_at is not null`,
    (row) => row !== undefined,
  )
  return outcome
}

function gateOf(): { opened: Promise<void>; open: () => void } {
  let open!: () => void
  const opened = new Promise<void>((done) => {
    open = done
  })
  return { opened, open }
}

/** A session of somebody who has read a table, and has not ended. */
async function reading(table: string): Promise<() => Promise<void>> {
  const client = new Client(bench.databaseUrl)
  await client.connect()
  await client.query('begin')
  await client.query(`select * from ${table}`)
  return () => client.end()
}

describe('an event that cannot be applied', () => {
  test('stops nothing that somebody has had begin again meanwhile (G4)', async () => {
    await stored(3)
    bench.start([counting()])
    await bench.live(name)
    const inner = counting()
    let isBad = false
    const [inIt, gate] = [gateOf(), gateOf()]
    bench.start([
      counting({
        version: 2,
        async apply(events, context) {
          if (isBad && events.some(({ id }) => id === 'id-4')) {
            inIt.open()
            await gate.opened
            throw new Error('poison')
          }
          await inner.apply(events, context)
        },
      }),
    ])
    await bench.live(name, 2)
    isBad = true
    await stored()
    await inIt.opened
    // It waits for the row that the batch has, and has it before whatever comes behind the batch.
    const begun = bench.transact((tx) => rebuildVersion(tx, { name, version: 2 }))
    await bench.until(`select from pg_stat_activity where wait_event_type = 'Lock'`, Boolean)
    gate.open()
    await begun
    isBad = false
    await bench.live(name, 2)
    expect(await sequences('projection_counting_2.counting')).toEqual(['1', '2', '3', '4'])
  })

  test('is not what a version has stopped at that is elsewhere', async () => {
    await stored(2)
    const one = bench.start([counting()])
    await bench.live(name)
    await one.close()
    const key = { name, version: 1 }
    await bench.rows(
      `update tidegate.projection_versions set state = 'halted', halted_cursor = cursor, halted_id = 'id-2'`,
    )
    expect(await refused((tx) => resumeVersion(tx, key))).toBe('PROJECTION_NOT_HALTED')
    await bench.rows(`update tidegate.projection_versions set cursor = ''`)
    expect(await refused((tx) => resumeVersion(tx, { ...key, skip: 'id-1' }))).toBe(
      'PROJECTION_HALTED_ELSEWHERE',
    )
    await bench.rows(`update tidegate.projection_versions set halted_cursor = ''`)
    expect(await refused((tx) => resumeVersion(tx, key))).toBe('PROJECTION_NOT_HALTED')
  })

  test('shows by a query that nobody awaited, and by a deferred constraint, too (G5)', async () => {
    await stored(4)
    bench.start([
      counting({
        tables: 'create table counting (sequence bigint primary key check (sequence <> 3))',
        async apply(events, { tx }) {
          for (const { sequence } of events) void tx.query('insert into counting values ($1)', [sequence])
        },
      }),
      counting({
        name: 'deferred',
        tables: `create table parent (id bigint primary key); insert into parent values (1), (2), (4);
          create table deferred (id bigint references parent deferrable initially deferred)`,
        async apply(events, { tx }) {
          for (const { sequence } of events) await tx.query('insert into deferred values ($1)', [sequence])
        },
      }),
    ])
    expect(await halted()).toMatchObject({ code: '23514', id: 'id-3' })
    expect(await halted('deferred')).toMatchObject({ code: '23503', id: 'id-3' })
    expect(await bench.rows('select from projection.counting')).toHaveLength(2)
    expect(await bench.rows('select from projection.deferred')).toHaveLength(2)
  })

  test('stops it only where the batch began that failed', async () => {
    await stored(2)
    const one = bench.start([counting()])
    await bench.live(name)
    await one.close()
    const [row] = await bench.rows<{ token: string; cursor: string }>(
      'select token::text, cursor from tidegate.projection_versions',
    )
    const lease = { name, version: 1, token: BigInt(row?.token ?? 0) }
    const poison = { cursor: '1.1.1', source: '/devices/a', id: 'x', type: 'y', code: 'Z', message: '' }
    const at = (state: 'live' | 'building', cursor: string) =>
      bench.transact((tx) =>
        postgresVersions(tx, 1000).halt(lease, { state, cursor, poison: undefined }, poison),
      )
    expect(await at('live', '')).toBe(false)
    expect(await at('building', row?.cursor ?? '')).toBe(false)
    expect(await at('live', row?.cursor ?? '')).toBe(true)
  })
})

describe('a job', () => {
  test.each(['compare', 'rebuild-device'] as const)(
    'whose apply hangs ends with its connection, and nothing of it is there: %s',
    async (kind) => {
      await stored(3)
      let isSlow = false
      const inner = counting()
      bench.start(
        [
          counting({
            async apply(events, context) {
              await inner.apply(events, context)
              if (isSlow) await context.tx.query('select pg_sleep(600)')
            },
          }),
        ],
        { timeoutMs: 500 },
      )
      await bench.live(name)
      isSlow = true
      expect(await ask(kind)).toMatchObject({ failed: { code: 'HANDLER_TIMEOUT' } })
      isSlow = false
      await bench.until<{ hanging: number }>(
        `select count(*)::int as hanging from pg_stat_activity where query ~ '^select pg_sleep' and datname = current_database()`,
        (row) => row?.hanging === 0,
      )
      await stored()
      await bench.live(name)
      expect(await sequences()).toEqual(['1', '2', '3', '4'])
    },
  )

  test('finds the rows of a key whose column is named like a word of SQL', async () => {
    await stored(3)
    bench.start([
      counting({
        keyColumn: 'user',
        tables: 'create table counting ("user" text primary key, n bigint)',
        async apply(events, { tx }) {
          for (const { partitionkey } of events)
            await tx.query(
              'insert into counting as c values ($1, 1) on conflict ("user") do update set n = c.n + 1',
              [partitionkey],
            )
        },
      }),
    ])
    await bench.live(name)
    expect(await ask('rebuild-device')).toEqual({ removed: 1, applied: 3 })
    expect(await bench.rows('select * from projection.counting')).toEqual([{ user: 'a', n: '3' }])
    expect(await ask('compare')).toMatchObject({ sampled: 1, same: true })
  })

  test('that has nothing to compare does not say that it is the same', async () => {
    bench.start([counting()])
    await bench.live(name)
    expect(await ask('compare')).toMatchObject({ sampled: 0, same: null })
    await bench.rows('alter table projection_counting_1.counting rename column device to other')
    expect(await ask('compare')).toMatchObject({ failed: { code: 'PROJECTION_KEYLESS' } })
  })
})

describe('a version', () => {
  test('is dropped neither behind who reads it nor while somebody would make it again', async () => {
    await stored()
    bench.start([counting()])
    await bench.live(name)
    const second = bench.start([counting({ version: 2 })])
    await bench.live(name, 2)
    const key = { name, version: 2 }
    expect(await refused((tx) => dropVersion(tx, key))).toBe('PROJECTION_HELD')
    await second.close()
    const end = await reading('projection_counting_2.counting')
    expect(await refused((tx) => dropVersion(tx, key))).toBe('PROJECTION_IN_USE')
    await end()
    expect(await refused((tx) => dropVersion(tx, key))).toBe('done')
  })

  test('is not made behind who reads what it was, and is when they have ended', async () => {
    await stored()
    bench.start([counting()])
    await bench.live(name)
    const running = bench.start([counting({ version: 2 })])
    await bench.live(name, 2)
    const end = await reading('projection_counting_2.counting')
    await bench.transact((tx) => rebuildVersion(tx, { name, version: 2 }))
    await expect.poll(() => running.statuses()[0]?.fault?.code, { timeout: 10_000 }).toBe('PROJECTION_IN_USE')
    await end()
    await expect.poll(() => running.statuses()[0]?.fault, { timeout: 20_000 }).toBeUndefined()
    await bench.live(name, 2)
  })

  test('that nobody works at, or that is behind, is switched to by force alone', async () => {
    await stored()
    bench.start([counting()])
    await bench.live(name)
    const second = bench.start([counting({ version: 2 })])
    await bench.live(name, 2)
    await second.close()
    const to = { name, version: 2 }
    expect(await refused((tx) => switchVersion(tx, to))).toBe('PROJECTION_UNHELD')
    await stored()
    await bench.live(name)
    // Somebody has the lease, and has done nothing for a minute.
    const isHeld = `update tidegate.projection_versions set held_until = 'infinity' where version = 2`
    await bench.rows(isHeld)
    await bench.rows(`alter table tidegate.events disable trigger all`)
    await bench.rows(`update tidegate.events set stored_time = stored_time - interval '1 minute'`)
    expect(await refused((tx) => switchVersion(tx, to))).toBe('PROJECTION_BEHIND')
    expect(await refused((tx) => switchVersion(tx, { ...to, force: true }))).toBe('done')
    expect(await refused((tx) => switchVersion(tx, { name, back: true }))).toBe('done')
  }, 60_000)

  test('that readers see and nobody works at is told of by every instance', async () => {
    const first = bench.start([counting()])
    await bench.live(name)
    await first.close()
    const other = bench.start([])
    await expect.poll(() => other.unheld()).toEqual([{ name, version: 1 }])
  })
})

test('a page of history ends with the bytes that it may have, and says that there is more', async () => {
  const big = 'x'.repeat(100_000)
  await bench.store(Array.from({ length: 6 }, () => ledger.next('a', { data: { big } })))
  await bench.until(`select from tidegate.read_events('', null, 10) having count(*) = 6`, Boolean)
  const sizes = await bench.transact(async (tx) => {
    const reader = postgresReader(tx)
    const pages: number[] = []
    for (let at = '', more = true; more;) {
      const page = await reader.read(at, { max: 1000, bytesMax: 150_000 })
      pages.push(page.events.length)
      ;({ next: at, more } = page)
    }
    return pages
  })
  expect(sizes).toEqual([2, 2, 2])
})
