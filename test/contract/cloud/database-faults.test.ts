import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from 'pg'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import type { Storage, Transaction } from '../../../cloud/database/storage.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import { isOutage } from '../../../cloud/pipeline/retry.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

const never = new AbortController().signal

let owner: Client
let database: Database
let storage: Storage
let url: string
/** As somebody else's hand changes what is ours. */
beforeAll(async () => {
  url = await createDatabase()
  owner = new Client(url)
  await owner.connect()
  const own = poolOf({ url, poolMax: 1, applicationName: 'test' })
  await migrated(own)
  await own.close()
  const role = `weak_${Date.now()}`
  await owner.query(`create role ${role} login password 'weak'`)
  await owner.query(`grant usage on schema tidegate to ${role}`)
  await owner.query(`grant update on tidegate.rollup_buckets to ${role}`)
  await owner.query(`grant select, insert, delete on all tables in schema tidegate to ${role}`)
  await owner.query(`grant usage on all sequences in schema tidegate to ${role}`)
  const weak = new URL(url)
  weak.username = role
  weak.password = 'weak'
  database = poolOf({ url: weak.href, poolMax: 2, applicationName: 'test' })
  storage = postgresStorage(database)
  roleName = role
})
let roleName: string
afterAll(async () => {
  await database.close()
  await owner.query(`drop owned by ${roleName}; drop role ${roleName}`)
  await owner.end()
})

const inTransaction = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> =>
  storage.transaction(work, never)

let places = 0
const append = (body: string, id = 'a'): Promise<unknown> =>
  inTransaction((tx) =>
    postgresHistory(tx).append([
      {
        gateway: 'gateway-1',
        epoch: '0'.repeat(26),
        sequence: ++places,
        source: '/devices/device-1',
        id,
        type: 'com.acme.x',
        subject: undefined,
        dataschema: undefined,
        timeMs: 0,
        recordedMs: 0,
        disposition: 'accepted',
        reason: undefined,
        body,
      },
    ]),
  )

const ask = (sql: string): Promise<unknown> => inTransaction((tx) => tx.query(sql))

async function faultOf(work: Promise<unknown>): Promise<{ code: string; outage: boolean; message: string }> {
  try {
    await work
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return { code, outage: isOutage(error), message }
  }
  return { code: 'none', outage: false, message: '' }
}

describe('a statement of Tidegate’s own that fails', () => {
  test.each([
    ['a right that was taken away', 'revoke insert on tidegate.events from ROLE', 'DATABASE_DENIED', '42501'],
    [
      'a table that was renamed',
      'alter table tidegate.events rename to elsewhere',
      'DATABASE_ALTERED',
      '42P01',
    ],
    [
      'a column that was dropped',
      'alter table tidegate.events rename column reason to why',
      'DATABASE_ALTERED',
      '42703',
    ],
    [
      'a trigger that somebody made',
      `create function tidegate.no() returns trigger language plpgsql as $$ begin raise exception 'not today'; end $$;
       create trigger no before insert on tidegate.events for each row execute function tidegate.no()`,
      'DATABASE_FAULT',
      'P0001',
    ],
  ])('by %s is an outage, and costs no event an attempt (G5)', async (_, sql, code, state) => {
    await owner.query('begin')
    await owner.query(sql.replace('ROLE', roleName))
    await owner.query('commit')
    const fault = await faultOf(append('{}'))
    await owner.query(undo[state] as string)
    expect(fault).toMatchObject({ code, outage: true, message: expect.stringContaining(state) as string })
    await expect(append('{}', `${state} mended`)).resolves.toBeDefined()
  })

  test.each([
    ['a value that is none', '{', '22P02'],
    ['U+0000 in a text', '{"a":"\\u0000"', '22P02'],
    ['nesting beyond what PostgreSQL reads', `${'['.repeat(200_000)}${']'.repeat(200_000)}`, '54001'],
  ])('by %s is that event’s fault, and no other waits for it (G5)', async (_, body, code) => {
    expect(await faultOf(append(body))).toMatchObject({ code, outage: false })
  })
})

describe('a consumer’s statement that fails', () => {
  test.each([
    ['08P01', 'select $1::text', ['a', 'b']],
    ['XX000', `do $$ begin raise exception 'no' using errcode = 'XX000'; end $$`, []],
    ['53400', `do $$ begin raise exception 'no' using errcode = '53400'; end $$`, []],
  ])('by its own mistake is its own fault, though servers say %s, too (G5)', async (code, sql, values) => {
    const asked = inTransaction((tx) => tx.query(sql, values))
    expect(await faultOf(asked)).toMatchObject({ code, outage: false })
  })

  test.each(['08006', 'XX001', 'XX002', '53100', '58030'])(
    'by %s is an outage, whoever says it (G5)',
    async (code) => {
      const asked = ask(`do $$ begin raise exception 'no' using errcode = '${code}'; end $$`)
      expect(await faultOf(asked)).toMatchObject({ outage: true })
    },
  )

  test('that its own table refuses is its own fault, and a server that cannot is not', async () => {
    expect(await faultOf(ask('insert into nowhere values (1)'))).toMatchObject({
      code: '42P01',
      outage: false,
    })
    expect(await faultOf(ask('select pg_terminate_backend(pg_backend_pid())'))).toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      outage: true,
    })
  })
})

const undo: Record<string, string> = {
  get 42501() {
    return `grant insert on tidegate.events to ${roleName}`
  },
  '42P01': 'alter table tidegate.elsewhere rename to events',
  42703: 'alter table tidegate.events rename column why to reason',
  P0001: 'drop trigger no on tidegate.events; drop function tidegate.no()',
}

describe('database.url', () => {
  test.each([
    ['sslmode=verify_full', 'says sslmode=verify_full'],
    ['sslmode=verify-full&sslrootcert=/nowhere/ca.crt', '/nowhere/ca.crt'],
    ['sslmode=disable&sslrootcert=/nowhere/ca.crt', 'sslmode=disable'],
  ])('with a fault in how to speak TLS is told before anything is opened: %s', (query, says) => {
    expect(() => poolOf({ url: `${url}?${query}`, poolMax: 1, applicationName: 'test' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(says) as string }),
    )
  })

  test('that asks for TLS of a server that has none is told by a code of its own', async () => {
    const own = poolOf({ url: `${url}?sslmode=verify-full`, poolMax: 1, applicationName: 'test' })
    await expect(own.probe()).rejects.toMatchObject({ code: 'DATABASE_TLS', retryable: false })
    await own.close()
  })

  test('may lead to an address of IPv6', () => {
    expect(poolOf({ url: 'postgres://u:p@[::1]:5432/db', poolMax: 1, applicationName: 'test' }).where).toBe(
      '[::1]:5432/db',
    )
  })
})
