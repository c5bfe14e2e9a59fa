import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../cloud/database/storage-postgres.ts'
import { historyConsumer } from '../../cloud/history/consumer.ts'
import { createBreakers } from '../../cloud/protection/breakers.ts'
import { postgresHistory } from '../../cloud/history/history-postgres.ts'
import { type Outcome, run } from '../../dev/servers/command.ts'
import { silentLog } from '../../src/log.ts'
import { epoch, Ledger } from '../support/cloud/cloud-events.ts'
import { migrated } from '../support/cloud/cloud.ts'
import { obtainClients } from '../support/packages.ts'
import { createDatabase } from '../support/servers.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/DATABASE.md'), 'utf8')
const section = page.slice(page.indexOf('## Putting rows back'))
/** The commands of the page, for places 7 to 9 of our epoch. */
const commands = (/```sh\n([^]*?)```/.exec(section)?.[1] ?? '').replace('01J…', epoch)
const withoutTriggers = /set session_replication_role = replica/.exec(section)?.[0] ?? ''

const folder = mkdtempSync(join(tmpdir(), 'tidegate-rows-'))
let url: string
let admin: Client
beforeAll(async () => {
  await obtainClients('psql')
  url = await createDatabase()
  await fill(url)
  const server = new URL(url)
  server.pathname = '/postgres'
  admin = new Client(server.href)
  await admin.connect()
}, 120_000)
afterAll(async () => {
  await admin.end()
  rmSync(folder, { recursive: true, force: true })
})

async function fill(database: string): Promise<void> {
  const pool = poolOf({ url: database, poolMax: 2, applicationName: 'test' })
  await migrated(pool)
  const ledger = new Ledger()
  const entries = Array.from({ length: 12 }, (_, index) => ({
    ...ledger.next('device-1', { data: { text: `a\\b\t${index}\n"ж"` } }),
    fault: undefined,
  }))
  const { handler } = historyConsumer(postgresHistory)
  if (handler.kind !== 'batch') throw new Error('history takes batches')
  const { signal } = new AbortController()
  await postgresStorage(pool).transaction(
    async (tx) =>
      handler.handleBatch(entries, { tx, log: silentLog, signal, breaker: createBreakers()(signal) }),
    signal,
  )
  await pool.close()
}

const program = join(import.meta.dirname, '../../dist/cli/tidegate.js')
const audit = (database: string): Promise<Outcome> =>
  run({ file: process.execPath, args: [program, 'audit', '--database', database] }, { timeoutMs: 15_000 })

const psql = (database: string, ...statements: string[]): Promise<Outcome> =>
  run(
    { file: 'psql', args: ['-XAt', '-d', database, ...statements.flatMap((one) => ['-c', one])] },
    {
      timeoutMs: 15_000,
    },
  )

/** All but by which transaction it was stored: a row that is put back is new to whoever reads on. */
const rowsOf = async (database: string): Promise<string> =>
  (
    await psql(
      database,
      "select to_jsonb(e) - 'era' - 'tx' - 'body', e.body from tidegate.events e order by sequence",
    )
  ).stdout

test.each([
  ['removed', 'delete from tidegate.events where sequence between 7 and 9', 'MISSING', 'select 1'],
  [
    'altered',
    `update tidegate.events set body = replace(body::text, 'device-1', 'device-2')::json where sequence = 8`,
    'UNLINKED',
    'delete from tidegate.events where sequence between 7 and 9',
  ],
])(
  'rows that were %s are put back by the commands of DATABASE.md, as they were (G8)',
  async (what, sql, word, first) => {
    const before = new URL(url)
    const name = `${before.pathname.slice(1)}_${what}`
    await admin.query(`create database ${name} template ${before.pathname.slice(1)}`)
    const database = Object.assign(new URL(url), { pathname: `/${name}` }).href
    const whole = await rowsOf(database)
    expect(await psql(database, withoutTriggers, sql)).toMatchObject({ code: 0 })
    const found = await audit(database)
    expect(found).toMatchObject({ code: 1, stdout: expect.stringContaining(word) as string })
    expect(await psql(database, withoutTriggers, first)).toMatchObject({ code: 0 })
    const env = { ...process.env, COPY_URL: url, DATABASE_URL: database }
    const put = await run({ file: 'sh', args: ['-ec', commands], cwd: folder, env }, { timeoutMs: 15_000 })
    expect(put).toMatchObject({ code: 0, stderr: '' })
    expect(await rowsOf(database)).toBe(whole)
    expect(await audit(database)).toMatchObject({ code: 0 })
  },
)
