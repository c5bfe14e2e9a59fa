import { constants } from 'node:fs'
import { access, mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'

/** For the user who runs the gateway alone: readings, sessions, wills and retained messages lie in it. */
const ownModeOnly = 0o700

/**
 * Makes the data folder, for this user alone, if it is not there, and proves that it can be written, before anything is opened in it.
 * @throws TidegateError `DATA_FOLDER_UNWRITABLE`
 */
export async function prepareDataFolder(folder: string): Promise<void> {
  try {
    await make(folder)
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw unwritable(folder, cause)
  }
}

/** What other users of this machine may do in the data folder, for a person; undefined if nothing, or if it is not there. */
export async function opennessOf(folder: string): Promise<string | undefined> {
  const mode = (await stat(folder).catch(() => undefined))?.mode ?? ownModeOnly
  const open = (mode & 0o077) !== 0
  return open
    ? `the data folder ${folder} is open to other users of this machine (mode 0${(mode & 0o777).toString(8)}); chmod 700 it`
    : undefined
}

/** `DATA_FOLDER_UNWRITABLE`, whoever finds it out. */
export function unwritable(folder: string, cause: unknown): TidegateError {
  return new TidegateError('DATA_FOLDER_UNWRITABLE', {
    message: `the data folder ${folder} cannot be written: ${messageOf(cause)}`,
    retryable: false,
    hint: 'make it writable for this user (chown, chmod), or set dataDir to another folder',
    cause,
  })
}

/** mkdir's own `recursive` never returns below folders that take no entries, such as /proc. */
async function make(folder: string): Promise<void> {
  try {
    const about = await stat(folder)
    if (!about.isDirectory()) throw new Error('it is a file')
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    if (dirname(folder) !== folder) await make(dirname(folder))
    await mkdir(folder, { mode: ownModeOnly }).catch((failure: unknown) => {
      if (codeOf(failure) !== 'EEXIST') throw failure
    })
  }
}
