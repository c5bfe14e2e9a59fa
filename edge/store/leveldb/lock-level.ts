import { open, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { codeOf } from '../../../src/errors.ts'
import { besides, type Scratch } from './scratch.ts'
import { failure } from './errors.ts'

/**
 * LevelDB takes its lock before it looks at anything, so asking for a database that is there and must not be, or
 * must be and is not, always fails, and says by how whether another process has it. Its repair does not look at
 * the lock at all. @throws TidegateError `OUTBOX_LOCKED`
 */
export async function refuseIfLocked(location: string): Promise<void> {
  const level = new ClassicLevel(location, { createIfMissing: false, errorIfExists: true })
  try {
    await level.open()
  } catch (error) {
    const refusal = failure(location, error)
    if (refusal.code === 'OUTBOX_LOCKED') throw refusal
  }
  await level.close().catch(() => {})
}

/**
 * Does `work` while no other process can open the LevelDB in `location`, which is not touched: even to try to open
 * it would begin its info log anew. The lock is on the file whatever path leads to it, so an empty database beside it
 * holds it by a symbolic link.
 *
 * Not for a process that has this database open: against itself a lock does not hold, and letting go of one lets go
 * of both.
 * @throws TidegateError `OUTBOX_LOCKED`; Node's own error if this user may not write to the lock
 */
export async function whileNobodyHas<T>(
  location: string,
  scratch: Scratch,
  work: () => Promise<T>,
): Promise<T> {
  const lock = join(location, 'LOCK')
  // LevelDB leaves it behind: where there is none, nobody has it open.
  if (!(await mayBeLocked(lock))) return work()
  const holder = await scratch.make(`${besides(location)}${process.pid}-`)
  try {
    await symlink(resolve(lock), join(holder, 'LOCK'))
    const level = new ClassicLevel(holder)
    await level.open().catch((error: unknown) => {
      throw failure(location, error)
    })
    try {
      return await work()
    } finally {
      await level.close()
    }
  } finally {
    await scratch.remove(holder)
  }
}

/** false: there is no such file. LevelDB says nothing of use about one that this user may not write. */
async function mayBeLocked(lock: string): Promise<boolean> {
  try {
    await (await open(lock, 'r+')).close()
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}
