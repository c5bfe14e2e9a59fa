import { mkdir, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Clock } from '../src/clock.ts'
import { messageOf, TidegateError } from '../src/errors.ts'
import type { Range, Store, StoreFolder } from './store.ts'

const chunkKeys = 4000

export interface LevelFolderOptions {
  /** Made if absent. Holds `db/` (LevelDB) and `reserve` (space held back). */
  folder: string
  reserveBytes: number
  clock: Clock
}

/** A folder that holds one LevelDB. */
export function levelFolder({ folder, reserveBytes, clock }: LevelFolderOptions): StoreFolder {
  const location = join(folder, 'db')
  const reserve = join(folder, 'reserve')
  const markFile = join(folder, 'mark')

  return {
    async open() {
      try {
        await mkdir(location, { recursive: true })
        // LevelDB reports "does not exist" and "permission denied" alike: probe first, for a clear error.
        const probe = join(folder, '.probe')
        await (await open(probe, 'w')).close()
        await rm(probe)
      } catch (cause) {
        if (isDiskFull(cause)) throw unavailable(location, cause)
        throw new TidegateError('DATA_FOLDER_UNWRITABLE', {
          message: `the data folder ${folder} cannot be written: ${messageOf(cause)}`,
          retryable: false,
          hint: `make it writable for this user (chown, chmod), or set dataDir to another folder`,
          cause,
        })
      }
      // 8 MiB memtable: fewer level-0 files under a steady stream, still replayed in well under a second.
      const level = new ClassicLevel(location, { writeBufferSize: 8 << 20, cacheSize: 16 << 20 })
      try {
        await level.open()
      } catch (error) {
        throw openFailure(location, error)
      }
      return levelStore(level, location)
    },
    repair: () => ClassicLevel.repair(location),
    async setAside() {
      const aside = join(folder, `quarantined-${new Date(clock.now()).toISOString().replaceAll(':', '')}`)
      await rename(location, aside)
      return aside
    },
    async freeBytes() {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    },
    async spendReserve() {
      await rm(reserve, { force: true })
    },
    async restoreReserve() {
      if (reserveBytes === 0) return
      const size = await stat(reserve).then(
        ({ size }) => size,
        () => 0,
      )
      if (size === reserveBytes) return
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
    async writeMark(mark) {
      await writeFile(`${markFile}.new`, mark)
      await rename(`${markFile}.new`, markFile)
    },
    readMark: () => readFile(markFile, 'utf8').catch(() => undefined),
    async usedBytes() {
      const names = await readdir(location)
      const sizes = await Promise.all(
        names.map((name) =>
          stat(join(location, name)).then(
            ({ size }) => size,
            () => 0,
          ),
        ),
      )
      return sizes.reduce((sum, size) => sum + size, 0)
    },
  }
}

function levelStore(level: ClassicLevel, location: string): Store {
  const guard = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (cause) {
      throw failure(location, cause)
    }
  }
  return {
    get: (key) => guard(level.get(key)),
    hasMany: (keys) => guard(level.hasMany(keys)),
    entries: ({ gte, lt }, limit) => guard(level.iterator({ gte, lt, limit }).all()),
    keys: (range) => keyChunks(level, range),
    write: (operations, { sync }) => guard(level.batch(operations, { sync })),
    clear: ({ gte, lt }) => guard(level.clear({ gte, lt })),
    close: () => level.close(),
  }
}

async function* keyChunks(level: ClassicLevel, { gte, lt }: Range): AsyncIterable<string[]> {
  const iterator = level.keys({ gte, lt })
  try {
    for (;;) {
      const keys = await iterator.nextv(chunkKeys)
      if (keys.length === 0) return
      yield keys
    }
  } finally {
    await iterator.close()
  }
}

function openFailure(location: string, error: unknown): TidegateError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (code === 'LEVEL_LOCKED' || /lock/i.test(messageOf(cause))) {
    return new TidegateError('OUTBOX_LOCKED', {
      message: `another process has the outbox ${location} open`,
      retryable: false,
      hint: 'stop the other gateway, or give this one its own dataDir',
      cause,
    })
  }
  // "does not exist": a table that the MANIFEST names; "Invalid argument": no CURRENT beside other files.
  return failure(location, cause, /does not exist|invalid argument/i)
}

function failure(location: string, error: unknown, damage?: RegExp): TidegateError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const text = messageOf(cause)
  if (isDiskFull(cause)) return unavailable(location, cause)
  if (
    code === 'LEVEL_CORRUPTION' ||
    /corrupt|checksum|missing files?|truncated/i.test(text) ||
    damage?.test(text)
  ) {
    return new TidegateError('STORE_CORRUPT', {
      message: `the outbox ${location} is damaged: ${text}`,
      retryable: false,
      hint: 'it is repaired at start; what cannot be repaired is set aside and counted',
      cause,
    })
  }
  return unavailable(location, cause)
}

function unavailable(location: string, cause: unknown): TidegateError {
  const detail = messageOf(cause)
  return new TidegateError('STORE_UNAVAILABLE', {
    message: `the outbox ${location} cannot be used: ${detail}`,
    retryable: true,
    hint: 'check the free space and the health of the disk; the gateway goes on by itself when it can write',
    cause,
  })
}

function isDiskFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ENOSPC' || code === 'EDQUOT' || /no space left|quota exceeded/i.test(messageOf(error))
}
