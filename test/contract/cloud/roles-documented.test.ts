import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { rollups } from '../../../cloud/projections/built-in/rollups.ts'
import { startProjections } from '../../../cloud/projections/projections.ts'
import { type Outcome, run } from '../../../dev/servers/command.ts'
import { prepareDatabase } from '../../../dev/stack/database-postgres.ts'
import { cli, setupFiles } from '../../../dev/stack/programs.ts'
import { startup } from '../../support/cloud/cloud.ts'
import { obtainClients } from '../../support/packages.ts'
import { createDatabase, createRoles } from '../../support/servers.ts'

const root = join(import.meta.dirname, '../../..')
const blocksOf = (page: string, heading: string, language: string): string[] => {
  const text = readFileSync(join(root, 'docs', page), 'utf8')
  const [, section = ''] = text.split(new RegExp(`^## ${heading}$`, 'm'))
  const [own = ''] = section.split(/^## /m)
  return [...own.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, 'g'))].map(([, block = '']) => block)
}
const [installation = '', handOver = ''] = blocksOf('DATABASE.md', 'Roles', 'sh')
const [tables = ''] = blocksOf('CONSUMERS.md', 'Your tables', 'sql')

const clients: Client[] = []
beforeAll(() => obtainClients('psql'))
afterAll(async () => {
  await Promise.all(clients.map((client) => client.end()))
})

/** Logins of the page, under names that no other database has. */
const loginOf = (url: string, name: string): string => `${name}_of_${nameOf(url)}`
const password = 'a password'
const nameOf = (url: string): string => new URL(url).pathname.slice(1)
const urlAs = (url: string, username: string): string =>
  Object.assign(new URL(url), { username, password }).href

async function connected(url: string): Promise<Client> {
  const client = new Client(url)
  await client.connect()
  clients.push(client)
  return client
}

/** A block of the page, for a database of ours that is there, and logins of ours. */
function follow(block: string, url: string): Promise<Outcome> {
  const { host, username, pathname } = new URL(url)
  const commands = block
    .replace(/^sudo -u postgres createdb .*\n/m, '')
    .replaceAll('sudo -u postgres psql -d tidegate', 'psql -qX -v ON_ERROR_STOP=1 -d "$ADMIN_URL"')
    .replaceAll(/\b(?:tidegate_cloud|tidegate_migrator|auditor|analyst)\b/g, (name) => loginOf(url, name))
    .replaceAll('database tidegate', `database ${pathname.slice(1)}`)
    .replaceAll(/(from|to) tidegate\b/g, `$1 ${loginOf(url, 'tidegate')}`)
    .replace('owner to postgres', `owner to ${username}`)
    .replace('@db.example/tidegate?sslmode=verify-full', `@${host}${pathname}`)
    .replace(/tidegate cloud --migrate$/m, `${process.execPath} ${cli} cloud --migrate`)
  const names = ['CLOUD_PASSWORD', 'MIGRATOR_PASSWORD', 'AUDITOR_PASSWORD']
  const passwords = Object.fromEntries(names.map((name) => [name, password]))
  const env = { ...process.env, ...passwords, ADMIN_URL: url, PGOPTIONS: '-c client_min_messages=warning' }
  return run({ file: 'sh', args: ['-ec', commands], cwd: root, env }, { timeoutMs: 20_000 })
}

async function standing(url: string): Promise<string> {
  const database = poolOf({ url, poolMax: 1, applicationName: 'test' })
  try {
    return await migrateDatabase(database, migrations, startup)
  } finally {
    await database.close()
  }
}

/** As a cloud of that user has them, which `tidegate.rollups` shows from then on. */
async function buildRollups(url: string): Promise<void> {
  const database = poolOf({ url, poolMax: 3, applicationName: 'test' })
  const running = startProjections({ ...startup, projections: [rollups()], database, instance: 'test' })
  await expect.poll(() => running.statuses()[0]?.doing).toBe('working')
  await running.close()
  await database.close()
}

describe('who follows the commands of the pages', () => {
  test('has a database with its roles, and no login of another database comes in', async () => {
    const url = await createDatabase()
    expect(await follow(installation, url)).toMatchObject({ code: 0, stderr: '' })
    expect(await standing(urlAs(url, loginOf(url, 'tidegate_cloud')))).toBe('writer')
    const urlOfOther = await createRoles(await createDatabase())
    const stranger = Object.assign(new URL(urlOfOther('writer')), { pathname: `/${nameOf(url)}` }).href
    await expect(standing(stranger)).rejects.toMatchObject({ code: 'DATABASE_DENIED' })
    const auditor = await connected(urlAs(url, loginOf(url, 'auditor')))
    await auditor.query('select from tidegate.events')
  })

  test('has handed over a database of before there were roles, and whoever used it still does', async () => {
    const url = await createDatabase()
    const admin = await connected(url)
    const [former, analyst] = [loginOf(url, 'tidegate'), loginOf(url, 'analyst')]
    for (const name of [former, analyst])
      await admin.query(`create role ${name} login password '${password}'`)
    await admin.query(`alter database ${nameOf(url)} owner to ${former}`)
    expect(await standing(urlAs(url, former))).toBe('owner')
    const before = await connected(urlAs(url, former))
    await before.query('create schema acme; create table acme.alerts (number serial, device text)')
    await buildRollups(urlAs(url, former))
    await before.query(`grant usage on schema tidegate to ${analyst}`)
    await before.query(`grant select on tidegate.events to ${analyst}`)
    expect(await follow(handOver, url)).toMatchObject({ code: 0, stderr: '' })
    expect(await standing(urlAs(url, former))).toBe('writer')
    const cloud = await connected(urlAs(url, former))
    await cloud.query(`insert into acme.alerts (device) values ('a')`)
    const denied = { code: '42501' }
    await expect(cloud.query('truncate tidegate.events')).rejects.toMatchObject(denied)
    await expect(cloud.query('create schema another')).rejects.toMatchObject(denied)
    const reader = await connected(urlAs(url, analyst))
    await reader.query('select from tidegate.events, tidegate.rollups, tidegate.members')
    const { rows } = await admin.query(
      `select relname from pg_class where relnamespace = 'tidegate'::regnamespace and relowner <> 'tidegate_owner'::regrole
       union all select proname from pg_proc where pronamespace = 'tidegate'::regnamespace and proowner <> 'tidegate_owner'::regrole`,
    )
    expect(rows).toEqual([])
  })

  test('has tables of a consumer that the cloud’s user can fill', async () => {
    const url = await createDatabase()
    const urlOf = await createRoles(url)
    expect(await standing(urlOf('owner'))).toBe('owner')
    await (await connected(url)).query(tables)
    const writer = await connected(urlOf('writer'))
    await writer.query(`insert into acme.alerts (device) values ('a')`)
    await writer.query('select from acme.alerts')
  })

  test('and a stack of ours hands over what a superuser made in a folder that was kept', async () => {
    const url = await createDatabase()
    expect(await standing(url)).toBe('owner')
    const cloudUrl = await prepareDatabase({ url, password, setupFiles, cli, env: process.env })
    expect(await standing(cloudUrl)).toBe('writer')
  })
})
