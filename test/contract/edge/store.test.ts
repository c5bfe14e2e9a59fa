import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Store, StoreFolder } from '../../../edge/store/store.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock } from '../../../src/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

const closers: (() => Promise<unknown>)[] = []

const folders: Record<string, () => Promise<StoreFolder>> = {
  'on LevelDB': async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidegate-store-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    return levelFolder({ folder, reserveBytes: 1 << 16, clock: systemClock })
  },
  'on a simulated disk': async () => new SimulatedDisk(),
}

describe.each(Object.entries(folders))('a store %s', (_, makeFolder) => {
  let folder: StoreFolder
  let store: Store

  beforeEach(async () => {
    folder = await makeFolder()
    store = await folder.open()
  })
  afterEach(async () => {
    await store.close()
    for (const close of closers.splice(0).toReversed()) await close()
  })

  function put(...entries: [key: string, value: string][]): Promise<void> {
    const operations = entries.map(([key, value]) => ({ type: 'put' as const, key, value }))
    return store.write(operations, { sync: true })
  }

  test('reads what was written, also in a later life', async () => {
    await put(['a', 'eins'], ['b', 'zwei · 二'])
    expect(await store.get('b')).toBe('zwei · 二')
    await store.close()
    store = await folder.open()
    expect(await store.get('a')).toBe('eins')
    expect(await store.get('c')).toBeUndefined()
    expect(await store.hasMany(['a', 'c', 'b'])).toEqual([true, false, true])
  })

  test('holds nothing that was not written to it, however often it is opened', async () => {
    await store.close()
    store = await folder.open()
    expect(await store.entries({ gte: '', lt: '~' }, 10)).toEqual([])
  })

  test('takes the later of two operations on a key in one write', async () => {
    await store.write(
      [
        { type: 'put', key: 'k', value: 'first' },
        { type: 'del', key: 'k' },
        { type: 'put', key: 'k', value: 'last' },
      ],
      { sync: false },
    )
    expect(await store.get('k')).toBe('last')
  })

  test('keeps keys in the order of their bytes and ranges without their end', async () => {
    await put(['k~', '4'], ['k!2', '2'], ['k!1', '1'], ['kA', '3'])
    expect(await store.entries({ gte: 'k!', lt: 'k~' }, 10)).toEqual([
      ['k!1', '1'],
      ['k!2', '2'],
      ['kA', '3'],
    ])
    expect(await store.entries({ gte: 'k!', lt: 'k~' }, 2)).toHaveLength(2)
  })

  test('reads no more at once than about as many bytes as are asked for, and at least one entry', async () => {
    await put(
      ...Array.from({ length: 20 }, (_, index): [string, string] => [`k${index + 10}`, 'x'.repeat(1000)]),
    )
    const snapshot = store.snapshot()
    for (const reader of [store, snapshot]) {
      const read = await reader.entries({ gte: 'k', lt: 'k~' }, 20, 5000)
      expect(read.map(([key]) => key)).toEqual(
        Array.from({ length: read.length }, (_, index) => `k${index + 10}`),
      )
      expect(read.length).toBeGreaterThanOrEqual(4)
      expect(read.length).toBeLessThanOrEqual(7)
      expect(await reader.entries({ gte: 'k', lt: 'k~' }, 20, 1)).toHaveLength(1)
    }
    await snapshot.close()
  })

  test('tells entries in chunks as they were when they were asked for, and when a snapshot was taken', async () => {
    const names = Array.from({ length: 2500 }, (_, index) => `k${String(index).padStart(5, '0')}`)
    await put(...names.map((name): [string, string] => [name, `value of ${name}`]))
    const snapshot = store.snapshot()
    for (const reader of [store, snapshot]) {
      const told: string[] = []
      let chunks = 0
      for await (const chunk of reader.chunks({ gte: 'k', lt: 'k~' })) {
        if (chunks === 0) await put([`k9999${told.length}`, 'later'])
        chunks += 1
        for (const [key, value] of chunk) {
          expect(value).toBe(`value of ${key}`)
          told.push(key)
        }
      }
      expect(told).toEqual(names)
      await store.clear({ gte: 'k9', lt: 'k~' })
    }
    // Who has seen enough leaves nothing open that would keep it from being closed.
    for await (const chunk of store.chunks({ gte: 'k', lt: 'k~' })) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    await snapshot.close()
  })

  test('clears a range and nothing beside it', async () => {
    await put(['a', '1'], ['b!1', '2'], ['b!2', '3'], ['c', '4'])
    await store.clear({ gte: 'b!', lt: 'b!~' })
    expect(await store.hasMany(['a', 'b!1', 'b!2', 'c'])).toEqual([true, false, false, true])
  })

  test('lets one in at a time', async () => {
    await expect(folder.open()).rejects.toMatchObject({ code: 'OUTBOX_LOCKED', retryable: false })
  })

  test('fails as unavailable once it is closed', async () => {
    await store.close()
    await expect(put(['a', '1'])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', retryable: true })
  })

  test('keeps a mark beside it that outlives the store', async () => {
    expect(await folder.readMark()).toBeUndefined()
    await folder.writeMark('one')
    await folder.writeMark('two')
    await store.close()
    await folder.setAside()
    store = await folder.open()
    expect(await folder.readMark()).toBe('two')
  })

  test('keeps the word noted last beside it, for as long as the machine is on (G1)', async () => {
    expect(await folder.readAnswered()).toBeUndefined()
    await store.noteAnswered('one', { sync: true })
    await store.noteAnswered('two', { sync: false })
    expect(await folder.readAnswered()).toEqual({ word: 'two', newest: true })
    await store.close()
    store = await folder.open()
    expect(await folder.readAnswered()).toEqual({ word: 'two', newest: true })
  })

  test('set aside leaves an empty store in its place', async () => {
    await put(['a', '1'])
    await store.close()
    await folder.setAside()
    store = await folder.open()
    expect(await store.get('a')).toBeUndefined()
  })

  test('repaired keeps what it holds', async () => {
    await put(['a', '1'], ['b', '2'])
    await store.close()
    await folder.repair('a test asked for it')
    store = await folder.open()
    expect(await store.hasMany(['a', 'b'])).toEqual([true, true])
  })
})
