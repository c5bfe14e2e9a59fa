import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Puts a file in the place of the one before, whole or not at all: written beside it, synced, renamed, and the folder synced. Resolves when a
 * power cut leaves it as it is. It is for its owner alone. Of a file there is one writer. Rejects as the disk does; what was there is there.
 * `prepare`: whatever else is to be done to it before it takes its place.
 */
export async function writeDurably(
  path: string,
  data: Uint8Array | string,
  prepare?: (file: FileHandle) => Promise<void>,
): Promise<void> {
  // One name, so that what a crash leaves is taken away; and made anew, so that nobody else's link is followed.
  const draft = `${path}.tmp`
  try {
    await rm(draft, { force: true })
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(data)
      await prepare?.(file)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {})
    throw error
  }
  const folder = await open(dirname(path))
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
