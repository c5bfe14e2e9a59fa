import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { registerSchemaCommand } from '../../../cloud/schemas/command.ts'
import { typedViews } from '../../../cloud/schemas/views/view.ts'
import { applyViews, type ViewChange } from '../../../cloud/schemas/views/views-postgres.ts'
import { usableSchemas } from '../../../src/schemas/folder.ts'
import { sourceOf } from '../../support/cloud/schemas/schema-files.ts'
import { storeEvents } from '../../support/cloud/schemas/stored-events.ts'
import { createReadyDatabase, type Role, urlAs } from '../../support/servers.ts'

const opened: Database[] = []
afterAll(() => Promise.all(opened.map((database) => database.close())))

let url: string
let admin: Database
let owner: Database
beforeEach(async () => {
  url = await createReadyDatabase()
  admin = open(url)
  owner = as('owner')
})

function open(databaseUrl: string): Database {
  const database = poolOf({ url: databaseUrl, poolMax: 2, applicationName: 'test' })
  opened.push(database)
  return database
}
const as = (role: Role): Database => open(urlAs(role, url))

type Files = Readonly<Record<string, unknown>>
const number = { type: 'number' }
const of = (...names: string[]) => ({ properties: Object.fromEntries(names.map((name) => [name, number])) })
const room = { 'com.acme.room/1.json': of('t') }
const door = { 'com.acme.door/1.json': of('opened') }

async function apply(files: Files, options: { schema?: string; dryRun?: boolean } = {}): Promise<string[]> {
  const views = typedViews(usableSchemas(sourceOf(files)), 'checked')
  const changes = await applyViews(owner, views, { schema: 'reading', dryRun: false, ...options })
  return changes.map(({ what, name }: ViewChange) => `${what} ${name}`)
}

async function columns(name: string, schema = 'reading'): Promise<string[]> {
  const rows = await admin.query<{ column: string }>(
    `select column_name::text as column from information_schema.columns where table_schema = $1 and table_name = $2 order by ordinal_position`,
    [schema, name],
  )
  return rows.map(({ column }) => column)
}

async function commentOfT(): Promise<unknown> {
  const rows = await admin.query<{ said: string }>(
    `select col_description('reading.com_acme_room'::regclass, attnum) as said from pg_attribute
     where attrelid = 'reading.com_acme_room'::regclass and attname = 't'`,
  )
  return rows[0]?.said
}

