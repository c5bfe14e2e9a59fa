import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { formatLock, type Lock, lockName, parseLock } from '../../src/schemas/lock.ts'

/** While it is there somebody adds to the folder. Names with a dot are left alone by whoever reads schemas. */
const busyName = `.${lockName}.busy`

/**
 * Does something to a folder of schemas while nobody else does. The folder is made, and is not there again if nothing was put into it.
 * @throws TidegateError `SCHEMA_FILE` somebody else is at it
 */
export async function alone<T>(root: string, change: () => Promise<T>): Promise<T> {
  const isNew = mkdirSync(root, { recursive: true }) !== undefined
  const busy = join(root, busyName)
  let file: number
  try {
    file = openSync(busy, 'wx')
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    throw unusable(
      `another tidegate schema add is at work in ${root}`,
      `try again when it has ended; if there is none, it was ended by force: delete ${busy}`,
    )
  }
  try {
    writeFileSync(file, `${process.pid}\n`)
    return await change()
  } finally {
    closeSync(file)
    rmSync(busy, { force: true })
    if (isNew) removeIfEmpty(root)
  }
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(error))) throw error
  }
}

/**
 * Puts a new file in its place: whole, on the disk, and over no other.
 * @throws TidegateError `SCHEMA_FILE` one of that name is there
 */
export function publishFile(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  const prepared = prepare(path, bytes)
  try {
    place(prepared, path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    throw unusable(`${path} has come to be there meanwhile`)
  } finally {
    rmSync(prepared, { force: true })
  }
  syncFolder(dirname(path))
}

/** A file system without links has at least a copy that overwrites nothing. */
function place(prepared: string, path: string): void {
  try {
    linkSync(prepared, path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw error
    copyFileSync(prepared, path, constants.COPYFILE_EXCL)
  }
}

/**
 * Puts files into the lock: it is there whole, or as before. It is read just now, for what a merge or an editor has made of it meanwhile.
 * @throws TidegateError `SCHEMA_FILE` it cannot be read any more, or has another digest of one of them
 */
export function publishInLock(root: string, added: Lock): void {
  const path = join(root, lockName)
  const { lock, faults } = parseLock(textOf(path))
  const other = [...added].find(([name, digest]) => (lock.get(name) ?? digest) !== digest)
  if (other) faults.push(`${lockName}: has another digest of ${other[0]} by now`)
  if (faults.length > 0) throw unusable(faults.join('; '))
  const prepared = prepare(path, Buffer.from(formatLock(new Map([...lock, ...added]))))
  renameSync(prepared, path)
  syncFolder(root)
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return ''
    throw error
  }
}

/** On the disk beside its place, under a name that is left alone. */
function prepare(path: string, bytes: Uint8Array): string {
  const prepared = join(dirname(path), `.${basename(path)}.new`)
  const file = openSync(prepared, 'w')
  try {
    writeFileSync(file, bytes)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return prepared
}

/** Where folders can be opened: Windows has them on the disk by itself. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const file = openSync(folder, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

export function unusable(
  message: string,
  hint = 'nothing was written; docs/SCHEMAS.md says what a schema may be and where its files lie',
): TidegateError {
  return new TidegateError('SCHEMA_FILE', { message, retryable: false, hint })
}
