import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { placeText } from '../audit/event.ts'
import { altered, manifestOf, manifestSuffix, suffix, unusable } from './archive-file.ts'
import {
  type ArchivedRow,
  Chains,
  type Examined,
  type Manifest,
  manifestSchema,
  placeKey,
  Ranges,
  rowOf,
} from './format.ts'

/** Half a million ranges. */
const manifestBytesMax = 128_000_000

/** Of an archive, or of its manifest. @throws TidegateError `ARCHIVE_FILE` */
export async function readManifest(path: string): Promise<{ path: string; manifest: Manifest }> {
  const manifestPath = manifestOf(path)
  try {
    const { size } = await stat(manifestPath)
    if (size > manifestBytesMax) throw new Error(`it is larger than ${manifestBytesMax} bytes`)
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
 * Reads an archive from its beginning to its end, and demands that it is what its manifest says: its SHA-256, before anything of it is
 * unpacked, how many events, which ranges, and that each text follows the one before (G8). What was read is to be used when it has ended
 * without a fault: the file may be altered while it is read.
 * @throws TidegateError `ARCHIVE_ALTERED`, `ARCHIVE_FILE`
 */
export async function* readArchive(path: string, manifest: Manifest): AsyncGenerator<Examined> {
  const file = await open(path).catch((error: unknown) => {
    throw unusable(path, error, 'see that it is there, and that this user may read it')
  })
  try {
    yield* readOpen(file, path, manifest)
  } finally {
    await file.close()
  }
}

async function* readOpen(file: FileHandle, path: string, manifest: Manifest): AsyncGenerator<Examined> {
  const refuseHash = (sha256: string): void => {
    if (sha256 !== manifest.sha256)
      throw altered(path, `its SHA-256 is ${sha256}, and was ${manifest.sha256}`)
  }
  refuseHash(await hashOf(file, path))
  const hash = createHash('sha256')
  const ranges = new Ranges()
  const before = new Map(manifest.ranges.map((one) => [placeKey({ ...one, sequence: one.from }), one.before]))
  const chains = new Chains(async (place) => before.get(placeKey(place)) ?? undefined)
  const faulty = new Set(manifest.faulty.map(placeKey))
  let events = 0
  for await (const line of linesIn(file, path, (chunk) => hash.update(chunk))) {
    const row = readLine(line, path, events + 1)
    const examined = await chains.examine(row)
    const { fault } = examined
    if (fault !== undefined && !faulty.has(placeKey(row)))
      throw altered(path, `the event ${placeText(row)}: ${fault.detail}`)
    ranges.add(examined)
    events++
    yield examined
  }
  refuseHash(hash.digest('hex'))
  const isWhole =
    events === manifest.events && JSON.stringify(ranges.list) === JSON.stringify(manifest.ranges)
  if (!isWhole) throw altered(path, 'its manifest says something else than is in it')
}

async function hashOf(file: FileHandle, path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    const bytes = file.createReadStream({ start: 0, autoClose: false }) as AsyncIterable<Buffer>
    for await (const chunk of bytes) hash.update(chunk)
  } catch (error) {
    throw altered(path, messageOf(error))
  }
  return hash.digest('hex')
}

/** An event is a third of a megabyte at the most, and may be twice as long with what JSON escapes. */
const lineBytesMax = 4_000_000

const lineFeed = 10

/** Lines end with a line feed and nothing else: whatever else Unicode has for that may be in a text. */
async function* linesIn(
  handle: FileHandle,
  path: string,
  onBytes: (chunk: Buffer) => void,
): AsyncGenerator<string> {
  const file = handle.createReadStream({ start: 0, autoClose: false })
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
  let begunBytes = 0
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      let at = 0
      for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, at)) {
        yield Buffer.concat([...begun, chunk.subarray(at, end)]).toString('utf8')
        begun = []
        begunBytes = 0
        at = end + 1
      }
      if (at < chunk.length) begun.push(chunk.subarray(at))
      begunBytes += chunk.length - at
      if (begunBytes > lineBytesMax) throw altered(path, `a line of it is longer than ${lineBytesMax} bytes`)
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
