/**
 * Decompresses Snappy's raw format; undefined if it is not that. Source: google/snappy, format_description.txt.
 * Here to read LevelDB's index blocks only: small, and never on the way of an event.
 */
export function unsnappy(input: Uint8Array): Buffer | undefined {
  let at = 0
  const byte = (): number => input[at++] ?? -1
  let length = 0
  for (let shift = 0; ; shift += 7) {
    const next = byte()
    if (next < 0 || shift > 28) return undefined
    length |= (next & 127) << shift
    if (next < 128) break
  }
  // A damaged length must not make us allocate a gigabyte: Snappy gains at most a factor of about 21.
  if (length < 0 || length > input.length * 32) return undefined
  const output = Buffer.alloc(length)
  let end = 0
  while (at < input.length) {
    const tag = byte()
    let size = (tag >>> 2) + 1
    if ((tag & 3) === 0) {
      if (size > 60) {
        const bytes = size - 60
        size = 1
        for (let index = 0; index < bytes; index++) size += byte() * 2 ** (8 * index)
      }
      if (at + size > input.length || end + size > length) return undefined
      output.set(input.subarray(at, at + size), end)
      at += size
      end += size
      continue
    }
    let offset: number
    if ((tag & 3) === 1) {
      size = ((tag >>> 2) & 7) + 4
      offset = ((tag >>> 5) << 8) | byte()
    } else {
      offset = byte() | (byte() << 8)
      if ((tag & 3) === 3) offset += (byte() | (byte() << 8)) * 65_536
    }
    if (offset <= 0 || offset > end || end + size > length) return undefined
    // Byte by byte: source and target may overlap, and then the copy repeats itself.
    for (let index = 0; index < size; index++) output[end + index] = output[end + index - offset] as number
    end += size
  }
  return end === length ? output : undefined
}
