import { open } from 'node:fs/promises'
import { maskedCrc32c } from './crc32c.ts'

/**
 * LevelDB's log format, of its `.log` files and its MANIFEST: blocks of 32 KiB, in each block records of
 * checksum (4 bytes), length (2), type (1) and data; a record that does not fit goes on in the next block.
 * Source: LevelDB, doc/log_format.md.
 */
const blockBytes = 32_768
const headerBytes = 7
const fragment = { full: 1, first: 2, middle: 3, last: 4 } as const
/** A type that LevelDB does not know: it skips such a record and goes on. */
const blank = 0x7f

export interface LogState {
  /** Offset of a record at the end of the file that is not whole: normal after a power cut. undefined: there is none. */
  tornAt: number | undefined
  /** The file just ends there, and nothing that is there is damaged. */
  cut: boolean
  /** Offset of the first damaged record that has intact ones behind it. */
  damagedAt: number | undefined
}

/** Checks every record's checksum, in flat memory; tells each whole record to `onRecord`. */
export async function scanLog(file: string, onRecord?: (record: Buffer) => void): Promise<LogState> {
  let whole: Buffer[] | undefined
  let badAt: number | undefined
  let badEnd = 0
  let size = 0
  let damagedAt: number | undefined
  let lastType: number = fragment.full
  let lastBegunAt = 0
  await eachBlock(file, 'r', (block, start) => {
    size = start + block.length
    for (const record of recordsOf(block)) {
      if (!record.intact) {
        if (badAt === undefined) badEnd = start + record.claimedEnd
        badAt ??= start + record.at
        whole = undefined
        continue
      }
      if (badAt !== undefined) damagedAt ??= badAt
      lastType = record.type
      if (record.type === fragment.full || record.type === fragment.first) lastBegunAt = start + record.at
      if (record.type === fragment.full || record.type === fragment.first) whole = []
      if (!onRecord || !whole) continue
      whole.push(Buffer.from(record.data))
      if (record.type !== fragment.full && record.type !== fragment.last) continue
      onRecord(Buffer.concat(whole))
      whole = undefined
    }
    return false
  })
  const endsInFragment = lastType === fragment.first || lastType === fragment.middle
  const cut = badAt === undefined || badEnd > size
  if (endsInFragment) return { tornAt: lastBegunAt, damagedAt, cut }
  return { tornAt: damagedAt === undefined ? badAt : undefined, damagedAt, cut }
}

/** A batch begins with its sequence (8 bytes) and the count of its operations (4): LevelDB, db/write_batch.cc. */
const batchHeaderBytes = 12
/** Of an operation: its kind, the lengths of its key and value, a key that is not empty. */
const operationBytesMin = 4

/** What can be told of a batch that is not whole. */
export interface TornBatch {
  /**
   * How many operations it held, as its header says. null: that cannot be told, because the header is not there or makes no
   * sense, or because more than one batch may lie behind it.
   */
  operationsMax: number | null
  /** The value that its first operation put, if that can be read; whether it is what was written, its reader must tell. */
  firstValue?: string
}

export async function tornBatch(file: string, { tornAt = 0, cut }: LogState): Promise<TornBatch> {
  const handle = await open(file, 'r')
  try {
    const { size } = await handle.stat()
    const part = Buffer.alloc(blockBytes)
    const { bytesRead } = await handle.read(part, 0, blockBytes - (tornAt % blockBytes), tornAt)
    if (bytesRead < headerBytes + batchHeaderBytes) return { operationsMax: null }
    const [type, lengthBytes] = [part[6] as number, part.readUInt16LE(4)]
    const batch = part.subarray(headerBytes, Math.min(bytesRead, headerBytes + lengthBytes))
    const operations = part.readUInt32LE(headerBytes + 8)
    const told = { operationsMax: operations, ...firstValueOf(batch) }
    // The first part of a long batch is whole where the file was cut later: then its count is as it was written.
    if (type === fragment.first) return cut ? told : { operationsMax: null }
    // Behind a damaged length whole records may lie that nobody can find.
    const alone = type === fragment.full && tornAt + headerBytes + lengthBytes >= size
    const plausible = operations > 0 && operations <= lengthBytes / operationBytesMin
    return alone && plausible ? told : { operationsMax: null }
  } finally {
    await handle.close()
  }
}

