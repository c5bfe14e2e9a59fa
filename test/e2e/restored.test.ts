import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../cloud/database/storage-postgres.ts'
import { postgresHistory } from '../../cloud/history/history-postgres.ts'
import { historyConsumer } from '../../cloud/history/consumer.ts'
import { createBreakers } from '../../cloud/protection/breakers.ts'
import { type Outcome, run } from '../../dev/servers/command.ts'
import { silentLog } from '../../src/log.ts'
import { databaseWith } from '../support/cloud/audited-database.ts'
import { type Encoded, Ledger } from '../support/cloud/cloud-events.ts'
import { obtainClients } from '../support/packages.ts'
import { createDatabase } from '../support/servers.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-restored-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
beforeAll(() => obtainClients('psql'))

const program = join(import.meta.dirname, '../../dist/cli/tidegate.js')
const patience = { timeoutMs: 30_000 }
const tidegate = (...args: string[]): Promise<Outcome> =>
  run({ file: process.execPath, args: [program, ...args] }, patience)

async function store(url: string, events: readonly Encoded[]): Promise<void> {
  const pool = poolOf({ url, poolMax: 2, applicationName: 'test' })
  const { handler } = historyConsumer(postgresHistory)
  if (handler.kind !== 'batch') throw new Error('history takes batches')
  const { signal } = new AbortController()
  const entries = events.map(({ event, text: body }) => ({ event, text: body, fault: undefined }))
  await postgresStorage(pool).transaction(
    async (tx) =>
      handler.handleBatch(entries, { tx, log: silentLog, signal, breaker: createBreakers()(signal) }),
    signal,
  )
  await pool.close()
}

test('a dump that was restored and lacks the end is found at once, by heads that were saved and by marks (G8)', async () => {
  const ledger = new Ledger()
  const url = await databaseWith(Array.from({ length: 12 }, () => ledger.next('device-1')))
  const dump = join(folder, 'tidegate.dump')
  await run({ file: 'pg_dump', args: ['-Fc', '-d', url, '-f', dump] }, patience)
  await store(
    url,
    Array.from({ length: 3 }, () => ledger.next('device-1')),
  )
  const [key, marks, heads] = ['key', 'marks', 'heads.txt'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  await tidegate('audit', 'key', key)
  const before = await tidegate('audit', '--database', url, '--marks', marks, '--key', key, '--full')
  expect(before.code).toBe(0)
  writeFileSync(heads, String(/head \S+/.exec(before.stdout)?.[0]))

  const restored = await createDatabase()
  const restoring = await run({ file: 'pg_restore', args: ['--no-owner', '-d', restored, dump] }, patience)
  expect(restoring.code).toBe(0)
  const audit = (...args: string[]): Promise<Outcome> => tidegate('audit', '--database', restored, ...args)
  expect(await audit()).toMatchObject({ code: 0 })
  for (const args of [
    ['--expect', `@${heads}`],
    ['--marks', marks, '--key', key],
  ]) {
    const { code, stdout } = await audit(...args)
    expect(code).toBe(1)
    expect(stdout).toMatch(/CUT 15 .* is not there: it ends at 12/)
  }
  // The gateway still had them: what comes again makes it whole.
  const again = new Ledger()
  const events = Array.from({ length: 15 }, () => again.next('device-1'))
  await store(restored, events.slice(12))
  expect(await audit('--expect', `@${heads}`)).toMatchObject({ code: 0 })
  expect(await audit('--marks', marks, '--key', key)).toMatchObject({ code: 0 })
})
