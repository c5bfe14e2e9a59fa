import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Folders that must not outlive what they were made for. */
export interface Scratch {
  /** A new folder, for this user only; its path is `prefix` and something that nobody else has. */
  make(prefix: string): Promise<string>
  remove(folder: string): Promise<void>
  /** Removes all that are left at once: for a process that ends, whatever it ends of. */
  removeAll(): void
}

/** Begins the names of what is made beside a store in order to look at it, by whatever process. */
export function besides(location: string): string {
  return join(dirname(location), `look-${basename(location)}-`)
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
