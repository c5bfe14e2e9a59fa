import { maskedCrc32c } from '../../../edge/store/leveldb/crc32c.ts'

const blockBytes = 32_768
const headerBytes = 7
const fragment = { full: 1, first: 2, middle: 3, last: 4 } as const

/** A log of LevelDB that holds these records and no others. Source: LevelDB, doc/log_format.md. */
export function levelLog(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = []
  let bytes = 0
  const push = (part: Buffer): void => {
    parts.push(part)
    bytes += part.length
  }
  for (const record of records) {
    for (let at = 0; at < record.length || at === 0;) {
      const left = blockBytes - (bytes % blockBytes)
      if (left < headerBytes) {
        push(Buffer.alloc(left))
        continue
      }
      const data = record.subarray(at, at + left - headerBytes)
      const isLast = at + data.length === record.length
      const type =
        at === 0 ? (isLast ? fragment.full : fragment.first) : isLast ? fragment.last : fragment.middle
      const part = Buffer.concat([Buffer.alloc(headerBytes), data])
      part.writeUInt16LE(data.length, 4)
      part.writeUInt8(type, 6)
      part.writeUInt32LE(maskedCrc32c(part, 6, part.length), 0)
      push(part)
      at += data.length
      if (isLast) break
    }
  }
  return Buffer.concat(parts)
}
