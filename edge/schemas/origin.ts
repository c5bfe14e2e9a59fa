import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { snapshotBytesMax } from '../../src/schemas/snapshot.ts'
import type { SnapshotServer } from './snapshot-https.ts'

/** Where schemas come from. */
export type SchemaOrigin =
  | { kind: 'none' }
  | { kind: 'folder'; folder: string }
  | ({ kind: 'file'; file: string } & SnapshotKeeping)
  | ({ kind: 'url'; server: SnapshotServer; everyMs: number } & SnapshotKeeping)

export interface SnapshotKeeping {
  /** PEM files of the public keys that snapshots are signed with. */
  keys: readonly string[]
  /** Where the one in use is kept, as it came. */
  kept: string
}

/**
 * The bytes of a snapshot's file; undefined: there is none. No more than a snapshot may have is read (G7).
 * @throws TidegateError `SCHEMA_SNAPSHOT_UNREACHABLE` the file is there and cannot be read
 */
export async function readSnapshotFile(file: string): Promise<Uint8Array | undefined> {
  try {
    // A pipe would hold a thread up until somebody writes into it.
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const status = await handle.stat()
      if (!status.isFile()) throw new Error('no regular file')
      // One byte more is enough to be refused for its size.
      const bytes = Buffer.alloc(Math.min(status.size, snapshotBytesMax + 1))
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0)
      return bytes.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause))) return undefined
    throw new TidegateError('SCHEMA_SNAPSHOT_UNREACHABLE', {
      message: `the schema snapshot ${file} cannot be read: ${messageOf(cause)}`,
      retryable: true,
      hint: 'it must be a file that the user Tidegate runs as may read; what is in use stays',
      cause,
    })
  }
}

/** A file as it lies there now, in a text that is another when it was written, replaced, or reached by another link. */
export async function markOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path)
    return [dev, ino, size, mtimeMs, ctimeMs].join(' ')
  } catch (error) {
    return codeOf(error)
  }
}

/** The same of a folder with all below it that schemas are read of. */
export async function markOfFolder(folder: string): Promise<string> {
  const hash = createHash('sha256')
  const visit = async (within: string): Promise<void> => {
    const entries = await readdir(within, { withFileTypes: true })
    for (const entry of entries.toSorted((one, other) => (one.name < other.name ? -1 : 1))) {
      if (entry.name.startsWith('.') || entry.name.endsWith('.md')) continue
      const path = `${within}/${entry.name}`
      hash.update(`${path} ${await markOf(path)}\n`)
      if (entry.isDirectory() || (entry.isSymbolicLink() && (await isFolder(path)))) await visit(path)
    }
  }
  await visit(folder).catch((error: unknown) => hash.update(codeOf(error)))
  return hash.digest('base64')
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  )
}
