import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { isLevelFile } from '../store/leveldb/folder.ts'

/**
 * The LevelDB that is meant by a data folder, by an outbox or a copy of one, or by a store that was set aside.
 * @throws TidegateError `OUTBOX_ABSENT`, `OUTBOX_COPY_FAILED` (this user may not read it)
 */
export async function storeIn(place: string): Promise<string> {
  try {
    for (const location of [join(place, 'outbox', 'db'), join(place, 'db')]) {
      if (await isFolder(location)) return location
    }
    if ((await isFolder(place)) && (await readdir(place)).some(isLevelFile)) return place
  } catch (cause) {
    throw untouchable(place, cause)
  }
  throw new TidegateError('OUTBOX_ABSENT', {
    message: `there is no outbox in ${place}`,
    retryable: false,
    hint: 'name the gateway’s data folder (--data-dir), its configuration (--config), or a store that was set aside',
  })
}

/** What keeps a store from being locked and copied; nothing is done to it before that. */
export function untouchable(location: string, error: unknown): TidegateError {
  if (codeOf(error) === 'OUTBOX_LOCKED') return inUse(location)
  if (error instanceof TidegateError && error.code !== 'STORE_UNAVAILABLE') return error
  const cause = error instanceof TidegateError ? error.cause : error
  return new TidegateError('OUTBOX_COPY_FAILED', {
    message: `the outbox ${location} cannot be locked and copied: ${messageOf(cause)}`,
    retryable: false,
    hint: /permi/i.test(messageOf(cause))
      ? 'ask as the user the gateway runs as, or as root'
      : 'see that its disk can be written and has room (32 MiB; to repair, as much as it holds), or copy the data folder to one that has and name that with --data-dir',
    cause,
  })
}

export function inUse(location: string): TidegateError {
  return new TidegateError('OUTBOX_LOCKED', {
    message: `another process has the outbox ${location} open`,
    retryable: false,
    hint: 'repair needs the gateway stopped; a gateway that has only just started answers the rest in a moment',
  })
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return false
    throw error
  }
}