describe('tidegate schema views', () => {
  test('makes, replaces and removes what it made itself, and does nothing where nothing is to be done', async () => {
    expect(await apply({ ...room, ...door })).toEqual(['made com_acme_door', 'made com_acme_room'])
    expect(await apply({ ...room, ...door })).toEqual(['unchanged com_acme_door', 'unchanged com_acme_room'])
    expect(await apply({ ...room, 'com.acme.room/2.json': of('t', 'u') })).toEqual([
      'removed com_acme_door',
      'replaced com_acme_room',
    ])
    expect(await columns('com_acme_door')).toEqual([])
    expect((await columns('com_acme_room')).slice(-3)).toEqual(['data', 't', 'u'])
    expect(await apply({ ...room, 'com.acme.room/2.json': of('u') })).toEqual(['replaced com_acme_room'])
    expect((await columns('com_acme_room')).slice(-2)).toEqual(['data', 'u'])
    expect(await apply({})).toEqual(['removed com_acme_room'])
  })

  test('says what each column is, and no longer what the schema says no longer', async () => {
    const described = { properties: { t: { ...number, description: "the room's air", unit: '°C' } } }
    await apply({ 'com.acme.room/1.json': described, 'com.acme.room/type.yaml': 'description: of a room\n' })
    expect(await commentOfT()).toBe("the room's air. Unit: °C")
    await apply(room)
    expect(await commentOfT()).toBeNull()
  })

  test('leaves alone what others have made, and takes no name of theirs; nothing is changed then', async () => {
    await apply(room)
    await admin.query(
      'set role tidegate_owner; create view reading.mine as select 1 as x; create table reading.com_acme_door (x int); reset role',
    )
    await expect(apply({ ...door })).rejects.toMatchObject({
      code: 'SCHEMA_VIEW_TAKEN',
      message: expect.stringContaining('reading.com_acme_door') as string,
    })
    expect((await columns('com_acme_room')).at(-1)).toBe('t')
    expect(await apply({})).toEqual(['removed com_acme_room'])
    expect(await columns('mine')).toEqual(['x'])
    await admin.query('create schema others')
    await expect(apply(room, { schema: 'others' })).rejects.toMatchObject({ code: 'SCHEMA_VIEW_TAKEN' })
  })

  test('does not take away what something of yours is made upon, and changes nothing then', async () => {
    await apply({ ...room, ...door })
    await admin.query('create view public.upon as select t from reading.com_acme_room')
    await expect(apply({ ...door, 'com.acme.door/2.json': of('other') })).rejects.toMatchObject({
      code: 'SCHEMA_VIEW_USED',
    })
    expect((await columns('com_acme_door')).at(-1)).toBe('opened')
    // A column more is in nobody's way.
    expect(await apply({ ...door, 'com.acme.room/1.json': of('t', 'u') })).toEqual([
      'unchanged com_acme_door',
      'replaced com_acme_room',
    ])
  })

  test('changes nothing in a dry run, and says the same', async () => {
    expect(await apply(room, { dryRun: true })).toEqual(['made com_acme_room'])
    expect(await columns('com_acme_room')).toEqual([])
  })

  test('keeps the rights to a view when it is made anew', async () => {
    await apply(room)
    await admin.query('grant select on reading.com_acme_room to tidegate_auditor')
    await apply({ ...room, 'com.acme.room/2.json': of('u') })
    const [row] = await admin.query<{ has: boolean }>(
      `select has_table_privilege('tidegate_auditor', 'reading.com_acme_room', 'select') as has`,
    )
    expect(row?.has).toBe(true)
  })

  test('keeps the rights to its columns, and what was taken away stays so', async () => {
    const rights = async (): Promise<unknown> =>
      (
        await admin.query(
          `select has_table_privilege('tidegate_reader', view, 'select') as reader, has_table_privilege('tidegate_module', view, 'select') as module,
            has_column_privilege('tidegate_auditor', view, 'device', 'select') as device, has_column_privilege('tidegate_auditor', view, 'time', 'select') as time
           from (values ('reading.com_acme_room')) as _ (view)`,
        )
      )[0]
    await apply({ 'com.acme.room/1.json': of('t', 'u') })
    await admin.query('grant select (device, t) on reading.com_acme_room to tidegate_auditor')
    await admin.query('revoke select on reading.com_acme_room from tidegate_reader')
    const wanted = { reader: false, module: true, device: true, time: false }
    // A column more is a replacement, one less a drop.
    expect(await apply({ 'com.acme.room/1.json': of('t', 'u', 'v') })).toEqual(['replaced com_acme_room'])
    expect(await rights()).toEqual(wanted)
    expect(await apply({ 'com.acme.room/1.json': of('u') })).toEqual(['replaced com_acme_room'])
    expect(await rights()).toEqual(wanted)
  })

  test('a description that PostgreSQL cannot hold is in nobody’s way', async () => {
    const type = String.raw`description: "of a\0 room\uD800"`
    expect(await apply({ ...room, 'com.acme.room/type.yaml': `${type}\n` })).toEqual(['made com_acme_room'])
  })

  test('gives up where somebody reads a view for longer than it waits, and can be run again', async () => {
    await apply({ ...room, ...door })
    const client = await admin.connect()
    try {
      await client.query('begin')
      await client.query('select from reading.com_acme_room')
      await expect(apply({ 'com.acme.room/1.json': of('u'), ...door })).rejects.toMatchObject({
        code: 'DATABASE_LOCKED',
        retryable: true,
      })
    } finally {
      client.release(true)
    }
  })

  test('two at once come one after the other', async () => {
    const both = await Promise.all([apply({ ...room, ...door }), apply({ ...room, ...door })])
    expect(new Set(both.map((changes) => changes[0]?.split(' ')[0]))).toEqual(new Set(['made', 'unchanged']))
  })
})

