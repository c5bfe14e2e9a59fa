import { mkdir, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { Store, StoreFolder, StoreOperation } from './store.ts'
import { removeLeftCopies } from './leveldb/copy.ts'
import { corrupt, failure, isDiskFull, isInTheWay, unavailable } from './leveldb/errors.ts'
import { countDamagedBlocks, examine, fenceDamage } from './leveldb/folder.ts'
import { refuseIfLocked } from './leveldb/lock-level.ts'

const chunkKeys = 4000
const chunkEntries = 1000
/** Read by one trip to LevelDB's thread; with its default of 16 KiB, reading 500 events takes twenty. */
const highWaterMarkBytes = 1 << 20
/** LevelDB can abort the process on a damaged table; after this many unclean ends in a row all are checked. */
const uncleanEndsMax = 3

export interface LevelFolderOptions {
  /** Made if absent. Holds `db/` (LevelDB), `reserve` (space held back), `mark`, `unclean`. */
  folder: string
  reserveBytes: number
  clock: Clock
  /** Check every block of every table before anything is read; else only after unclean ends. */
  checkTables?: boolean
}

/** A folder that holds one LevelDB. */
export function levelFolder(options: LevelFolderOptions): StoreFolder {
  const { folder, reserveBytes, clock, checkTables = false } = options
  const location = join(folder, 'db')
  const reserve = join(folder, 'reserve')
  const markFile = join(folder, 'mark')
  const uncleanFile = join(folder, 'unclean')
  const repairedFile = join(folder, 'repaired')

  return {
    async open() {
      await prepare(folder, location)
      await refuseIfLocked(location)
      const { fault, torn, tables } = await examine(location)
      if (fault !== undefined) throw corrupt(location, fault)
      const uncleanEnds = Number(await readFile(uncleanFile, 'utf8').catch(() => 0))
      if (checkTables || uncleanEnds >= uncleanEndsMax) {
        const blocks = await countDamagedBlocks(location, tables)
        if (blocks > 0) throw corrupt(location, `${blocks} blocks of its tables do not match their checksums`)
      }
      try {
        // Before, not after: opening alone can be what the process dies of, and it begins by itself once there is a level.
        await replaceFile(uncleanFile, String(uncleanEnds >= uncleanEndsMax ? 1 : uncleanEnds + 1))
      } catch (error) {
        throw failure(location, error)
      }
      // 8 MiB memtable: fewer level-0 files under a steady stream, still replayed in well under a second.
      const level = new DirectLevel(location, { writeBufferSize: 8 << 20, cacheSize: 16 << 20 })
      try {
        await level.open()
      } catch (error) {
        await level.close().catch(() => {})
        throw failure(location, error)
      }
      await removeLeftCopies(location)
      const repaired = await readFile(repairedFile, 'utf8').catch(() => undefined)
      return levelStore(level, location, {
        torn,
        repaired,
        accountedFor: () => rm(repairedFile, { force: true }),
        closedInOrder: () => rm(uncleanFile, { force: true }),
      })
    },
    async repair(why) {
      await refuseIfLocked(location)
      try {
        await refuseWithoutRoom(location)
        await replaceFile(repairedFile, why)
        await fenceDamage(location)
        await ClassicLevel.repair(location)
        await rm(uncleanFile, { force: true })
      } catch (error) {
        if (error instanceof TidegateError) throw error
        throw isInTheWay(error) ? failure(location, error) : corrupt(location, messageOf(error), error)
      }
    },
    async setAside() {
      const stamp = new Date(clock.now()).toISOString().replaceAll(':', '')
      for (let copy = 1; ; copy++) {
        const aside = join(folder, `quarantined-${stamp}${copy === 1 ? '' : `-${copy}`}`)
        if (await stat(aside).catch(() => undefined)) continue
        await rename(location, aside)
        return aside
      }
    },
    async freeBytes() {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize - (reserveBytes - (await sizeOf(reserve)))
    },
    async spendReserve() {
      await rm(reserve, { force: true })
    },
    async restoreReserve() {
      if (reserveBytes === 0) return
      if ((await sizeOf(reserve)) === reserveBytes) return
      try {
        // Written, not truncated to size: a sparse file holds nothing back.
        const file = await open(reserve, 'w')
        try {
          const zeros = Buffer.alloc(1 << 20)
          for (let left = reserveBytes; left > 0; left -= zeros.length) {
            await file.write(zeros, 0, Math.min(left, zeros.length))
          }
        } finally {
          await file.close()
        }
      } catch (error) {
        await rm(reserve, { force: true })
        if (!isDiskFull(error)) throw error
      }
    },
    writeMark: (mark) => replaceFile(markFile, mark),
    readMark: () => readFile(markFile, 'utf8').catch(() => undefined),
    usedBytes: () => bytesOf(location, () => true),
  }
}

/** The old content or the new, whenever the process dies. */
async function replaceFile(file: string, content: string): Promise<void> {
  await writeFile(`${file}.new`, content)
  await rename(`${file}.new`, file)
}

async function prepare(folder: string, location: string): Promise<void> {
  try {
    await mkdir(location, { recursive: true })
    // LevelDB reports "does not exist" and "permission denied" alike: probe first, for a clear error.
    const probe = join(folder, '.probe')
    await (await open(probe, 'w')).close()
    await rm(probe)
  } catch (cause) {
    if (isDiskFull(cause)) throw unavailable(location, cause)
    // A file stands where the database belongs: it can be set aside. One further up is not ours to move.
    if (codeOf(cause) === 'EEXIST') throw corrupt(location, `${location} is not a folder`, cause)
    throw new TidegateError('DATA_FOLDER_UNWRITABLE', {
      message: `the data folder ${folder} cannot be written: ${messageOf(cause)}`,
      retryable: false,
      hint: `make it writable for this user (chown, chmod), or set dataDir to another folder`,
      cause,
    })
  }
}

/** Repairing writes logs, and tables that have damage, anew; on a full disk it would only lose more. */
async function refuseWithoutRoom(location: string): Promise<void> {
  const { bavail, bsize } = await statfs(location)
  const neededBytes = 2 * (await bytesOf(location, (name) => name.endsWith('.log'))) + (8 << 20)
  if (bavail * bsize >= neededBytes) return
  throw unavailable(location, new Error(`its repair needs ${neededBytes} bytes of free disk`))
}

async function bytesOf(location: string, wanted: (name: string) => boolean): Promise<number> {
  const names = (await readdir(location)).filter(wanted)
  const sizes = await Promise.all(names.map((name) => sizeOf(join(location, name))))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** 0 if there is no such file. */
function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  )
}

