import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApi } from '../../../cloud/api/api.ts'
import { postgresEvents } from '../../../cloud/api/reads/events-postgres.ts'
import { apiConfigSchema } from '../../../cloud/api/rules/settings.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { type PostgresServer, startPostgres } from '../../../dev/servers/postgres/postgres.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { appendAtOnce } from '../../support/cloud/history-appends.ts'
import {
  httpReader,
  portReader,
  positionReader,
  sqlReader,
  streamReader,
  type TestReader,
} from '../../support/cloud/history-readers.ts'
import { createDatabase } from '../../support/servers.ts'

/** Of the proof, 10000: docs/CONSUMERS.md says how it is run. */
const appends = Number(process.env['TIDEGATE_READER_APPENDS'] ?? 600)
const writers = 40
const timeoutMs = 60_000 + appends * 60

let folder: string
let second: PostgresServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-reader-'))
  chmodSync(folder, 0o711)
  second = await startPostgres({ dir: join(folder, 'second'), say: () => {} })
})
afterAll(async () => {
  await second.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Bench {
  database: Database
  socket: string
  close(): Promise<void>
}

/** A database with an API over it. */
async function benchOn(url: string, name: string): Promise<Bench> {
  const database = poolOf({ url, poolMax: 8, applicationName: 'test readers' })
  const surroundings = { clock: systemClock, log: silentLog }
  const events = postgresEvents(database, surroundings)
  const socket = join(folder, `${name}.sock`)
  const api = await startApi({
    ...surroundings,
    config: apiConfigSchema.parse({ socket }),
    files: { key: undefined, pair: undefined },
    parts: { reads: undefined as never, tokens: undefined as never, events },
    observer: { answered: () => {}, refused: () => {} },
    cutOff: new AbortController(),
  })
  return {
    database,
    socket,
    async close() {
      events.streams.close()
      await api.close()
      await database.close()
    },
  }
}

/** Reads for as long as there is writing; then `toTheEnd`, or leaves off in the middle. */
async function readDuring<T>(
  writing: Promise<T>,
  { readers, bench, toTheEnd }: { readers: readonly TestReader[]; bench: Bench; toTheEnd: boolean },
): Promise<T> {
  let isWritten = false
  const reading = readers.map(async (reader) => {
    for (;;) {
      const wasWritten = isWritten
      const came = await reader.step(bench.database, bench.socket)
      if (wasWritten && (came === 0 || !toTheEnd)) return
    }
  })
  try {
    return await writing
  } finally {
    isWritten = true
    await Promise.all(reading)
  }
}

function restore(from: string, to: string): void {
  const dumped = spawnSync('pg_dump', ['--no-owner', '--no-privileges', from], { maxBuffer: 2 ** 30 })
  expect([dumped.status, dumped.stderr.toString()]).toEqual([0, ''])
  const restored = spawnSync('psql', ['--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', to], {
    input: dumped.stdout,
    maxBuffer: 2 ** 30,
  })
  expect([restored.status, restored.stderr.toString()]).toEqual([0, ''])
}

describe('a reader of history', () => {
  test(
    'gets every event once, from SQL, the API, streams and the port, whatever is committed late or not at all, and goes on in a cluster that a dump was restored into; one by position alone skips (G4)',
    async () => {
      const url = await createDatabase()
      const owner = poolOf({ url, poolMax: 1, applicationName: 'test' })
      await migrated(owner)
      await owner.close()
      const readers = [sqlReader(), portReader(), httpReader(), streamReader()]
      const old = positionReader()
      const common = { count: appends / 2, writers, random: Math.random }

      const first = await benchOn(url, 'first')
      const before = await readDuring(appendAtOnce({ ...common, url, firstSequence: 0 }), {
        readers: [...readers, old],
        bench: first,
        toTheEnd: false,
      })
      while ((await old.step(first.database, first.socket)) > 0);
      await first.close()

      const restoredUrl = await second.createDatabase('restored')
      restore(url, restoredUrl)
      const there = await benchOn(restoredUrl, 'second')
      const early = portReader()
      while ((await early.step(there.database, there.socket)) > 0);
      expect(early.seen.toSorted()).toEqual([...before].toSorted())
      const after = await readDuring(appendAtOnce({ ...common, url: restoredUrl, firstSequence: appends }), {
        readers,
        bench: there,
        toTheEnd: true,
      })
      await there.close()

      const all = [...before, ...after].toSorted()
      for (const { name, seen } of readers) expect([name, seen.toSorted()]).toEqual([name, all])
      const seenByOld = new Set(old.seen)
      const skipped = [...before].filter((id) => !seenByOld.has(id))
      expect(skipped).not.toEqual([])
      console.info(
        `${appends} appends, ${all.length} events of them committed; by position alone ${skipped.length} of ${before.size} skipped`,
      )
    },
    timeoutMs,
  )
})
