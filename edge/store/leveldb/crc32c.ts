// Slicing by four: table[k][b] is the checksum of byte b followed by k zero bytes.
const tables = Array.from({ length: 4 }, () => new Int32Array(256))
const [first, second, third, fourth] = tables as [Int32Array, Int32Array, Int32Array, Int32Array]
for (let byte = 0; byte < 256; byte++) {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  first[byte] = crc
}
for (let slice = 1; slice < 4; slice++) {
  const table = tables[slice] as Int32Array
  const before = tables[slice - 1] as Int32Array
  for (let byte = 0; byte < 256; byte++) {
    const crc = before[byte] as number
    table[byte] = (crc >>> 8) ^ (first[crc & 255] as number)
  }
}

/** CRC-32C (Castagnoli) of `bytes[from, to)`, as LevelDB's files carry it. Source: RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let crc = -1
  let at = from
  for (; at + 4 <= to; at += 4) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    crc =
      (fourth[crc & 255] as number) ^
      (third[(crc >>> 8) & 255] as number) ^
      (second[(crc >>> 16) & 255] as number) ^
      (first[crc >>> 24] as number)
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ (first[(crc ^ (bytes[at] as number)) & 255] as number)
  return ~crc >>> 0
}

/** LevelDB's masked form: a checksum over data that itself holds checksums. */
export function maskedCrc32c(bytes: Uint8Array, from: number, to: number): number {
  const crc = crc32c(bytes, from, to)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}
