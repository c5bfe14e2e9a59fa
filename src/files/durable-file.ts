import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Puts a file in the place of the one before, whole or not at all: written beside it, synced, renamed, and the folder synced. Resolves when a
 * power cut leaves it as it is. Of a file there is one writer. Rejects as the disk does; what was there is there.
 */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  // One name: what a crash leaves is written over.
  const draft = `${path}.tmp`
  try {
    const file = await open(draft, 'w', 0o600)
    try {
      await file.writeFile(bytes)
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