/** An operation is its kind, then key and value, each behind its length as a varint: LevelDB, db/write_batch.cc. */
function firstValueOf(batch: Buffer): { firstValue?: string } {
  const key = varint(batch, batchHeaderBytes + 1)
  const value = key && varint(batch, key.end + key.value)
  if (batch[batchHeaderBytes] !== putKind || !value || value.end + value.value > batch.length) return {}
  return { firstValue: batch.toString('utf8', value.end, value.end + value.value) }
}

const putKind = 1

function varint(bytes: Buffer, from: number): { value: number; end: number } | undefined {
  let value = 0
  for (let at = from, shift = 0; at < bytes.length && shift < 35; at++, shift += 7) {
    const byte = bytes[at] as number
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return { value, end: at + 1 }
  }
  return undefined
}

/**
 * Makes every damaged record one that LevelDB skips: it does not check checksums while it repairs, and can be
 * made to abort the process by what it then reads. Returns how many there were.
 */
export async function blankDamagedRecords(file: string): Promise<number> {
  let blanked = 0
  await eachBlock(file, 'r+', (block) => {
    let changed = false
    for (const { at, intact, end } of recordsOf(block)) {
      if (intact) continue
      blanked += 1
      changed = true
      if (end - at >= headerBytes) block[at + 6] = blank
      // Where the next record begins is unknown: the rest of the block reads as unused space.
      if (end === block.length) block.fill(0, at)
    }
    return changed
  })
  return blanked
}

interface LogRecord {
  at: number
  end: number
  /** Where it ends by its own length. */
  claimedEnd: number
  type: number
  intact: boolean
  data: Buffer
}

function* recordsOf(block: Buffer): Iterable<LogRecord> {
  for (let at = 0; at < block.length;) {
    if (block.length - at < headerBytes) {
      // Fewer bytes than a header end every full block; in the last one they are the start of a torn record.
      const data = block.subarray(at)
      if (block.length < blockBytes)
        yield { at, end: block.length, claimedEnd: at + headerBytes, type: 0, intact: false, data }
      return
    }
    const type = block[at + 6] as number
    const length = block.readUInt16LE(at + 4)
    // Space that was reserved and not written.
    if (type === 0 && length === 0) return
    const end = at + headerBytes + length
    if (isIntact(block, at)) {
      yield { at, end, claimedEnd: end, type, intact: true, data: block.subarray(at + headerBytes, end) }
      at = end
      continue
    }
    // Trust a damaged record's length only if an intact one follows it.
    const known = end < block.length && isIntact(block, end)
    yield {
      at,
      end: known ? end : block.length,
      claimedEnd: end,
      type,
      intact: false,
      data: Buffer.alloc(0),
    }
    if (!known) return
    at = end
  }
}

function isIntact(block: Buffer, at: number): boolean {
  if (block.length - at < headerBytes) return false
  const end = at + headerBytes + block.readUInt16LE(at + 4)
  if (end > block.length) return false
  return maskedCrc32c(block, at + 6, end) === block.readUInt32LE(at)
}

/** `visit` may change the block and returns whether it did. */
async function eachBlock(
  file: string,
  flags: 'r' | 'r+',
  visit: (block: Buffer, start: number) => boolean,
): Promise<void> {
  const handle = await open(file, flags)
  try {
    const buffer = Buffer.alloc(32 * blockBytes)
    for (let start = 0; ; start += buffer.length) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, start)
      for (let at = 0; at < bytesRead; at += blockBytes) {
        const block = buffer.subarray(at, Math.min(at + blockBytes, bytesRead))
        if (visit(block, start + at)) await handle.write(block, 0, block.length, start + at)
      }
      if (bytesRead < buffer.length) return
    }
  } finally {
    await handle.close()
  }
}
