import type { Building } from '../building.ts'
import { ByteReader } from '../bytes.ts'
import { malformed } from '../decode.ts'

/** Wire types (protobuf.dev/programming-guides/encoding). */
export const wire = { varint: 0, fixed64: 1, length: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const
const fieldNumberMax = 2 ** 29 - 1

export function wrongEnd(): Error {
  return malformed('a group ends that has not begun')
}

export function tagOf(reader: ByteReader): [number: number, wireType: number] {
  const tag = Number(reader.varint())
  const number = Math.floor(tag / 8)
  if (number < 1 || number > fieldNumberMax) throw malformed('a field has a number that none can have')
  return [number, tag % 8]
}

/** The bytes of a field that says how many it has. */
export function part(reader: ByteReader): ByteReader {
  const length = reader.varint()
  const from = reader.pass(length)
  return new ByteReader(reader.bytes, from, reader.at)
}

export function skip(reader: ByteReader, number: number, wireType: number, building: Building): void {
  switch (wireType) {
    case wire.varint:
      reader.varint()
      return
    case wire.fixed64:
      reader.pass(8)
      return
    case wire.length:
      reader.pass(reader.varint())
      return
    case wire.groupStart:
      skipGroup(reader, number, building)
      return
    case wire.fixed32:
      reader.pass(4)
      return
    default:
      throw malformed(`there is no wire type ${wireType}`)
  }
}

/** Groups are skipped with what is in them, which may be groups. */
function skipGroup(reader: ByteReader, number: number, building: Building): void {
  building.nest()
  for (;;) {
    const [inner, wireType] = tagOf(reader)
    if (wireType !== wire.groupEnd) {
      skip(reader, inner, wireType, building)
      continue
    }
    if (inner !== number) throw wrongEnd()
    building.unnest()
    return
  }
}
