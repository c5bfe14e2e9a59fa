import { copyFile, cp, link, mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { seededRandom } from '../../../dev/fleet/random.ts'
import type { Store, StoreOperation } from '../../../edge/store/store.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock } from '../../../src/clock.ts'
import { anyShare, cutsSeed as seed, draws } from '../../support/cuts.ts'

let home: string
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidegate-cuts-'))
})
afterEach(() => rm(home, { recursive: true, force: true }))

const openAt = (folder: string): Promise<Store> =>
  levelFolder({ folder, reserveBytes: 0, clock: systemClock }).open()

/** Where a batch ends: in which log, and at which byte of it. */
interface End {
  log: string
  at: number
}

const block = 32_768
const headerBytes = 7
const writeBuffer = 8 << 20
/** Of the value in a batch. With what is around it, records end before, at and behind the ends of blocks. */
const sizes = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  ...[1, 2, 3].map((blocks) => fc.integer({ min: blocks * block - 250, max: blocks * block + 10 })),
  fc.integer({ min: 1, max: 300_000 }),
)

/**
 * Whether nothing of a later batch lies before a cut: what is left of a block and has no room for a header is filled with zeros
 * when the next batch is written, and belongs to none (LevelDB, doc/log_format.md).
 */
const isEndOf = (cut: number, at: number): boolean =>
  at === cut || (cut % block === 0 && at < cut && cut - at < headerBytes)

const name = (batch: number): string => `b!${String(batch).padStart(3, '0')}`

/** Each batch puts two entries, says in `m` that it is the newest, and takes one entry of the batch before away. */
function operationsOf(batch: number, valueBytes: number): StoreOperation[] {
  return [
    { type: 'put', key: `${name(batch)}!first`, value: 'x'.repeat(valueBytes) },
    { type: 'put', key: `${name(batch)}!second`, value: String(valueBytes) },
    ...(batch === 0 ? [] : [{ type: 'del' as const, key: `${name(batch - 1)}!second` }]),
    { type: 'put', key: 'm', value: String(batch) },
  ]
}

/** Writes the batches into a new store, closes it, and says where each ends. */
async function history(folder: string, valueBytes: readonly number[], sync: boolean): Promise<End[]> {
  const store = await openAt(folder)
  const ends: End[] = []
  for (const [batch, bytes] of valueBytes.entries()) {
    await store.write(operationsOf(batch, bytes), { sync })
    const log = await newestLog(folder)
    ends.push({ log, at: (await stat(join(folder, 'db', log))).size })
  }
  await store.close()
  return ends
}

async function newestLog(folder: string): Promise<string> {
  const logs = (await readdir(join(folder, 'db'))).filter((file) => file.endsWith('.log'))
  return logs.toSorted().at(-1) ?? ''
}

/** Opens a copy whose log ends at `cut`, and says how many batches are there. */
async function reopened(
  folder: string,
  log: string,
  cut: number,
): Promise<{ batches: number; torn: boolean }> {
  const copy = await mkdtemp(join(home, 'cut-'))
  await cp(folder, copy, { recursive: true })
  await truncate(join(copy, 'db', log), cut)
  const store = await openAt(copy)
  try {
    const newest = await store.get('m')
    const batches = newest === undefined ? 0 : Number(newest) + 1
    const keys = await store.entries({ gte: 'b!', lt: 'b!~' }, 10_000)
    const expected = Array.from({ length: batches }, (_, batch) => [
      `${name(batch)}!first`,
      ...(batch === batches - 1 ? [`${name(batch)}!second`] : []),
    ]).flat()
    expect(keys.map(([key]) => key)).toEqual(expected)
    return { batches, torn: store.torn !== undefined }
  } finally {
    await store.close()
    await rm(copy, { recursive: true })
  }
}

