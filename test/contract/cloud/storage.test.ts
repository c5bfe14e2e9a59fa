import type { QueryConfig } from 'pg'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bigintArray, doubleArray, textArray } from '../../../cloud/database/arrays-postgres.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import type { Claim, Storage, Transaction } from '../../../cloud/database/storage.ts'
import type { HistoryRecord } from '../../../cloud/history/history.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { epoch } from '../../support/cloud/cloud-events.ts'
import { createFakeStorage, fakeHistory } from '../../support/fakes/storage.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

const never = new AbortController().signal

function record(sequence: number, more: Partial<HistoryRecord> = {}): HistoryRecord {
  return {
    gateway: 'gateway-1',
    epoch,
    sequence,
    source: '/devices/device-1',
    id: `id-${sequence}`,
    type: 'com.acme.climate',
    subject: undefined,
    dataschema: undefined,
    timeMs: 1_700_000_000_123,
    recordedMs: 1_700_000_000_456,
    disposition: 'accepted',
    reason: undefined,
    body: `{"b": 1,  "a":"\\u00e9 \\\\ \\" {,}"}`,
    ...more,
  }
}

const identity = (id: string): { source: string; id: string } => ({ source: '/devices/device-1', id })

const inTransaction = <T>(storage: Storage, work: (tx: Transaction) => Promise<T>): Promise<T> =>
  storage.transaction(work, never)

function latch(): { opened: Promise<void>; open: () => void } {
  const door = new EventTarget()
  const opened = new Promise<void>((resolve) => {
    door.addEventListener('open', () => resolve(), { once: true })
  })
  return { opened, open: () => door.dispatchEvent(new Event('open')) }
}

let postgres: Database
const onPostgres = (): Storage => postgresStorage(postgres)
beforeAll(async () => {
  postgres = poolOf({ url: await createDatabase(), poolMax: 4, applicationName: 'test' })
  await migrated(postgres)
})
afterAll(() => postgres.close())

