import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { blankDamagedRecords, scanLog, type TornBatch, tornBatch } from './log.ts'
import { checkTable, varint } from './tables.ts'

/** What a LevelDB folder says of itself, read without opening it. */
export interface Examination {
  /** Why LevelDB must not be let at it before it is repaired. */
  fault: string | undefined
  /** The newest write is not whole, and held so many operations at the most. */
  torn: TornBatch | undefined
  /** The tables that are in use: what a write or a compaction left unfinished lies beside them. */
  tables: string[]
}

/**
 * Looks for what LevelDB itself does not notice, or would make worse. Without CURRENT it begins a new database
 * and deletes the tables of the old one; behind the end of a shortened MANIFEST likewise; a missing log or a
 * shortened table it does not notice; and a damaged record in the middle of a log it passes over. Reads the
 * MANIFEST and the log (some 8 MiB) and asks for the sizes of the tables. Nobody may have the folder open.
 */
export async function examine(location: string): Promise<Examination> {
  const files = await readdir(location)
  const found: Examination = { fault: undefined, torn: undefined, tables: [] }
  if (!files.some(isData)) return found
  const current = await readFile(join(location, 'CURRENT'), 'latin1').catch(() => undefined)
  if (current === undefined) return { ...found, fault: 'CURRENT is missing' }
  const manifest = /^(MANIFEST-\d+)\n$/.exec(current)?.[1]
  if (manifest === undefined) return { ...found, fault: 'CURRENT is unreadable' }
  if (!files.includes(manifest)) return { ...found, fault: `${manifest} is missing` }
  const { tables, logNumber, damagedAt } = await readManifest(join(location, manifest))
  if (damagedAt !== undefined) return { ...found, fault: `${manifest} is damaged at byte ${damagedAt}` }
  for (const [number, size] of tables) {
    const name = [fileName(number, 'ldb'), fileName(number, 'sst')].find((name) => files.includes(name))
    if (name === undefined) return { ...found, fault: `${fileName(number, 'ldb')} is missing` }
    const about = await stat(join(location, name))
    if (!about.isFile() || about.size !== size) {
      return { ...found, fault: `${name} should have ${size} bytes and has ${about.size}` }
    }
    found.tables.push(name)
  }
  if (logNumber !== 0 && !files.includes(fileName(logNumber, 'log'))) {
    return { ...found, fault: `${fileName(logNumber, 'log')} is missing` }
  }
  const logs = files.filter((name) => name.endsWith('.log') && Number.parseInt(name, 10) >= logNumber)
  return { ...found, ...(await examineLogs(location, logs.toSorted())) }
}

/** How many blocks of these tables are damaged. Reads everything. */
export async function countDamagedBlocks(location: string, tables: readonly string[]): Promise<number> {
  let damaged = 0
  for (const name of tables) damaged += await checkTable(join(location, name), { blank: false })
  return damaged
}

/**
 * Makes the damaged parts of tables and logs such that LevelDB's repair passes over them and keeps the rest. What is
 * changed is a copy that takes the file's place: the file itself goes to `lost/`, where LevelDB puts what it cannot
 * use, and is never written to, because it may be part of somebody's copy.
 */
export async function fenceDamage(location: string): Promise<void> {
  const replace = async (name: string, fence: (path: string) => Promise<unknown>): Promise<void> => {
    const [path, fenced] = [join(location, name), join(location, `${name}.fenced`)]
    await copyFile(path, fenced)
    await fence(fenced)
    await sync(fenced)
    const kept = join(location, 'lost', `${name}.damaged`)
    await mkdir(dirname(kept), { recursive: true })
    await rm(kept, { force: true })
    await linkOrCopy(path, kept)
    await rename(fenced, path)
  }
  for (const name of await readdir(location)) {
    const path = join(location, name)
    if (!(await stat(path)).isFile()) continue
    if (isTable(name) && (await checkTable(path, { blank: false })) > 0) {
      await replace(name, (fenced) => checkTable(fenced, { blank: true }))
    } else if (name.endsWith('.log')) {
      const { tornAt, damagedAt } = await scanLog(path)
      if (damagedAt !== undefined || tornAt !== undefined) await replace(name, blankDamagedRecords)
    }
  }
}

/** A second name for a file, or a second file where the file system has no links. */
export async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(() => copyFile(from, to))
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function examineLogs(location: string, logs: string[]): Promise<Pick<Examination, 'fault' | 'torn'>> {
  let torn: Examination['torn']
  for (const name of logs) {
    const file = join(location, name)
    const state = await scanLog(file)
    if (state.damagedAt !== undefined) return { fault: `${name} is damaged at byte ${state.damagedAt}`, torn }
    if (state.tornAt === undefined) continue
    const batch = await tornBatch(file, state)
    torn = torn === undefined ? batch : { operationsMax: null }
  }
  return { fault: undefined, torn }
}

interface Manifest {
  /** Size of each live table, by number. */
  tables: Map<number, number>
  /** Lowest log that is still needed; 0: none was begun. */
  logNumber: number
  damagedAt: number | undefined
}

const tag = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  previousLog: 9,
}

/** Source: LevelDB, db/version_edit.cc. */
async function readManifest(file: string): Promise<Manifest> {
  const tables = new Map<number, number>()
  let logNumber = 0
  const { damagedAt } = await scanLog(file, (bytes) => {
    const reader = { at: 0, bytes }
    const skipText = (): void => {
      const length = varint(reader)
      reader.at += length
    }
    while (reader.at < bytes.length) {
      switch (varint(reader)) {
        case tag.comparator:
          skipText()
          break
        case tag.logNumber:
          logNumber = varint(reader)
          break
        case tag.nextFile:
        case tag.lastSequence:
        case tag.previousLog:
          varint(reader)
          break
        case tag.compactPointer:
          varint(reader)
          skipText()
          break
        case tag.deletedFile:
          varint(reader)
          tables.delete(varint(reader))
          break
        case tag.newFile: {
          varint(reader)
          const number = varint(reader)
          tables.set(number, varint(reader))
          skipText()
          skipText()
          break
        }
        default:
          return
      }
    }
  })
  return { tables, logNumber, damagedAt }
}

function fileName(number: number, extension: string): string {
  return `${String(number).padStart(6, '0')}.${extension}`
}

export function isTable(name: string): boolean {
  return /^\d+\.(ldb|sst)$/.test(name)
}

/** Whether a file is named as nobody but LevelDB names files. */
export function isLevelFile(name: string): boolean {
  return name === 'CURRENT' || /^MANIFEST-\d+$/.test(name) || isTable(name)
}

function isData(name: string): boolean {
  return isTable(name) || /^\d+\.log$/.test(name)
}