describe(`a log of LevelDB that ends anywhere (seed ${seed})`, () => {
  const some = draws(5, 15_000)
  const drawn = fc.record({
    valueBytes: fc.array(sizes, { minLength: 1, maxLength: 12 }),
    sync: fc.boolean(),
    shares: fc.array(anyShare, { minLength: 12, maxLength: 12 }),
    beside: fc.integer({ min: 0, max: 20 }),
  })

  test(
    'holds each batch wholly or not at all, those that were whole, and none behind one that is missing (G1, G2)',
    async () => {
      let cuts = 0
      const property = fc.asyncProperty(drawn, async ({ valueBytes, sync, shares, beside }) => {
        const folder = await mkdtemp(join(home, 'history-'))
        const ends = await history(folder, valueBytes, sync)
        const { log, at: last } = ends.at(-1) as End
        const at = [
          ...shares.map((share) => Math.floor(share * last)),
          // Beside the ends of batches and of blocks, where headers and fragments meet.
          ...ends.map(({ at }) => Math.min(last, at + beside)),
          ...[1, 2, 3].map((blocks) => Math.min(last, blocks * block - beside)),
          last,
        ]
        for (const cut of new Set(at)) {
          const whole = ends.filter(({ at }) => at <= cut).length
          const { batches, torn } = await reopened(folder, log, cut)
          expect({ cut, batches }).toEqual({ cut, batches: whole })
          // In front of the first batch the adapter has written a record of its own.
          const cutShort = whole === 0 ? torn : !ends.some(({ at }) => isEndOf(cut, at))
          expect({ cut, torn }).toEqual({ cut, torn: cutShort })
          cuts += 1
        }
        await rm(folder, { recursive: true })
      })
      await fc.assert(property, { seed, numRuns: some.count, endOnFailure: true })
      expect(cuts).toBeGreaterThan(some.count * 3)
    },
    some.timeoutMs,
  )

  const few = draws(1, 60_000)
  test(
    'loses no batch that has filled the write buffer, and of one that is cut in it nothing remains (G1, G2)',
    async () => {
      const random = seededRandom(seed, 'write buffer')
      for (let run = 0; run < few.count; run++) {
        const folder = await mkdtemp(join(home, 'history-'))
        const more = Math.floor(random() * 2000) - 1000
        // LevelDB begins a new log with the write that finds the buffer filled.
        const ends = await history(folder, [writeBuffer + more, 50_000, writeBuffer - more, 50_000], true)
        const { log, at: last } = ends.at(-1) as End
        const earlier = ends.filter((end) => end.log !== log).length
        const first = ends[earlier] as End
        for (const cut of [0, first.at - 1, first.at, last - 1, last, Math.floor(random() * last)]) {
          const whole = ends.filter((end) => end.log === log && end.at <= cut).length
          expect(await reopened(folder, log, cut)).toMatchObject({ batches: earlier + whole })
        }
        await rm(folder, { recursive: true })
      }
    },
    few.timeoutMs,
  )

  test('a synced write makes those before it durable only in its own log: what was not synced at the end of the log before may be missing', async () => {
    const folder = join(home, 'switch')
    const store = await openAt(folder)
    const db = join(folder, 'db')
    const manifest = (await readdir(db)).find((file) => file.startsWith('MANIFEST')) as string
    const kept = join(home, 'kept')
    await cp(folder, kept, { recursive: true })
    const put = (key: string, bytes: number, sync: boolean): Promise<void> =>
      store.write([{ type: 'put', key, value: 'x'.repeat(bytes) }], { sync })
    for (let round = 0; ; round++) {
      await put(`s!${round}`, 10, true)
      const log = await newestLog(folder)
      const syncedTo = (await stat(join(db, log))).size
      await copyFile(join(db, manifest), join(kept, 'db', manifest))
      await rm(join(kept, 'db', log), { force: true })
      await link(join(db, log), join(kept, 'db', log))
      // Not synced, and what fills the write buffer: the next write goes to another log.
      await put(`u!${round}`, 100_000, false)
      await put('next', 10, true)
      const next = await newestLog(folder)
      if (next === log) continue
      await copyFile(join(db, next), join(kept, 'db', next))
      await store.close()
      // The power fails before LevelDB has written the first log's entries to a table.
      const end = (await stat(join(kept, 'db', log))).size
      const found = async (cut: number): Promise<object> => {
        const copy = await mkdtemp(join(home, 'cut-'))
        await cp(kept, copy, { recursive: true })
        await truncate(join(copy, 'db', log), cut)
        const store = await openAt(copy)
        const has = await store.hasMany([`s!${round}`, `u!${round}`, 'next'])
        await store.close()
        return { has, torn: store.torn !== undefined }
      }
      expect(await found(end)).toEqual({ has: [true, true, true], torn: false })
      expect(await found(syncedTo)).toEqual({ has: [true, false, true], torn: false })
      expect(await found(end - 1)).toEqual({ has: [true, false, true], torn: true })
      return
    }
  })
})
