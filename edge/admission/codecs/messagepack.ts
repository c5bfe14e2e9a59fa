import { type Building, type JsonObject, keyFault } from './building.ts'
import type { ByteReader } from './bytes.ts'
import { type Decode, type DecodeBounds, malformed } from './decode.ts'
import { decoding } from './decoding.ts'
import { fractionOf, timeText } from './times.ts'

/** MessagePack (github.com/msgpack/msgpack/blob/master/spec.md): one object, as JSON. */
export function messagePackDecoder(bounds: DecodeBounds): Decode {
  return decoding('messagepack', bounds, readObject)
}

type ReadOne = (reader: ByteReader, building: Building) => unknown

const int = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value)

/** From 0xc0 on, in the order of the specification. */
const byCode: readonly (ReadOne | undefined)[] = [
  (_, building) => building.none(),
  undefined,
  (_, building) => building.boolean(false),
  (_, building) => building.boolean(true),
  (reader, building) => building.base64(reader.take(reader.byte())),
  (reader, building) => building.base64(reader.take(reader.uint16())),
  (reader, building) => building.base64(reader.take(reader.uint32())),
  (reader, building) => extension(reader, building, reader.byte()),
  (reader, building) => extension(reader, building, reader.uint16()),
  (reader, building) => extension(reader, building, reader.uint32()),
  (reader, building) => building.float(reader.float32()),
  (reader, building) => building.float(reader.float64()),
  (reader, building) => building.integer(reader.byte()),
  (reader, building) => building.integer(reader.uint16()),
  (reader, building) => building.integer(reader.uint32()),
  (reader, building) => building.integer(reader.uint64()),
  (reader, building) => building.integer((reader.byte() << 24) >> 24),
  (reader, building) => building.integer((reader.uint16() << 16) >> 16),
  (reader, building) => building.integer(reader.uint32() | 0),
  (reader, building) => building.integer(int(64, reader.uint64())),
  (reader, building) => extension(reader, building, 1),
  (reader, building) => extension(reader, building, 2),
  (reader, building) => extension(reader, building, 4),
  (reader, building) => extension(reader, building, 8),
  (reader, building) => extension(reader, building, 16),
  (reader, building) => building.text(reader, reader.byte()),
  (reader, building) => building.text(reader, reader.uint16()),
  (reader, building) => building.text(reader, reader.uint32()),
  (reader, building) => arrayOf(reader, building, reader.uint16()),
  (reader, building) => arrayOf(reader, building, reader.uint32()),
  (reader, building) => mapOf(reader, building, reader.uint16()),
  (reader, building) => mapOf(reader, building, reader.uint32()),
]
const firstCode = 0xc0
const firstNegative = 0xe0

function readObject(reader: ByteReader, building: Building): unknown {
  const code = reader.byte()
  if (code < 0x80) return building.integer(code)
  if (code < 0x90) return mapOf(reader, building, code & 0x0f)
  if (code < 0xa0) return arrayOf(reader, building, code & 0x0f)
  if (code < firstCode) return building.text(reader, code & 0x1f)
  if (code >= firstNegative) return building.integer(code - 256)
  const read = byCode[code - firstCode]
  if (!read) throw malformed('the byte 0xc1 begins nothing')
  return read(reader, building)
}

function arrayOf(reader: ByteReader, building: Building, count: number): unknown[] {
  const items: unknown[] = []
  building.enter()
  for (let index = 0; index < count; index += 1) items.push(readObject(reader, building))
  building.leave()
  return items
}

function mapOf(reader: ByteReader, building: Building, count: number): JsonObject {
  const object: JsonObject = {}
  building.enter()
  for (let index = 0; index < count; index += 1) {
    const name = keyOf(reader, building)
    building.member(object, name, readObject(reader, building))
  }
  building.leave()
  return object
}

/** Bytes and times would be texts as well once they are read. */
function keyOf(reader: ByteReader, building: Building): string {
  const code = reader.bytes[reader.at] ?? firstCode
  const isNumber = code < 0x80 || code >= firstNegative || (code >= 0xcc && code <= 0xd3)
  const isText = (code >= 0xa0 && code < firstCode) || (code >= 0xd9 && code <= 0xdb)
  if (!isNumber && !isText) throw malformed(keyFault)
  return building.nameOf(readObject(reader, building))
}

const timestamp = -1

/** Of the extension types the specification knows one, the timestamp. One that is in no year from 1 to 9999 stays its seconds, with their fraction. */
function extension(reader: ByteReader, building: Building, length: number): string {
  const type = (reader.byte() << 24) >> 24
  if (type !== timestamp) throw malformed(`extension type ${type} has no form in JSON`)
  const [seconds, nanos] = timestampOf(reader, length)
  if (nanos >= 1e9) throw malformed('a timestamp has more nanoseconds than a second')
  return building.ascii(timeText(Number(seconds), nanos) ?? secondsText(seconds, nanos))
}

function timestampOf(reader: ByteReader, length: number): [seconds: bigint, nanos: number] {
  if (length === 4) return [BigInt(reader.uint32()), 0]
  if (length === 8) {
    const both = reader.uint64()
    return [both & 0x3_ffff_ffffn, Number(both >> 34n)]
  }
  if (length !== 12) throw malformed(`a timestamp of ${length} bytes is none`)
  const nanos = reader.uint32()
  return [int(64, reader.uint64()), nanos]
}

/** Seconds since 1970 with 0, 3, 6 or 9 digits behind the point; nanoseconds are counted upwards also before it. */
function secondsText(seconds: bigint, nanos: number): string {
  const isBefore = seconds < 0n && nanos > 0
  if (!isBefore) return `${seconds}${fractionOf(nanos)}`
  return `-${-seconds - 1n}${fractionOf(1e9 - nanos)}`
}