interface Opened {
  torn: boolean
  repaired: string | undefined
  /** The first write after a repair has landed. */
  accountedFor(): Promise<void>
  closedInOrder(): Promise<void>
}

/** Tells an error of LevelDB's as one of ours. */
type Guard = <T>(work: Promise<T>) => Promise<T>

/** What abstract-level asks of every implementation; its types leave it out. */
interface Implementation {
  _batch(operations: StoreOperation[], options: { sync: boolean }): Promise<void>
}

/**
 * abstract-level's `batch` copies every operation, asks for hooks and translates encodings: more work than all of
 * ours for an event. Keys and values are UTF-8 strings already, which is what LevelDB's binding takes.
 */
class DirectLevel extends ClassicLevel {
  async write(operations: StoreOperation[], options: { sync: boolean }): Promise<void> {
    // The binding trusts its caller that the database is open.
    if (this.status !== 'open') throw new Error('the database is not open')
    await (this as unknown as Implementation)._batch(operations, options)
  }
}

function levelStore(level: DirectLevel, location: string, opened: Opened): Store {
  let failed = false
  let unaccounted = opened.repaired !== undefined
  const guard: Guard = async (work) => {
    try {
      return await work
    } catch (cause) {
      failed = true
      throw failure(location, cause)
    }
  }
  return {
    torn: opened.torn,
    repaired: opened.repaired,
    get: (key) => guard(level.get(key)),
    hasMany: (keys) => guard(level.hasMany(keys)),
    entries: ({ gte, lt }, limit) => guard(level.iterator({ gte, lt, limit, highWaterMarkBytes }).all()),
    snapshot() {
      const snapshot = level.snapshot()
      return {
        get: (key) => guard(level.get(key, { snapshot })),
        entries: ({ gte, lt }, limit) =>
          guard(level.iterator({ gte, lt, limit, snapshot, highWaterMarkBytes }).all()),
        keys: ({ gte, lt }) =>
          inChunks(() => level.keys({ gte, lt, snapshot, highWaterMarkBytes }), chunkKeys, guard),
        chunks: ({ gte, lt }) =>
          inChunks(() => level.iterator({ gte, lt, snapshot, highWaterMarkBytes }), chunkEntries, guard),
        close: () => snapshot.close(),
      }
    },
    chunks: ({ gte, lt }) =>
      inChunks(() => level.iterator({ gte, lt, highWaterMarkBytes }), chunkEntries, guard),
    keys: ({ gte, lt }) => inChunks(() => level.keys({ gte, lt, highWaterMarkBytes }), chunkKeys, guard),
    async write(operations, { sync }) {
      await guard(level.write(operations, { sync }))
      if (!unaccounted) return
      unaccounted = false
      await opened.accountedFor()
    },
    clear: ({ gte, lt }) => guard(level.clear({ gte, lt })),
    async close() {
      await level.close()
      if (!failed) await opened.closedInOrder()
    },
  }
}

/**
 * One iterator for all of it: each keeps what it read last until its JavaScript side is collected, which says nothing
 * of how much that is. Reading a backlog with an iterator for every thousand entries kept all of it in memory.
 */
async function* inChunks<T>(
  begin: () => { nextv(size: number): Promise<T[]>; close(): Promise<void> },
  size: number,
  guard: Guard,
): AsyncIterable<T[]> {
  const iterator = begin()
  try {
    for (;;) {
      const chunk = await guard(iterator.nextv(size))
      if (chunk.length === 0) return
      yield chunk
    }
  } finally {
    await iterator.close()
  }
}