/** One suite, whatever stands behind the port. */
describe.each([
  ['fake', () => createFakeStorage(), fakeHistory],
  ['postgres', () => postgresStorage(postgres), postgresHistory],
] as const)('the storage (%s)', (kind, open, historyIn) => {
  let group = 0
  /** A name of its own for each test. */
  const fresh = (): string => `${kind}-${group++}`

  test('an identity is new to a group once, also within one claim', async () => {
    const storage = open()
    const name = fresh()
    const claim = (ids: string[], group = name): Promise<boolean[]> =>
      inTransaction(storage, (tx) => tx.inbox.claim(group, ids.map(identity)))
    expect(await claim(['b', 'a', 'b'])).toEqual([true, true, false])
    expect(await claim(['a', 'c'])).toEqual([false, true])
    expect(await claim(['a'], `${name}-other`)).toEqual([true])
  })

  test('a replay of a generation has its effects once more, and once in that generation (G4)', async () => {
    const storage = open()
    const name = fresh()
    const claim = (...generations: (string | undefined)[]): Promise<boolean[]> =>
      inTransaction(storage, (tx) =>
        tx.inbox.claim(
          name,
          generations.map((generation) => ({ ...identity('a'), generation })),
        ),
      )
    expect(await claim(undefined)).toEqual([true])
    expect(await claim('2026-fix', '', '2026-fix', 'other')).toEqual([true, false, false, true])
    expect(await claim('2026-fix', 'other', undefined)).toEqual([false, false, false])
  })

  test('what is taken back is new to the next, and what was there before stays', async () => {
    const storage = open()
    const name = fresh()
    await inTransaction(storage, (tx) => tx.inbox.claim(name, [identity('a')]))
    await inTransaction(storage, async (tx) => {
      expect(await tx.inbox.claim(name, ['a', 'b', 'c'].map(identity))).toEqual([false, true, true])
      await tx.inbox.release(name, [identity('b')])
    })
    expect(await inTransaction(storage, (tx) => tx.inbox.claim(name, ['a', 'b', 'c'].map(identity)))).toEqual(
      [false, true, false],
    )
  })

  test('what an earlier transaction has claimed can be taken back, also by one that has claimed nothing, and is new to the next (G4)', async () => {
    const storage = open()
    const name = fresh()
    const replay = { ...identity('a'), generation: '2026-fix' }
    const claim = (...claims: Claim[]): Promise<boolean[]> =>
      inTransaction(storage, (tx) => tx.inbox.claim(name, claims))
    expect(await claim(identity('a'), identity('b'), replay)).toEqual([true, true, true])
    await inTransaction(storage, (tx) => tx.inbox.release(name, [identity('a'), identity('unclaimed')]))
    expect(await claim(identity('a'), identity('b'), replay)).toEqual([true, false, false])
    const failed = inTransaction(storage, async (tx) => {
      await tx.inbox.release(name, [identity('a'), replay])
      throw new Error('the handler failed')
    })
    await expect(failed).rejects.toThrow('the handler failed')
    expect(await claim(identity('a'), replay)).toEqual([false, false])
  })

  test('nothing of a transaction that fails remains (G4)', async () => {
    const storage = open()
    const name = fresh()
    const broken = inTransaction(storage, async (tx) => {
      await tx.inbox.claim(name, [identity('a')])
      await historyIn(tx).append([record(1, { gateway: name, source: `/devices/${name}` })])
      throw new Error('the handler failed')
    })
    await expect(broken).rejects.toThrow('the handler failed')
    expect(await inTransaction(storage, (tx) => tx.inbox.claim(name, [identity('a')]))).toEqual([true])
    expect(
      await inTransaction(storage, (tx) =>
        historyIn(tx).append([record(1, { gateway: name, source: `/devices/${name}` })]),
      ),
    ).toEqual(['stored'])
  })

  test('a transaction that hangs ends with its signal and keeps no lock', async () => {
    const storage = open()
    const name = fresh()
    const controller = new AbortController()
    const hanging = storage.transaction(async (tx) => {
      await tx.inbox.claim(name, [identity('a')])
      const hung = kind === 'postgres' ? tx.query('select pg_sleep(60)') : new Promise(() => {})
      controller.abort(new Error('too long'))
      await hung
    }, controller.signal)
    await expect(hanging).rejects.toThrow('too long')
    const startedMs = performance.now()
    expect(await inTransaction(storage, (tx) => tx.inbox.claim(name, [identity('a')]))).toEqual([true])
    expect(performance.now() - startedMs).toBeLessThan(3000)
  })

  test('a transaction that is over takes no more', async () => {
    const storage = open()
    const kept = await inTransaction(storage, async (tx) => [tx])
    await expect(kept[0]?.inbox.claim(fresh(), [identity('a')])).rejects.toMatchObject({
      code: 'TRANSACTION_OVER',
    })
  })

  test('an aborted signal begins nothing', async () => {
    await expect(open().transaction(async () => 1, AbortSignal.abort())).rejects.toThrow('aborted')
  })

  test('rivals for one identity do not both have it (G4)', async () => {
    const storage = open()
    const name = fresh()
    const claims = await Promise.all(
      [1, 2, 3].map(() =>
        inTransaction(storage, async (tx) => (await tx.inbox.claim(name, [identity('a')]))[0]),
      ),
    )
    expect(claims.filter(Boolean)).toHaveLength(1)
  })

  test('history tells stored, delivered again, numbered twice, another reading and place taken apart (G9)', async () => {
    const storage = open()
    const name = fresh()
    const mine = (sequence: number, id: string): HistoryRecord =>
      record(sequence, { gateway: name, source: `/devices/${name}`, id })
    const append = (records: HistoryRecord[]): Promise<string[]> =>
      inTransaction(storage, (tx) => historyIn(tx).append(records))
    expect(await append([mine(2, 'b'), mine(1, 'a'), mine(3, 'a')])).toEqual(['stored', 'stored', 'repeat'])
    expect(await append([mine(1, 'a'), mine(9, 'b'), mine(1, 'c'), mine(4, 'd'), mine(4, 'd')])).toEqual([
      'again',
      'repeat',
      'place-taken',
      'stored',
      'again',
    ])
    const other = { body: '{"data":{"a":2}}' }
    expect(
      await append([{ ...mine(5, 'a'), ...other }, { ...mine(6, 'e'), ...other }, mine(7, 'e')]),
    ).toEqual(['rival', 'stored', 'rival'])
  })

  test('among many events a repeat harms none, and what the transaction had done before remains (G4)', async () => {
    const storage = open()
    const name = fresh()
    const mine = (sequence: number): HistoryRecord =>
      record(sequence, { gateway: name, source: `/devices/${name}`, subject: sequence % 2 ? 'é"\\,{}' : '' })
    const many = Array.from({ length: 60 }, (_, index) => mine(index + 1))
    const append = (records: HistoryRecord[]): Promise<string[]> =>
      inTransaction(storage, async (tx) => {
        await tx.inbox.claim(name, [identity(`${records[0]?.sequence}`)])
        return historyIn(tx).append(records)
      })
    expect(await append(many.slice(0, 30))).toEqual(many.slice(0, 30).map(() => 'stored'))
    expect(await append(many.slice(20))).toEqual(
      many.slice(20).map((_, index) => (index < 10 ? 'again' : 'stored')),
    )
    expect(await inTransaction(storage, (tx) => tx.inbox.claim(name, [identity('21')]))).toEqual([false])
  })

  test('of a thousand in whatever order, what was there is told from what is new (G4)', async () => {
    const storage = open()
    const name = fresh()
    const mine = (sequence: number): HistoryRecord =>
      record(sequence, { gateway: name, source: `/devices/${name}` })
    const append = (records: readonly HistoryRecord[]): Promise<string[]> =>
      inTransaction(storage, (tx) => historyIn(tx).append(records))
    const before = [7, 250, 251, 999].map(mine)
    await append(before)
    // 389 and 1000 have no divisor in common: each once, far from its neighbours.
    const many = Array.from({ length: 1000 }, (_, index) => mine(((index * 389) % 1000) + 1))
    const again = new Set(before.map(({ sequence }) => sequence))
    expect(await append(many)).toEqual(many.map(({ sequence }) => (again.has(sequence) ? 'again' : 'stored')))
    expect(new Set(await append(many))).toEqual(new Set(['again']))
  })

  test('of rivals that append the same many events each event is stored by one (G4)', async () => {
    const storage = open()
    const name = fresh()
    const many = Array.from({ length: 200 }, (_, index) =>
      record(index + 1, { gateway: name, source: `/devices/${name}` }),
    )
    const outcomes = await Promise.all(
      [many, many.toReversed(), many.slice(50)].map((records) =>
        inTransaction(storage, (tx) => historyIn(tx).append(records)),
      ),
    )
    expect(outcomes.flat().filter((what) => what === 'stored')).toHaveLength(200)
    expect(outcomes.flat().filter((what) => what === 'again')).toHaveLength(350)
  })

  test('notes, clock corrections and closures may be repeated', async () => {
    const storage = open()
    const about = { gateway: fresh(), epoch, eventEpoch: epoch, eventSequence: 7 }
    const keep = (): Promise<void> =>
      inTransaction(storage, async (tx) => {
        await historyIn(tx).note([{ ...about, from: 1, to: 3, reason: 'expired', chain: undefined }])
        await historyIn(tx).correctClock([{ ...about, from: 1, to: 3, offsetMs: -1.5 }])
        await historyIn(tx).closeEpochs([{ ...about, lastSequence: 12, reason: 'corruption' }])
      })
    await keep()
    await expect(keep()).resolves.toBeUndefined()
  })
})

