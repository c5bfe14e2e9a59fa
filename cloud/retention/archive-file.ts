import { createHash } from 'node:crypto'
import { constants, type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import {
  type ArchivedRow,
  archiveFormat,
  type Examined,
  type Faulty,
  lineOf,
  type Manifest,
  Ranges,
} from './format.ts'

export const suffix = '.jsonl.gz'
export const manifestSuffix = '.manifest.json'

export interface ToWrite extends Pick<Manifest, 'partition' | 'from' | 'until'> {
  /** In the order of their places. */
  rows: AsyncIterable<Examined>
  /** A folder that is there. */
  folder: string
  log: Logger
}

export interface Written {
  path: string
  manifest: Manifest
  /** It was not there before, with its manifest. */
  isNew: boolean
}

/**
 * Writes rows and their manifest so that either is there whole or not at all, also after a crash of the machine: under another name at
 * first, synced, renamed. The same rows make the same file, whose name is of its SHA-256: one that is there already is replaced by itself.
 * Memory is that of one row, and of the ranges.
 * @throws TidegateError `ARCHIVE_FILE`, and what reading the rows throws
 */
export async function writeArchive(given: ToWrite): Promise<Written> {
  const { partition, from, until, rows, folder, log } = given
  await refuseShared(folder)
  // One after the other writes a partition's: what a crash has left under this name is begun anew.
  const draft = join(folder, `${partition}${suffix}.part`)
  const ranges = new Ranges()
  const faulty: Faulty[] = []
  let events = 0
  async function* lines(): AsyncGenerator<string> {
    for await (const examined of rows) {
      const { row, fault } = examined
      ranges.add(examined)
      if (fault !== undefined) faulty.push({ ...placeOf(row), detail: fault.detail })
      events++
      yield lineOf(row)
    }
  }
  const { sha256, bytes } = await writeSynced(draft, (file) => compress(lines(), file))
  log.debug({ step: 'archive written' })
  const file = `${partition}-${sha256.slice(0, 16)}${suffix}`
  const manifest: Manifest = {
    format: archiveFormat,
    partition,
    from,
    until,
    file,
    bytes,
    sha256,
    events,
    ranges: ranges.list,
    faulty,
  }
  const path = join(folder, file)
  const isNew = (await stampOf(path).catch(() => undefined)) === undefined
  await moved(draft, path)
  log.debug({ step: 'archive renamed' })
  const manifestDraft = `${manifestOf(path)}.part`
  await writeSynced(manifestDraft, (handle) =>
    handle.writeFile(`${JSON.stringify(manifest, undefined, 1)}\n`),
  )
  log.debug({ step: 'manifest written' })
  await moved(manifestDraft, manifestOf(path))
  await syncFolder(folder)
  log.debug({ step: 'manifest renamed' })
  return { path, manifest, isNew }
}

function placeOf({ gateway, epoch, sequence }: ArchivedRow): Omit<Faulty, 'detail'> {
  return { gateway, epoch, sequence }
}

const mayBeWrittenByOthers = 0o022

/** Who else can write to the folder can put another file in the place of one that was verified. @throws TidegateError `ARCHIVE_FILE` */
async function refuseShared(folder: string): Promise<void> {
  const { mode } = await stat(folder).catch((error: unknown) => {
    throw unusable(folder, error, 'name a folder that is there')
  })
  if ((mode & mayBeWrittenByOthers) === 0) return
  const cause = new Error('other users may write to it')
  throw unusable(folder, cause, `chmod go-w ${folder}, or name a folder of this user alone`)
}

/** A failure of what the rows come from is none of the file. */
class SourceFailure extends Error {}

async function compress(
  lines: AsyncIterable<string>,
  file: FileHandle,
): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  async function* source(): AsyncGenerator<string> {
    try {
      yield* lines
    } catch (cause) {
      throw new SourceFailure('', { cause })
    }
  }
  await pipeline(Readable.from(source(), { objectMode: true }), createGzip(), async (compressed) => {
    for await (const chunk of compressed as AsyncIterable<Buffer>) {
      hash.update(chunk)
      bytes += chunk.length
      await file.writeFile(chunk)
    }
  })
  return { sha256: hash.digest('hex'), bytes }
}

async function writeSynced<T>(path: string, write: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    // What it holds is nobody's business; and what lies there, of a crash or as a link to elsewhere, is never written into.
    await rm(path, { force: true })
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants
    const file = await open(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600)
    try {
      const result = await write(file)
      await file.sync()
      return result
    } finally {
      await file.close()
    }
  } catch (error) {
    await rm(path, { force: true }).catch(() => {})
    if (error instanceof SourceFailure) throw error.cause
    throw unusable(
      path,
      error,
      'see that the folder is there, that this user may write there, and that it has space',
    )
  }
}

async function moved(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    throw unusable(to, error, 'see that this user may write there')
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export function manifestOf(path: string): string {
  return path.endsWith(suffix) ? `${path.slice(0, -suffix.length)}${manifestSuffix}` : path
}

/** Of an archive and its manifest, all that changes when anybody writes, moves or exchanges either. @throws TidegateError `ARCHIVE_FILE` */
export async function stampOf(path: string): Promise<string> {
  const both = [path, manifestOf(path)].map(async (file) => {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true }).catch(
      (error: unknown) => {
        throw unusable(file, error, 'see who moves or removes archives; nothing was dropped')
      },
    )
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  })
  return (await Promise.all(both)).join('\n')
}

/** @throws TidegateError `ARCHIVE_FILE`, `ARCHIVE_ALTERED`: they are not there any more as they were */
export async function refuseOther(path: string, stamp: string): Promise<void> {
  if ((await stampOf(path)) !== stamp)
    throw altered(path, 'somebody has written or exchanged it, or its manifest, since it was verified')
}

/** Both, which may be gone already. */
export async function removeArchive(path: string): Promise<void> {
  await rm(manifestOf(path), { force: true })
  await rm(path, { force: true })
}

export function altered(path: string, what: string): TidegateError {
  return new TidegateError('ARCHIVE_ALTERED', {
    message: `${basename(path)} is not as it was written: ${what}`,
    retryable: false,
    hint: 'take another copy of the archive; nothing was changed in the database',
  })
}

export function unusable(path: string, cause: unknown, hint: string): TidegateError {
  return new TidegateError('ARCHIVE_FILE', {
    message: `${path} cannot be written or read: ${messageOf(cause).split('\n')[0] ?? ''}`,
    retryable: false,
    hint,
    cause,
  })
}
