import { open, type FileHandle } from 'node:fs/promises'
import { maskedCrc32c } from './crc32c.ts'
import { unsnappy } from './snappy.ts'

/**
 * LevelDB's tables (`.ldb`): data blocks, an index block that says where they are, a footer that says where the
 * index is. Every block carries a checksum, which LevelDB looks at only when asked to, and classic-level does
 * not ask: a damaged block is read as it is, returns altered values, or aborts the process by an assertion.
 * Source: LevelDB, doc/table_format.md.
 */
const footerBytes = 48
const magic = 0xdb4775248b80fb57n
/** Compression type (1 byte) and checksum (4) behind each block. */
const trailerBytes = 5
const compression = { none: 0, snappy: 1 } as const
/** A compression type that LevelDB does not know: it then calls the block corrupt, and leaves it at that. */
const blank = 0x7f

interface Place {
  offset: number
  size: number
}

/**
 * Reads every block of a table; returns how many are damaged. With `blank`, marks them such that LevelDB reports
 * them, and that repairing it keeps all the others.
 */
export async function checkTable(file: string, options: { blank: boolean }): Promise<number> {
  const handle = await open(file, options.blank ? 'r+' : 'r')
  try {
    const { size } = await handle.stat()
    const footer = await readAt(handle, Math.max(0, size - footerBytes), footerBytes)
    // Without its footer nothing in a table can be found; LevelDB notices that itself.
    if (footer.length < footerBytes || footer.readBigUInt64LE(footerBytes - 8) !== magic) return 1
    const [metaindex, index] = placesIn(footer.subarray(0, footerBytes - 8), 2)
    if (!metaindex || !index) return 1
    let damaged = 0
    const check = async (place: Place): Promise<Buffer | undefined> => {
      const block =
        place.offset + place.size + trailerBytes <= size
          ? await readAt(handle, place.offset, place.size + trailerBytes)
          : undefined
      if (block && maskedCrc32c(block, 0, place.size + 1) === block.readUInt32LE(place.size + 1)) return block
      damaged += 1
      if (options.blank && block) await handle.write(Buffer.of(blank), 0, 1, place.offset + place.size)
      return undefined
    }
    await check(metaindex)
    for (const place of placesInIndex(await check(index))) await check(place)
    return damaged
  } finally {
    await handle.close()
  }
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, offset)
  return buffer.subarray(0, bytesRead)
}

/** The values of an index block, each the place of a data block. */
function placesInIndex(block: Buffer | undefined): Place[] {
  if (!block) return []
  const stored = block.subarray(0, -trailerBytes)
  const type = block[stored.length]
  const entries = type === compression.snappy ? unsnappy(stored) : stored
  if (!entries || entries.length < 4) return []
  const restarts = entries.readUInt32LE(entries.length - 4)
  const end = entries.length - 4 * (restarts + 1)
  const places: Place[] = []
  const reader = { at: 0, bytes: entries }
  while (reader.at < end) {
    varint(reader)
    const keyBytes = varint(reader)
    const valueBytes = varint(reader)
    reader.at += keyBytes
    places.push(...placesIn(entries.subarray(reader.at, reader.at + valueBytes), 1))
    reader.at += valueBytes
  }
  return places
}

function placesIn(bytes: Buffer, count: number): Place[] {
  const reader = { at: 0, bytes }
  return Array.from({ length: count }, () => ({ offset: varint(reader), size: varint(reader) }))
}

/** A number in 7-bit groups, lowest first. */
export function varint(reader: { at: number; bytes: Uint8Array }): number {
  let value = 0
  for (let factor = 1; reader.at < reader.bytes.length; factor *= 128) {
    const byte = reader.bytes[reader.at++] as number
    value += (byte & 127) * factor
    if (byte < 128) break
  }
  return value
}