describe('PostgreSQL', () => {
  test('keeps an event’s text character by character (G8)', async () => {
    const text = '{"z":1.10,  "a":"\\u00e9\\ud83d\\ude00 \\\\ \\" {},", "a":2}'
    await onPostgres().transaction(
      (tx) =>
        postgresHistory(tx).append([
          record(1, { gateway: 'verbatim', source: '/devices/verbatim', body: text }),
        ]),
      never,
    )
    const rows = await postgres.query<{ body: string; time: Date }>(
      `select body::text, time from tidegate.events where gateway = 'verbatim'`,
    )
    expect(rows).toEqual([{ body: text, time: new Date(1_700_000_000_123) }])
  })

  test('reads back the arrays that it is sent, whatever is in them', async () => {
    const texts = fc.array(fc.option(fc.string({ unit: 'binary' }), { nil: undefined }))
    const numbers = fc.array(fc.tuple(fc.maxSafeInteger(), fc.double({ noNaN: true })))
    await fc.assert(
      fc.asyncProperty(texts, numbers, async (texts, numbers) => {
        const kept = texts.map((text) => text?.replaceAll('\0', ''))
        const [row] = await postgres.query(
          'select $1::text[] as texts, $2::bigint[]::text[] as whole, $3::float8[] as doubles',
          [
            textArray(kept, (text) => text),
            bigintArray(numbers, ([whole]) => whole),
            doubleArray(numbers, ([, double]) => double),
          ],
        )
        expect(row).toEqual({
          texts: kept.map((text) => text ?? null),
          whole: numbers.map(([whole]) => String(whole)),
          doubles: numbers.map(([, double]) => double),
        })
      }),
      { numRuns: 20 },
    )
  })

  test.each(['events', 'ledger_notes', 'clock_corrections', 'epoch_closures'])(
    'refuses to change, delete or truncate %s',
    async (table) => {
      for (const sql of [`update tidegate.${table} set gateway = ''`, `delete from tidegate.${table}`]) {
        await expect(postgres.query(sql)).rejects.toThrow('append-only')
      }
      await expect(postgres.query(`truncate tidegate.${table}`)).rejects.toThrow('append-only')
    },
  )

  test('applies each migration once, and refuses one that was edited or is not known', async () => {
    const database = poolOf({ url: await createDatabase(), poolMax: 4, applicationName: 'test' })
    await Promise.all([1, 2, 3].map(() => migrated(database)))
    const edited = migrations.map((migration) => ({ ...migration, sql: `${migration.sql} ` }))
    await expect(migrated(database, edited)).rejects.toMatchObject({
      code: 'MIGRATION_EDITED',
    })
    await expect(migrated(database, migrations.slice(1, 1))).rejects.toMatchObject({
      code: 'DATABASE_NEWER',
    })
    await database.close()
    await database.close()
  })

  test.each([
    ['valid is taken as it is', true],
    ['left unfinished is built anew', false],
  ])('an index that was prepared for a step of the schema and is %s', async (_, isValid) => {
    const database = poolOf({ url: await createDatabase(), poolMax: 4, applicationName: 'test' })
    await migrated(database, migrations.slice(0, 7))
    await database.query('create index concurrently inbox_processed_at on tidegate.inbox (processed_at)')
    await database.query(
      `update pg_index set indisvalid = $1 where indexrelid = 'tidegate.inbox_processed_at'::regclass`,
      [isValid],
    )
    const look = (): Promise<object[]> =>
      database.query(`
        select relname, relfilenode, indisvalid from pg_index join pg_class on pg_class.oid = indexrelid
        where indrelid = 'tidegate.inbox'::regclass and not indisprimary order by relname`)
    const [, before] = await look()
    await migrated(database, migrations.slice(0, 9))
    const after = await look()
    expect(after).toEqual([{ ...before, indisvalid: true, relfilenode: expect.any(Number) as number }])
    expect(isValid).toBe(JSON.stringify(after) === JSON.stringify([before]))
    await database.close()
  })

  test('an instance that is frozen in a transaction loses its locks to those who wait', async () => {
    const url = await createDatabase()
    const frozen = poolOf({ url, poolMax: 1, applicationName: 'frozen', idleInTransactionMsMax: 200 })
    await migrated(frozen)
    const waiting = poolOf({ url, poolMax: 1, applicationName: 'waiting' })
    const holding = latch()
    const thawed = latch()
    const first = postgresStorage(frozen).transaction(async (tx) => {
      await tx.inbox.claim('group', [identity('contended')])
      holding.open()
      await thawed.opened
    }, never)
    await holding.opened
    const claimed = await postgresStorage(waiting).transaction(
      (tx) => tx.inbox.claim('group', [identity('contended')]),
      never,
    )
    expect(claimed).toEqual([true])
    thawed.open()
    await expect(first).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    await frozen.close()
    await waiting.close()
  })

  test.each(['commit', 'rollback'])(
    'a query that a handler sends while its transaction ends has no effect (%s)',
    async (end) => {
      const database = poolOf({ url: await createDatabase(), poolMax: 1, applicationName: 'test' })
      await database.query('create table late (n int)')
      const late: Promise<unknown>[] = []
      const kept: Transaction[] = []
      const client = await database.connect()
      const send = client.query.bind(client) as (config: QueryConfig, ...rest: unknown[]) => unknown
      Object.assign(client, {
        query(config: QueryConfig, ...rest: unknown[]) {
          const answer = send(config, ...rest)
          if (config.text === end)
            late.push(...kept.map((tx) => tx.query('insert into late values (1)').catch((e: unknown) => e)))
          return answer
        },
      })
      client.release()
      const ended = postgresStorage(database).transaction(async (tx) => {
        kept.push(tx)
        if (end === 'rollback') throw new Error('the handler failed')
      }, never)
      await ended.catch(() => {})
      expect(await Promise.all(late)).toMatchObject([{ code: 'TRANSACTION_OVER' }])
      expect(await database.query('select * from late')).toEqual([])
      await database.close()
    },
  )

  test('a query nobody awaited is part of the transaction, and nothing is committed when it fails', async () => {
    const database = poolOf({ url: await createDatabase(), poolMax: 1, applicationName: 'test' })
    await database.query('create table effects (n int)')
    const careless = (sql: string): Promise<void> =>
      postgresStorage(database).transaction(async (tx) => {
        void tx.query('insert into effects values (1)')
        void tx.query(sql)
      }, never)
    await expect(careless('select no_such_column')).rejects.toMatchObject({ code: 'TRANSACTION_SPOILT' })
    expect(await database.query('select * from effects')).toEqual([])
    await careless('insert into effects values (2)')
    expect(await database.query('select n from effects')).toEqual([{ n: 1 }, { n: 2 }])
    await database.close()
  })

  test('a swallowed failure is blamed on the handler that swallowed it', async () => {
    const spoilt = onPostgres().transaction(async (tx) => {
      await tx.query('select no_such_column').catch(() => {})
      tx.assertUsable()
    }, never)
    await expect(spoilt).rejects.toMatchObject({ code: 'TRANSACTION_SPOILT' })
  })

  test('a statement that fails keeps its own code, and a server that is gone is an outage', async () => {
    await expect(onPostgres().transaction((tx) => tx.query('select 1 / 0'), never)).rejects.toMatchObject({
      code: '22012',
    })
    const swallowed = onPostgres().transaction(async (tx) => {
      await tx.query('select pg_terminate_backend(pg_backend_pid())').catch(() => {})
    }, never)
    await expect(swallowed).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    const closed = poolOf({
      url: 'postgres://nobody:secret@127.0.0.1:1/none',
      poolMax: 1,
      applicationName: 't',
    })
    await expect(closed.probe()).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.not.stringContaining('secret') as string,
    })
    await closed.close()
  })
})
