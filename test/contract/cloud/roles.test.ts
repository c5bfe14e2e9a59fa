import { join } from 'node:path'
import { Client } from 'pg'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { auditDatabase } from '../../../cloud/audit/audit-postgres.ts'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { ledgerTables } from '../../../cloud/database/roles-postgres.ts'
import { migrateDatabase } from '../../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { migrateCloud } from '../../../cloud/migrate.ts'
import { cloudConfigSchema } from '../../../cloud/config.ts'
import { run } from '../../../dev/servers/command.ts'
import { type Logger, silentLog } from '../../../src/log.ts'
import { startup } from '../../support/cloud/cloud.ts'
import { createDatabase, createRoles, type Role } from '../../support/servers.ts'

const tidegate = join(import.meta.dirname, '../../../dist/cli/tidegate.js')
const denied = { code: '42501' }
let databaseUrl: string
let urlOf: (role: Role) => string
const clients: Client[] = []
beforeAll(async () => {
  databaseUrl = await createDatabase()
  urlOf = await createRoles(databaseUrl)
  await migrateCloud(configOf(urlOf('owner')), startup)
})
afterAll(async () => {
  await Promise.all(clients.map((client) => client.end()))
})

const envWith = (more: Record<string, string>) => ({ ...process.env, ...more })
const configOf = (url: string) => cloudConfigSchema.parse({ database: { url } })

async function connected(url: string): Promise<Client> {
  const client = new Client(url)
  clients.push(client)
  await client.connect()
  return client
}
const as = (role: Role): Promise<Client> => connected(urlOf(role))

const nameOf = (url: string): string => new URL(url).pathname.slice(1)

async function standing(url: string, steps = migrations, log: Logger = silentLog): Promise<string> {
  const database = poolOf({ url, poolMax: 1, applicationName: 'test' })
  try {
    return await migrateDatabase(database, steps, { ...startup, log })
  } finally {
    await database.close()
  }
}

