import { link, open, readFile, rename, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'

/** Held by one change of a file of users at a time, from reading it until it is replaced. */
export interface UsersLock {
  /** Another one may have taken it for a leftover. @throws TidegateError `USERS_LOCKED` */
  confirm(): Promise<void>
  /** Idempotent. */
  release(): Promise<void>
}

const lookEveryMs = 50
const waitMsMax = 10_000

/**
 * `FILE.lock`, which names who holds it; waits for its turn. One whose process is gone, on this host, is a leftover of a crash, and is taken over.
 * @throws TidegateError `USERS_LOCKED` | `USERS_UNWRITABLE`
 */
export async function lockUsers(
  file: string,
  clock: Pick<Clock, 'monotonicMs' | 'sleep'>,
): Promise<UsersLock> {
  const lock = `${file}.lock`
  const mine = `${process.pid} ${hostname()} ${process.hrtime.bigint()}\n`
  const untilMs = clock.monotonicMs() + waitMsMax
  while (!(await taken(lock, mine))) {
    const holder = await readHolder(lock)
    if (isGone(holder)) await removeLeftover(lock, holder, mine)
    else if (clock.monotonicMs() > untilMs) throw locked(lock, `it is held by ${holder.trim()}`)
    else await clock.sleep(lookEveryMs)
  }
  const isMine = async (): Promise<boolean> => (await readHolder(lock)) === mine
  return {
    async confirm() {
      if (!(await isMine())) throw locked(lock, 'another change has taken it')
    },
    async release() {
      if (await isMine()) await rm(lock, { force: true })
    },
  }
}

async function taken(lock: string, mine: string): Promise<boolean> {
  try {
    const handle = await open(lock, 'wx', 0o600)
    try {
      await handle.writeFile(mine)
    } finally {
      await handle.close()
    }
    return true
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false
    throw unwritable(lock, cause)
  }
}

/**
 * Two may find the same leftover, and one of them have a lock of its own in that place by now: so what is taken away is looked at before it is
 * removed, under a name that nobody else has, and put back if it is somebody's.
 */
export async function removeLeftover(lock: string, leftover: string, mine: string): Promise<void> {
  const aside = `${lock}.${mine.trim().replace(/[^\w.-]+/g, '-')}`
  try {
    await rename(lock, aside)
  } catch (error) {
    // Another one was faster.
    if (codeOf(error) === 'ENOENT') return
    throw unwritable(lock, error)
  }
  // Where there is another one already, this one's `confirm` says so.
  if ((await readHolder(aside)) !== leftover) await link(aside, lock).catch(() => {})
  await rm(aside, { force: true })
}

function unwritable(lock: string, cause: unknown): TidegateError {
  return new TidegateError('USERS_UNWRITABLE', {
    message: `${lock} cannot be written: ${messageOf(cause)}`,
    retryable: false,
    hint: 'its folder must be there and be writable by this user: run it as the user that the gateway runs as, or as root',
    cause,
  })
}

async function readHolder(lock: string): Promise<string> {
  return await readFile(lock, 'utf8').catch(() => '')
}

/** Of another host nothing is known, nor of one that has not written its name yet. */
function isGone(holder: string): boolean {
  const [pid, host] = holder.split(' ')
  if (host !== hostname() || !/^\d+$/.test(pid ?? '')) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return codeOf(error) === 'ESRCH'
  }
}

function locked(lock: string, why: string): TidegateError {
  return new TidegateError('USERS_LOCKED', {
    message: `the devices cannot be changed while ${lock} is there: ${why}`,
    retryable: true,
    hint: 'wait until the other command has ended; if none is at work, remove that file',
  })
}
