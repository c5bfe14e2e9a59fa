import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'

/** Folders that must not outlive what they were made for. */
export interface Scratch {
  /** A new folder, for this user only; its path is `prefix` and something that nobody else has. */
  make(prefix: string): Promise<string>
  remove(folder: string): Promise<void>
  /** Removes all that are left at once: for a process that ends, whatever it ends of. */
  removeAll(): void
}

export function createScratch(): Scratch {
  const folders = new Set<string>()
  return {
    async make(prefix) {
      const folder = await mkdtemp(prefix)
      folders.add(folder)
      return folder
    },
    async remove(folder) {
      await rm(folder, { recursive: true, force: true })
      folders.delete(folder)
    },
    removeAll() {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}
