import { open, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { messageOf, TidegateError } from '../../../src/errors.ts'

/** Held by one audit at a time, from reading the marks until they are replaced. */
export interface MarksLock {
  /** Another one may have taken it for a leftover. @throws TidegateError `MARKS_LOCKED` */
  confirm(): Promise<void>
  /** Idempotent. */
  release(): Promise<void>
}

/**
 * `FILE.lock`, which names who holds it. One whose process is gone, on this host, is a leftover of a crash, and is taken over.
 * @throws TidegateError `MARKS_LOCKED`
 */
export async function lockMarks(file: string): Promise<MarksLock> {
  const lock = `${file}.lock`
  const mine = `${process.pid} ${hostname()} ${process.hrtime.bigint()}\n`
  for (let isLeftover = false; ;) {
    try {
      const handle = await open(lock, 'wx')
      try {
        await handle.writeFile(mine)
      } finally {
        await handle.close()
      }
      break
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw unlockable(lock, messageOf(cause), cause)
      const holder = await readHolder(lock)
      if (isLeftover || !(await isGone(holder))) throw unlockable(lock, `it is held by ${holder.trim()}`)
      await rm(lock, { force: true })
      isLeftover = true
    }
  }
  const isMine = async (): Promise<boolean> => (await readHolder(lock)) === mine
  return {
    async confirm() {
      if (!(await isMine())) throw unlockable(lock, 'another audit has taken it')
    },
    async release() {
      if (await isMine()) await rm(lock, { force: true })
    },
  }
}

async function readHolder(lock: string): Promise<string> {
  return await readFile(lock, 'utf8').catch(() => '')
}

/** Of another host nothing is known. */
async function isGone(holder: string): Promise<boolean> {
  const [pid, host] = holder.split(' ')
  if (host !== hostname() || !/^\d+$/.test(pid ?? '')) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

function unlockable(lock: string, why: string, cause?: unknown): TidegateError {
  return new TidegateError('MARKS_LOCKED', {
    message: `the marks cannot be locked by ${lock}: ${why.split('\n')[0] ?? ''}`,
    retryable: true,
    hint: 'wait until the other audit has ended; if none is at work, remove that file',
    cause,
  })
}
