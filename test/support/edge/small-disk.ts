import { execFile } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../../../src/errors.ts'

const run = promisify(execFile)

export interface SmallDisk {
  path: string
  /** Writes a file until not one byte more fits, in one go: nothing that this process gives up meanwhile is eaten. */
  fill(): void
  /** Takes that file away. */
  makeRoom(): Promise<void>
  unmount(): Promise<void>
}

/** A disk of its own in memory. Needs root, or sudo that asks nothing: Docker and CI runners have one or the other. */
export async function mountSmallDisk(megabytes: number): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'tidegate-disk-'))
  await privileged('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0777`, 'tmpfs', path)
  const filler = join(path, 'filler')
  return {
    path,
    fill() {
      const file = openSync(filler, 'a')
      for (let size = 1 << 20; size >= 1; size = Math.floor(size / 4)) {
        const bytes = Buffer.alloc(size)
        while (fits(() => writeSync(file, bytes))) continue
      }
      closeSync(file)
    },
    makeRoom: () => rm(filler),
    async unmount() {
      await privileged('umount', path)
      await rmdir(path)
    },
  }
}

function privileged(...command: string[]): Promise<unknown> {
  const [file, ...args] = process.getuid?.() === 0 ? command : ['sudo', '-n', ...command]
  return run(file as string, args)
}

function fits(write: () => number): boolean {
  try {
    return write() > 0
  } catch (error) {
    if (codeOf(error) === 'ENOSPC') return false
    throw error
  }
}
