import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { readFiltered } from '../../../cloud/history/filtered-postgres.ts'
import { postgresReader } from '../../../cloud/history/reader-postgres.ts'
import type { Page } from '../../../cloud/history/reader.ts'
import { type PostgresServer, startPostgres } from '../../../dev/servers/postgres/postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { appendAtOnce } from '../../support/cloud/history-appends.ts'

let folder: string
let server: PostgresServer
let database: Database
const never = new AbortController().signal

async function start(): Promise<void> {
  server = await startPostgres({ dir: join(folder, 'server'), say: () => {}, onCrash: () => {} })
  database = poolOf({ url: server.url, poolMax: 3, applicationName: 'test lives' })
}

async function stop(): Promise<void> {
  await database.close()
  await server.close()
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-lives-'))
  chmodSync(folder, 0o711)
  await start()
  await migrated(database)
})
afterEach(async () => {
  await stop()
  rmSync(folder, { recursive: true, force: true })
})

let appended = 0
beforeEach(() => {
  appended = 0
})

const append = (count: number): Promise<Set<string>> => {
  const firstSequence = appended
  appended += count
  return appendAtOnce({ url: server.url, count, writers: 1, firstSequence, random: () => 0.5 })
}

const read = (after: string): Promise<Page> =>
  postgresStorage(database).transaction(async (tx) => postgresReader(tx).read(after, { max: 1000 }), never)

const filtered = (after: string) =>
  readFiltered(database.query.bind(database), after, { types: ['com.acme.nothing'] }, 10)

/** IDs of transactions that store nothing are on no disk. */
async function burnIds(): Promise<void> {
  for (let one = 0; one < 200; one++) await database.query('select pg_current_xact_id()')
}

async function fileOf(name: string): Promise<string> {
  const [row] = await database.query<{ data_directory: string }>('show data_directory')
  return resolve(row?.data_directory ?? '', name)
}

/** The postmaster, and it alone. */
async function killServer(): Promise<void> {
  process.kill(Number(readFileSync(await fileOf('postmaster.pid'), 'utf8').split('\n')[0]), 'SIGKILL')
  await stop()
}

/** A backend: then the postmaster ends all, recovers, and goes on. */
async function killBackend(): Promise<void> {
  const [row] = await database.query<{ pid: number }>('select pg_backend_pid() as pid')
  process.kill(row?.pid ?? -1, 'SIGKILL')
  await vi.waitFor(() => database.query('select 1'), { timeout: 25_000 })
}

/** With owners and rights. */
function copyAsItIs(from: string, to: string): void {
  expect(spawnSync('cp', ['-a', from, to]).status).toBe(0)
}

const idsOf = ({ events }: Page): string[] => events.map(({ id }) => id)
const second = (): number => Math.floor(Date.now() / 1000)

describe('a reader that has read all', () => {
  for (const [what, crash] of [
    ['a backend was killed, and the server has recovered', killBackend],
    ['the server was killed, and started again', async () => (await killServer(), start())],
  ] as const)
    test(`gets what is stored after ${what}, where transaction IDs come again (G4)`, async () => {
      const before = await append(5)
      await burnIds()
      const page = await read('')
      expect(idsOf(page).toSorted()).toEqual([...before].toSorted())
      const { next } = await filtered('')
      await crash()
      expect(await read(page.next)).toMatchObject({ events: [], next: page.next })
      const after = [...(await append(5))].toSorted()
      expect(idsOf(await read(page.next)).toSorted()).toEqual(after)
      expect(idsOf(await read(next)).toSorted()).toEqual(after)
    }, 90_000)

  test('of a data folder that was put back is refused, and goes on from before (G4)', async () => {
    await append(5)
    const before = await read('')
    const data = await fileOf('')
    await stop()
    copyAsItIs(data, join(folder, 'copy'))
    await start()
    const startedBy = second()
    await append(3)
    const beyond = await read(before.next)
    expect(beyond.events).not.toEqual([])
    await stop()
    rmSync(data, { recursive: true })
    copyAsItIs(join(folder, 'copy'), data)
    // Eras of lives that know nothing of each other are told apart by the second in which the server started.
    await vi.waitFor(() => expect(second()).toBeGreaterThan(startedBy), { timeout: 5_000 })
    await start()
    const ahead = { code: 'CURSOR_AHEAD', retryable: false }
    await expect(read(beyond.next)).rejects.toMatchObject(ahead)
    await expect(filtered(beyond.next)).rejects.toMatchObject(ahead)
    const others = await append(40)
    await expect(read(beyond.next)).rejects.toMatchObject(ahead)
    await expect(
      database.query('select * from tidegate.read_events($1)', [beyond.next]),
    ).rejects.toMatchObject({ code: 'TG003' })
    expect(idsOf(await read(before.next)).toSorted()).toEqual([...others].toSorted())
  }, 90_000)

  test('with a cursor of the life that is, but of no transaction that was, is refused', async () => {
    await append(1)
    const { next } = await read('')
    const [era = '', tx = '0'] = next.split('.')
    await expect(read(`${era}.${BigInt(tx) + 1_000_000n}.1`)).rejects.toMatchObject({ code: 'CURSOR_AHEAD' })
    for (const none of ['2147483647.1.1', '9999999999.1.1'])
      await expect(read(none)).rejects.toMatchObject({ code: 'CURSOR_INVALID' })
    await expect(
      database.query(`select * from tidegate.read_events('9999999999.1.1')`),
    ).rejects.toMatchObject({ code: 'TG002' })
  })
})
