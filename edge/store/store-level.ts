import { mkdir, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { AnsweredFile, readAnswered } from './answered-file.ts'
import { DirectLevel, levelStore } from './opened-level.ts'
import type { Repaired, Store, StoreFolder } from './store.ts'
import { removeLeftCopies } from './leveldb/copy.ts'
import { corrupt, failure, isDiskFull, isInTheWay, unavailable } from './leveldb/errors.ts'
import { countDamagedBlocks, examine, type Examination, fenceDamage } from './leveldb/folder.ts'
import { refuseIfLocked } from './leveldb/lock-level.ts'

/** LevelDB can abort the process on a damaged table; after this many unclean ends in a row all are checked. */
const uncleanEndsMax = 3

export interface LevelFolderOptions {
  /** Made if absent. Holds `db/` (LevelDB), `reserve` (space held back), `mark`, `answered`, `unclean`. */
  folder: string
  reserveBytes: number
  clock: Clock
  /** Check every block of every table before anything is read; else only after unclean ends. */
  checkTables?: boolean
}

/** A folder that holds one LevelDB. */
export function levelFolder(options: LevelFolderOptions): StoreFolder {
  return new LevelFolder(options)
}

class LevelFolder implements StoreFolder {
  readonly location: string
  readonly #reserveBytes: number
  readonly #clock: Clock
  readonly #checkTables: boolean
  readonly #location: string
  readonly #reserve: string
  readonly #markFile: string
  readonly #answeredFile: string
  readonly #uncleanFile: string
  readonly #repairedFile: string
  /** What the files said before this process repaired them. */
  #before: Pick<Examination, 'fault' | 'torn'> | undefined

  constructor({ folder, reserveBytes, clock, checkTables = false }: LevelFolderOptions) {
    this.location = folder
    this.#reserveBytes = reserveBytes
    this.#clock = clock
    this.#checkTables = checkTables
    this.#location = join(folder, 'db')
    this.#reserve = join(folder, 'reserve')
    this.#markFile = join(folder, 'mark')
    this.#answeredFile = join(folder, 'answered')
    this.#uncleanFile = join(folder, 'unclean')
    this.#repairedFile = join(folder, 'repaired')
  }

  async open(): Promise<Store> {
    const location = this.#location
    await prepare(this.location, location)
    await refuseIfLocked(location)
    const { fault, torn, tables } = await examine(location)
    if (fault !== undefined) throw corrupt(location, fault)
    await this.#countUncleanEnd(tables)
    // 16 MiB memtable: what is written and released within it is compacted in memory, and it is still replayed in well under a second.
    const level = new DirectLevel(location, { writeBufferSize: 16 << 20, cacheSize: 16 << 20 })
    try {
      await level.open()
    } catch (error) {
      await level.close().catch(() => {})
      throw failure(location, error)
    }
    await removeLeftCopies(location)
    return levelStore(level, location, {
      torn: torn ?? this.#before?.torn,
      answered: await this.#openAnswered(level),
      repaired: await this.#repaired(),
      accountedFor: () => {
        this.#before = undefined
        return rm(this.#repairedFile, { force: true })
      },
      closedInOrder: () => rm(this.#uncleanFile, { force: true }),
    })
  }

  async repair(why: string): Promise<void> {
    const location = this.#location
    await refuseIfLocked(location)
    try {
      await refuseWithoutRoom(location)
      this.#before = await examine(location)
      await replaceFile(this.#repairedFile, why)
      await fenceDamage(location)
      await ClassicLevel.repair(location)
      await rm(this.#uncleanFile, { force: true })
    } catch (error) {
      if (error instanceof TidegateError) throw error
      throw isInTheWay(error) ? failure(location, error) : corrupt(location, messageOf(error), error)
    }
  }

  async setAside(): Promise<string> {
    const stamp = new Date(this.#clock.now()).toISOString().replaceAll(':', '')
    for (let copy = 1; ; copy++) {
      const aside = join(this.location, `quarantined-${stamp}${copy === 1 ? '' : `-${copy}`}`)
      if (await stat(aside).catch(() => undefined)) continue
      await rename(this.#location, aside)
      this.#before = undefined
      return aside
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.location)
    return bavail * bsize - (this.#reserveBytes - (await sizeOf(this.#reserve)))
  }

  async spendReserve(): Promise<void> {
    await rm(this.#reserve, { force: true })
  }

  async restoreReserve(): Promise<void> {
    if (this.#reserveBytes === 0) return
    if ((await sizeOf(this.#reserve)) === this.#reserveBytes) return
    try {
      await writeZeros(this.#reserve, this.#reserveBytes)
    } catch (error) {
      await rm(this.#reserve, { force: true })
      if (!isDiskFull(error)) throw error
    }
  }

  writeMark(mark: string): Promise<void> {
    return replaceFile(this.#markFile, mark)
  }

  readMark(): Promise<string | undefined> {
    return readFile(this.#markFile, 'utf8').catch(() => undefined)
  }

  readAnswered(): Promise<{ word: string; newest: boolean } | undefined> {
    return readAnswered(this.#answeredFile)
  }

  usedBytes(): Promise<number> {
    return bytesOf(this.#location, () => true)
  }

  async #repaired(): Promise<Repaired | undefined> {
    const why = await readFile(this.#repairedFile, 'utf8').catch(() => undefined)
    // Of what another process repaired nobody knows what the files had said.
    return why === undefined ? undefined : { why, blind: this.#before?.fault !== undefined || !this.#before }
  }

  async #openAnswered(level: DirectLevel): Promise<AnsweredFile> {
    try {
      return await AnsweredFile.open(this.#answeredFile)
    } catch (error) {
      await level.close().catch(() => {})
      throw failure(this.#location, error)
    }
  }

  /** What begins now counts as an unclean end until it is closed in order; after too many all tables are checked. */
  async #countUncleanEnd(tables: string[]): Promise<void> {
    const location = this.#location
    const uncleanEnds = Number(await readFile(this.#uncleanFile, 'utf8').catch(() => 0))
    if (this.#checkTables || uncleanEnds >= uncleanEndsMax) {
      const blocks = await countDamagedBlocks(location, tables)
      if (blocks > 0) throw corrupt(location, `${blocks} blocks of its tables do not match their checksums`)
    }
    try {
      // Before, not after: opening alone can be what the process dies of, and LevelDB opens by itself once it is constructed.
      await replaceFile(this.#uncleanFile, String(uncleanEnds >= uncleanEndsMax ? 1 : uncleanEnds + 1))
    } catch (error) {
      throw failure(location, error)
    }
  }
}

/** Written, not truncated to size: a sparse file holds nothing back. */
async function writeZeros(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w')
  try {
    const zeros = Buffer.alloc(1 << 20)
    for (let left = bytes; left > 0; left -= zeros.length) {
      await file.write(zeros, 0, Math.min(left, zeros.length))
    }
  } finally {
    await file.close()
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
