import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, TidegateError } from '../src/errors.ts'

export const publicMode = 0o644
export const secretMode = 0o600

/** Writes the file whole or not at all: a reader, or a crash, never sees half a key. Throws CERTS_FOLDER. */
export async function writeWhole(file: string, contents: string, mode: number): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(draft, contents, { mode, flag: 'wx', flush: true })
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined)
    throw new TidegateError('CERTS_FOLDER', {
      message: `cannot write ${file} (${codeOf(error)})`,
      retryable: false,
      hint: 'choose a folder this user may write to (--dir) on a disk that has room',
      cause: error,
    })
  }
}