describe('who may do what with views', () => {
  test('readers and modules read them with rights of their own; nobody writes through them or alters them', async () => {
    await apply(room)
    await storeEvents(admin, 'e', 'com.acme.room', [{ dataschema: 'com.acme.room/1', dataText: '{"t":1}' }])
    for (const role of ['reader', 'module', 'writer'] as const)
      expect(await as(role).query('select t, device from reading.com_acme_room')).toEqual([
        { t: 1, device: 'sensor-1' },
      ])
    const statements = [
      `insert into reading.com_acme_room (t) values (1)`,
      `delete from reading.com_acme_room`,
      `create or replace view reading.com_acme_room as select 1 as device`,
      `create view reading.another as select 1 as x`,
      `drop view reading.com_acme_room`,
      `create or replace function tidegate.event_data(json) returns jsonb language sql as 'select null::jsonb'`,
    ]
    for (const sql of statements)
      await expect(as('writer').query(sql)).rejects.toThrow(/DENIED|must|cannot|does not let/)
    await admin.query('revoke select on tidegate.events from tidegate_reader')
    await expect(as('reader').query('select from reading.com_acme_room')).rejects.toThrow(/does not let/)
  })

  test('only the owner of the tables makes them', async () => {
    const views = typedViews(usableSchemas(sourceOf(room)), 'checked')
    await expect(applyViews(as('writer'), views, { schema: 'reading', dryRun: false })).rejects.toMatchObject(
      { code: 'DATABASE_DENIED' },
    )
  })
})

/** What `tidegate schema` prints. */
async function program(...words: string[]): Promise<string> {
  const lines: string[] = []
  const tidegate = new Command('tidegate').exitOverride().configureOutput({ writeErr: () => {} })
  registerSchemaCommand(tidegate, { say: (text) => lines.push(text) })
  await tidegate.parseAsync(['schema', ...words], { from: 'user' })
  return lines.join('\n')
}

describe('on the command line', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tidegate-views-'))
    for (const [name, content] of Object.entries({ ...room, ...door })) {
      mkdirSync(dirname(join(dir, name)), { recursive: true })
      writeFileSync(join(dir, name), JSON.stringify(content))
    }
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const views = (...words: string[]): Promise<string> => program('views', '--folder', dir, ...words)

  test('it says what it has done, for people and for programs', async () => {
    const database = ['--database', urlAs('owner', url)]
    expect(await views(...database)).toBe(
      [
        'made       reading.com_acme_door  com.acme.door, version 1, 1 column',
        'made       reading.com_acme_room  com.acme.room, version 1, 1 column',
      ].join('\n'),
    )
    expect(JSON.parse(await views(...database, '--json'))).toMatchObject({
      schema: 'reading',
      changes: [{ what: 'unchanged', name: 'com_acme_door' }, { what: 'unchanged' }],
      views: [{ columns: [{ name: 'opened', kind: 'double', path: '/opened' }] }, {}],
    })
  })

  test('it says what a type is called now of which another has taken the name away', async () => {
    const database = ['--database', urlAs('owner', url)]
    await views(...database)
    mkdirSync(join(dir, 'com.acme-room'))
    writeFileSync(join(dir, 'com.acme-room', '1.json'), JSON.stringify(of('t')))
    expect(await views(...database)).toMatch(
      /^removed +reading\.com_acme_room {2}com\.acme\.room, which is reading\.com_acme_room_[0-9a-f]{6} now$/m,
    )
  })

  test('--registry makes them of what is applied to the database, and not of a folder', async () => {
    await program('apply', '--folder', dir, '--database', urlAs('writer', url), '--reason', 'test')
    expect(await program('views', '--registry', '--database', urlAs('owner', url))).toMatch(
      /^made +reading\.com_acme_door .*\nmade +reading\.com_acme_room /,
    )
    rmSync(dir, { recursive: true })
    expect(await program('views', '--registry', '--database', urlAs('owner', url))).toMatch(/^unchanged/)
  })

  test('--print is a script that makes the same', async () => {
    const script = await views('--print', '--schema', 'dashboards')
    await owner.query(`set role tidegate_owner; ${script}; reset role`)
    expect((await columns('com_acme_room', 'dashboards')).at(-1)).toBe('t')
    expect(await views('--schema', 'dashboards', '--database', urlAs('owner', url))).toMatch(/^unchanged/)
  })

  test('a schema that is not for this is refused', async () => {
    for (const schema of ['tidegate', 'Reading', 'pg_catalog', 'projection', 'public', 'x"y'])
      await expect(views('--print', '--schema', schema)).rejects.toThrow(/schema of its own/)
  })
})
