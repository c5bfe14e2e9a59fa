import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { constants, type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import {
  type ArchivedRow,
  archiveFormat,
  Chains,
  type Examined,
  type Faulty,
  lineOf,
  type Manifest,
  manifestSchema,
  placeKey,
  Ranges,
  rowOf,
} from './format.ts'

const suffix = '.jsonl.gz'
const manifestSuffix = '.manifest.json'

export interface ToWrite extends Pick<Manifest, 'partition' | 'from' | 'until'> {
  /** In the order of their places. */
  rows: AsyncIterable<Examined>
  /** A folder that is there. */
  folder: string
  log: Logger
}

/**
 * Writes rows and their manifest so that either is there whole or not at all, also after a crash of the machine: under another name at
 * first, synced, renamed. The same rows make the same file, whose name is of its SHA-256: one that is there already is replaced by itself.
 * Memory is that of one row, and of the ranges.
 * @throws TidegateError `ARCHIVE_FILE`, and what reading the rows throws
 */
export async function writeArchive(given: ToWrite): Promise<{ path: string; manifest: Manifest }> {
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
  return { path, manifest }
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

/** Of an archive, or of its manifest. @throws TidegateError `ARCHIVE_FILE` */
export async function readManifest(path: string): Promise<{ path: string; manifest: Manifest }> {
  const manifestPath = manifestOf(path)
  try {
    const manifest = manifestSchema.parse(JSON.parse(await readFile(manifestPath, 'utf8')))
    const archive = join(dirname(manifestPath), manifest.file)
    await stat(archive)
    return { path: archive, manifest }
  } catch (error) {
    throw unusable(
      manifestPath,
      error,
      `name an archive (…${suffix}) that has its manifest (…${manifestSuffix}) beside it`,
    )
  }
}

/**
 * Reads an archive from its beginning to its end, and demands that it is what its manifest says: its SHA-256, how many events, which
 * ranges, and that each text follows the one before (G8). What was read is to be used when it has ended without a fault.
 * @throws TidegateError `ARCHIVE_ALTERED`, `ARCHIVE_FILE`
 */
export async function* readArchive(path: string, manifest: Manifest): AsyncGenerator<Examined> {
  const hash = createHash('sha256')
  const ranges = new Ranges()
  const before = new Map(manifest.ranges.map((one) => [placeKey({ ...one, sequence: one.from }), one.before]))
  const chains = new Chains(async (place) => before.get(placeKey(place)) ?? undefined)
  const faulty = new Set(manifest.faulty.map(placeKey))
  let events = 0
  for await (const line of linesIn(path, (chunk) => hash.update(chunk))) {
    const row = readLine(line, path, events + 1)
    const examined = await chains.examine(row)
    const { fault } = examined
    if (fault !== undefined && !faulty.has(placeKey(row)))
      throw altered(path, `the event ${row.gateway}/${row.epoch}/${row.sequence}: ${fault.detail}`)
    ranges.add(examined)
    events++
    yield examined
  }
  const sha256 = hash.digest('hex')
  if (sha256 !== manifest.sha256) throw altered(path, `its SHA-256 is ${sha256}, and was ${manifest.sha256}`)
  const isWhole =
    events === manifest.events && JSON.stringify(ranges.list) === JSON.stringify(manifest.ranges)
  if (!isWhole) throw altered(path, 'its manifest says something else than is in it')
}

/** Both, which may be gone already. */
export async function removeArchive(path: string): Promise<void> {
  await rm(manifestOf(path), { force: true })
  await rm(path, { force: true })
}

const lineFeed = 10

/** Lines end with a line feed and nothing else: whatever else Unicode has for that may be in a text. */
async function* linesIn(path: string, onBytes: (chunk: Buffer) => void): AsyncGenerator<string> {
  const file = createReadStream(path)
  async function* tapped(): AsyncGenerator<Buffer> {
    for await (const chunk of file as AsyncIterable<Buffer>) {
      onBytes(chunk)
      yield chunk
    }
  }
  const unpacked = createGunzip()
  const packed = Readable.from(tapped())
  const pumped = pipeline(packed, unpacked)
  pumped.catch(() => {})
  let begun: Buffer[] = []
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      let at = 0
      for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, at)) {
        yield Buffer.concat([...begun, chunk.subarray(at, end)]).toString('utf8')
        begun = []
        at = end + 1
      }
      if (at < chunk.length) begun.push(chunk.subarray(at))
    }
    await pumped
  } catch (error) {
    if (error instanceof TidegateError) throw error
    throw altered(path, messageOf(error))
  } finally {
    file.destroy()
  }
  if (begun.length > 0) throw altered(path, 'its last line has no end')
}

function readLine(line: string, path: string, number: number): ArchivedRow {
  try {
    return rowOf(line)
  } catch {
    throw altered(path, `line ${number} is none of an archive`)
  }
}

function altered(path: string, what: string): TidegateError {
  return new TidegateError('ARCHIVE_ALTERED', {
    message: `${basename(path)} is not as it was written: ${what}`,
    retryable: false,
    hint: 'take another copy of the archive; nothing was changed in the database',
  })
}

function unusable(path: string, cause: unknown, hint: string): TidegateError {
  return new TidegateError('ARCHIVE_FILE', {
    message: `${path} cannot be written or read: ${messageOf(cause).split('\n')[0] ?? ''}`,
    retryable: false,
    hint,
    cause,
  })
}
