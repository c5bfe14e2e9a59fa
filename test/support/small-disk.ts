import { execFile } from 'node:child_process'
import { mkdtemp, open, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../../src/errors.ts'

const run = promisify(execFile)

export interface SmallDisk {
  path: string
  /** Writes a file until not one byte more fits. */
  fill(): Promise<void>
  /** Takes that file away. */
  makeRoom(): Promise<void>
  unmount(): Promise<void>
}

/** A disk of its own in memory. Needs root, or sudo that asks nothing: Docker and CI runners have one or the other. */
export async function mountSmallDisk(megabytes: number): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'tidegate-disk-'))
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const privileged = ([file, ...args]: string[]): Promise<unknown> => run(file as string, args)
  await privileged([...asRoot, 'mount', '-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0777`, 'tmpfs', path])
  const filler = join(path, 'filler')
  return {
    path,
    async fill() {
      const file = await open(filler, 'a')
      try {
        for (let size = 1 << 20; size >= 1; size = Math.floor(size / 4)) {
          const bytes = Buffer.alloc(size)
          while (await fits(file.write(bytes))) continue
        }
      } finally {
        await file.close()
      }
    },
    makeRoom: () => rm(filler),
    async unmount() {
      await privileged([...asRoot, 'umount', path])
      await rmdir(path)
    },
  }
}

async function fits(write: Promise<{ bytesWritten: number }>): Promise<boolean> {
  try {
    return (await write).bytesWritten > 0
  } catch (error) {
    if (codeOf(error) === 'ENOSPC') return false
    throw error
  }
}
