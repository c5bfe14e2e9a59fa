import { copyFile, mkdir, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { codeOf } from '../../../src/errors.ts'
import { besides, type Scratch } from './scratch.ts'
import { isTable, linkOrCopy } from './folder.ts'
import { refuseIfLocked } from './lock-level.ts'

/** What lies beside the store and says in what state it is. */
const marks = ['mark', 'answered', 'unclean', 'repaired']

/**
 * Copies the LevelDB in `location`, and returns the folder that holds the copy as its `db`. It lies on the same disk:
 * tables are never written to again once they are there, so a link to each is a copy; the rest is some megabytes.
 * Nobody may have it open.
 */
export async function copyBeside(location: string, scratch: Scratch): Promise<string> {
  const home = dirname(location)
  const folder = await scratch.make(`${besides(location)}${process.pid}-`)
  try {
    await copyFiles(location, join(folder, 'db'), (name) => !/^LO(CK|G|G\.old)$/.test(name))
    // What lies beside a store that was set aside belongs to its successor.
    if (basename(location) === 'db') await copyFiles(home, folder, (name) => marks.includes(name))
    return folder
  } catch (error) {
    await scratch.remove(folder)
    throw error
  }
}

/**
 * Removes the copies of a store that their makers were killed over. A copy that is open is locked, also by a process
 * of another container, of which there is no other way to tell; one that is still being made or checked is known by
 * the process that does so.
 */
export async function removeLeftCopies(location: string): Promise<void> {
  const home = dirname(location)
  for (const name of await readdir(home)) {
    const folder = join(home, name)
    if (!folder.startsWith(besides(location))) continue
    const [, pid] = /^(\d+)-.{6}$/.exec(folder.slice(besides(location).length)) ?? []
    if (pid === undefined || isAlive(Number(pid))) continue
    try {
      await refuseIfLocked(join(folder, 'db'))
      await rm(folder, { recursive: true })
    } catch {
      // It is in use, or another user's.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) !== 'ESRCH'
  }
}

async function copyFiles(from: string, to: string, wanted: (name: string) => boolean): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isFile() || !wanted(entry.name)) continue
    const [original, copy] = [join(from, entry.name), join(to, entry.name)]
    await (isTable(entry.name) ? linkOrCopy(original, copy) : copyFile(original, copy))
  }
}
