import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Store, StoreFolder } from '../../../edge/store/store.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock } from '../../../src/clock.ts'
import { obtainClients } from '../../support/packages.ts'
import { type SystemCall, traced } from '../../support/trace.ts'

// What LevelDB asks of the kernel, as the kernel sees it: strace watches this process.
beforeAll(() => obtainClients('strace'), 120_000)

let home: string
let folder: StoreFolder
let store: Store
let marks: number
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidegate-sync-'))
  folder = levelFolder({ folder: home, reserveBytes: 0, clock: systemClock })
  store = await folder.open()
  marks = openSync(join(home, 'marks'), 'a')
})
afterEach(async () => {
  closeSync(marks)
  await store.close()
  await rm(home, { recursive: true, force: true })
})

const calls = ['write', 'fdatasync', 'fsync']

/** Writes one batch, and says in the trace when its promise has resolved. */
async function write(key: string, value: string, sync: boolean): Promise<void> {
  await store.write([{ type: 'put', key, value }], { sync })
  writeSync(marks, `answered ${key}.`)
}

/** How often the log was synced between the write that holds `key` and the answer to it. */
function syncsBetween(trace: readonly SystemCall[], key: string): number {
  const written = trace.findIndex(
    ({ name, path, text }) => name === 'write' && path.endsWith('.log') && text.includes(key),
  )
  const answered = trace.findIndex(({ text }) => text.includes(`answered ${key}.`))
  expect(written).toBeGreaterThanOrEqual(0)
  expect(answered).toBeGreaterThan(written)
  return trace.slice(written, answered).filter(isSyncOfLog).length
}

function isSyncOfLog({ name, path, result }: SystemCall): boolean {
  return /^f(data)?sync$/.test(name) && path.endsWith('.log') && result === 0
}

test.each([
  ['as small as a head record', 200],
  ['over a block of the log', 40_000],
  ['over the write buffer', 9 << 20],
])(
  'a synced write is answered after its log was synced, and an unsynced one without: %s (G1)',
  async (_, bytes) => {
    const value = 'v'.repeat(bytes)
    const trace = await traced({ calls }, async () => {
      for (let round = 0; round < 3; round++) {
        await write(`synced-${round}`, value, true)
        await write(`unsynced-${round}`, value, false)
      }
    })
    for (let round = 0; round < 3; round++) {
      expect(syncsBetween(trace, `synced-${round}`)).toBeGreaterThan(0)
      expect(syncsBetween(trace, `unsynced-${round}`)).toBe(0)
    }
  },
)

test('a synced write that LevelDB puts into one record with unsynced ones is synced (G1)', async () => {
  const keys = Array.from({ length: 200 }, (_, index) => ({
    key: `${index % 3 === 0 ? 'synced' : 'unsynced'}-${String(index).padStart(3, '0')}`,
    sync: index % 3 === 0,
  }))
  const trace = await traced({ calls }, async () => {
    // Four threads write at a time: those that wait for one another share a record of the log.
    await Promise.all(keys.map(({ key, sync }) => write(key, 'x', sync)))
  })
  const log = trace.filter(({ name, path }) => name === 'write' && path.endsWith('.log'))
  expect(log.length).toBeLessThan(keys.length)
  for (const { key } of keys.filter(({ sync }) => sync)) {
    const answered = trace.findIndex(({ text }) => text.includes(`answered ${key}.`))
    const written = trace.findIndex(({ path, text }) => path.endsWith('.log') && text.includes(key))
    expect(written).toBeGreaterThanOrEqual(0)
    expect(trace.slice(written, answered).some(isSyncOfLog)).toBe(true)
  }
})

test('a sync that fails is told, and nothing is taken behind it until the store is opened anew (G1)', async () => {
  await write('before', 'x', true)
  await traced({ calls: ['fdatasync'], inject: 'fdatasync:error=EIO' }, async () => {
    await expect(write('failed', 'x', true)).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })
  // The disk is well again. Whether LevelDB's log holds what could not be synced is unknown: it takes nothing behind it.
  await expect(write('behind', 'x', true)).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  await store.close()
  store = await folder.open()
  expect(await store.hasMany(['before', 'behind'])).toEqual([true, false])
})