describe('who may do what in the database', () => {
  test('the record is every table that refuses changes, and every one has rights of its own (G8)', async () => {
    const client = await connected(databaseUrl)
    const { rows } = await client.query<{ name: string; guarded: boolean; written: boolean }>(
      `select relname as name, exists (select from pg_trigger where tgrelid = c.oid and tgname = 'append_only') as guarded,
              has_table_privilege('tidegate_writer', c.oid, 'select') as written
       from pg_class as c where relnamespace = 'tidegate'::regnamespace and relkind in ('r', 'p') and not relispartition`,
    )
    // Eras are opened by a function, and by nobody's hand.
    const retired = ['retirements', 'retired', 'retired_repeats', 'accepted_through']
    const published = ['schema_revisions', 'schema_files', 'schema_snapshots']
    const record = [...ledgerTables, 'eras', ...retired, ...published]
    expect(rows.filter(({ guarded }) => guarded).map(({ name }) => name)).toEqual(
      expect.arrayContaining(record),
    )
    expect(rows.filter(({ guarded }) => guarded)).toHaveLength(record.length)
    expect(rows.filter(({ written }) => !written)).toEqual([])
  })

  test('nor anything in a partition of history, of which it can make those to come (G8)', async () => {
    const client = await connected(databaseUrl)
    const writer = await as('writer')
    const { rows } = await client.query<{ partition: string }>(
      `select c.oid::regclass::text as partition from pg_inherits join pg_class as c on c.oid = inhrelid
       where inhparent = 'tidegate.events'::regclass`,
    )
    expect(rows.length).toBeGreaterThanOrEqual(4)
    for (const { partition } of rows)
      for (const sql of [
        `update ${partition} set gateway = gateway`,
        `delete from ${partition}`,
        `truncate ${partition}`,
        `insert into ${partition} select * from tidegate.events`,
        `drop table ${partition}`,
        `alter table tidegate.events detach partition ${partition}`,
        `select tidegate.make_partition('mine')`,
      ]) {
        await expect(writer.query(sql)).rejects.toMatchObject(denied)
      }
    await expect(writer.query('select tidegate.prepare_partitions()')).resolves.toBeDefined()
    await expect(writer.query('select tidegate.current_era()')).resolves.toBeDefined()
  })

  test('nor what is said of partitions that were retired, which would excuse what is missing (G8)', async () => {
    const writer = await as('writer')
    for (const [table, column] of [
      ['retirements', 'partition'],
      ['retired', 'gateway'],
      ['accepted_through', 'reached'],
      ['attachments', 'archive'],
      ['archived', 'archive'],
    ] as const)
      for (const sql of [
        `insert into tidegate.${table} select * from tidegate.${table}`,
        `update tidegate.${table} set ${column} = ${column}`,
        `delete from tidegate.${table}`,
        `truncate tidegate.${table} cascade`,
      ])
        await expect(writer.query(sql), sql).rejects.toMatchObject(denied)
    await expect(writer.query(`select tidegate.is_retired('g', 'e', 1)`)).resolves.toBeDefined()
    await expect(writer.query('select * from tidegate.partitions_standing()')).resolves.toBeDefined()
  })

  test.each(ledgerTables)(
    'the cloud’s user can change nothing of what is recorded in %s (G8)',
    async (table) => {
      const writer = await as('writer')
      const whole = `tidegate.${table}`
      const column = table === 'resolutions' ? 'letter' : 'gateway'
      for (const sql of [
        `update ${whole} set ${column} = ${column}`,
        `update ${whole} set ${column} = ${column} where false`,
        `select * from ${whole} for update`,
        `delete from ${whole}`,
        `delete from ${whole} where false`,
        `truncate ${whole}`,
        `alter table ${whole} add column x int`,
        `alter table ${whole} rename to x`,
        `alter table ${whole} owner to test_writer`,
        `alter table ${whole} disable trigger append_only`,
        `alter table ${whole} disable trigger all`,
        `drop trigger append_only on ${whole}`,
        `create trigger aside before insert on ${whole} for each row execute function tidegate.refuse_change()`,
        `create rule aside as on insert to ${whole} do instead nothing`,
        `drop table ${whole}`,
        `create index on ${whole} (${column})`,
      ])
        await expect(writer.query(sql), sql).rejects.toMatchObject(denied)
    },
  )

  test('nor take away what guards it, by any way round (G8)', async () => {
    const writer = await as('writer')
    for (const sql of [
      `create or replace function tidegate.refuse_change() returns trigger language plpgsql as 'begin return null; end'`,
      'drop function tidegate.refuse_change() cascade',
      'alter function tidegate.refuse_change() rename to x',
      'drop schema tidegate cascade',
      'alter schema tidegate rename to x',
      'create table tidegate.x (y int)',
      'set session_replication_role = replica',
      'set role tidegate_owner',
      'delete from tidegate.migrations',
      'truncate tidegate.inbox_claims',
      'grant tidegate_owner to test_writer',
    ])
      await expect(writer.query(sql), sql).rejects.toMatchObject(denied)
  })

  test('nor leave in public what whoever migrates or audits would call in place of PostgreSQL’s own (G8)', async () => {
    const url = await createDatabase()
    const admin = await connected(url)
    const urlOfNew = await createRoles(url)
    expect(await standing(urlOfNew('owner'))).toBe('owner')
    await admin.query('grant create on schema public to tidegate_writer')
    await admin.query(`alter database ${nameOf(url)} set search_path = public, pg_catalog`)
    const writer = await connected(urlOfNew('writer'))
    await writer.query('create sequence public.calls; grant all on public.calls to public')
    // The function fits better than PostgreSQL's own, and the view is found before it.
    await writer.query(`create function public.has_database_privilege(oid, name, text) returns boolean language sql
      as $$ select nextval('public.calls') > 0 $$`)
    await writer.query(`create view public.pg_tables as
      select *, nextval('public.calls') as call from pg_catalog.pg_tables; grant all on public.pg_tables to public`)
    for (const role of ['owner', 'writer'] as const) expect(await standing(urlOfNew(role))).toBe(role)
    const database = poolOf({ url: urlOfNew('auditor'), poolMax: 1, applicationName: 'test' })
    const nothing = { code: 'AUDIT_NOTHING' }
    await expect(auditDatabase(database, { nowMs: Date.now() }).next()).rejects.toMatchObject(nothing)
    await database.close()
    expect((await admin.query('select is_called from public.calls')).rows).toEqual([{ is_called: false }])
  })

  test('a cloud whose user has more than it needs says at its start what it is', async () => {
    const url = await createDatabase()
    const admin = await connected(url)
    const urlOfNew = await createRoles(url)
    expect(await standing(urlOfNew('owner'))).toBe('owner')
    const told: unknown[] = []
    const log = pino({}, { write: (line: string) => told.push(JSON.parse(line)) })
    await standing(urlOfNew('writer'), migrations, log)
    expect(told).toEqual([])
    await admin.query(`grant create on database ${nameOf(url)} to test_writer`)
    await admin.query('grant create on schema public to test_writer')
    await admin.query('grant update (gateway) on tidegate.ledger_notes to test_writer')
    await admin.query('grant truncate on tidegate.events to test_writer')
    expect(await standing(urlOfNew('writer'), migrations, log)).toBe('writer')
    expect(told).toMatchObject([
      {
        code: 'DATABASE_RIGHTS',
        beside: [
          'create in the database',
          'create in the schema public',
          'change tidegate.events',
          'change tidegate.ledger_notes',
        ],
      },
    ])
  })

  test('--migrate takes from the roles, and from all, what they were given beside their rights', async () => {
    const url = await createDatabase()
    const admin = await connected(url)
    const urlOfNew = await createRoles(url)
    await standing(urlOfNew('owner'))
    await admin.query('grant create on schema tidegate to tidegate_writer, public')
    await admin.query('grant update, truncate on tidegate.events to tidegate_module, public')
    await standing(urlOfNew('owner'))
    const writer = await connected(urlOfNew('writer'))
    for (const sql of ['create table tidegate.x (y int)', 'truncate tidegate.events'])
      await expect(writer.query(sql), sql).rejects.toMatchObject(denied)
  })

  test('roles that were made do not stop a cloud that is a superuser, and made its tables as one', async () => {
    const url = await createDatabase()
    expect(await standing(url)).toBe('owner')
    await createRoles(url)
    expect(await standing(url)).toBe('owner')
  })

  test('whoever reads can do nothing else, and the auditor sees the record alone', async () => {
    for (const role of ['reader', 'auditor', 'module'] as const) {
      const client = await as(role)
      await client.query('select from tidegate.events')
      await expect(
        client.query(`insert into tidegate.epoch_closures values ('g', 'e', 1, 'x', 1)`),
      ).rejects.toMatchObject(denied)
      await expect(client.query('delete from tidegate.inbox_claims')).rejects.toMatchObject(denied)
    }
    await (await as('reader')).query('select from tidegate.rollups, tidegate.inbox_claims')
    // An audit that goes on from marks asks since when it has not looked.
    await (await as('auditor')).query('select from tidegate.eras')
    await expect((await as('auditor')).query('select from tidegate.rollups')).rejects.toMatchObject(denied)
    const { code, stderr } = await run({
      file: process.execPath,
      args: [tidegate, 'audit'],
      env: envWith({ TIDEGATE_CLOUD__DATABASE__URL: urlOf('auditor') }),
    })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('AUDIT_NOTHING') as string })
  })

  test('what the cloud’s user finds behind is one clear error, and so is to bring it up to date as that user', async () => {
    const ahead = [...migrations, { version: migrations.length + 1, name: 'next', sql: 'select 1' }]
    expect(await standing(urlOf('writer'))).toBe('writer')
    await expect(standing(urlOf('writer'), ahead)).rejects.toMatchObject({
      code: 'DATABASE_OLDER',
      hint: expect.stringContaining('--migrate') as string,
    })
    await expect(migrateCloud(configOf(urlOf('writer')), startup)).rejects.toMatchObject({
      code: 'DATABASE_DENIED',
      hint: expect.stringContaining('tidegate_owner') as string,
    })
    const { code, stderr } = await run({
      file: process.execPath,
      args: [tidegate, 'cloud', '--migrate'],
      env: envWith({ TIDEGATE_CLOUD__DATABASE__URL: urlOf('owner') }),
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })
})
