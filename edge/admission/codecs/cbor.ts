import { type Building, bigInteger, bigNumberBytesMax, type JsonObject, keyFault } from './building.ts'
import { ByteReader } from './bytes.ts'
import { type Decode, type DecodeBounds, DecodeFault, malformed } from './decode.ts'
import { decoding } from './decoding.ts'
import { timeText } from './times.ts'

/** CBOR (RFC 8949): one data item, whatever its serialisation, as JSON. */
export function cborDecoder(bounds: DecodeBounds): Decode {
  return decoding('cbor', bounds, readItem)
}

/** Major types, and what follows them in the same byte (section 3). */
const major = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const
const indefinite = 31
const breakByte = 0xff
const simple = { false: 20, true: 21, null: 22, undefined: 23, half: 25, single: 26, double: 27 } as const
const tags = { epoch: 1, bignum: 2, negativeBignum: 3 } as const

function readItem(reader: ByteReader, building: Building): unknown {
  const initial = reader.byte()
  const info = initial & 0x1f
  switch (initial >> 5) {
    case major.unsigned:
      return building.integer(argument(reader, info))
    case major.negative:
      return building.integer(negated(argument(reader, info)))
    case major.bytes:
      return building.base64(bytesOf(reader, info))
    case major.text:
      return textOf(reader, building, info)
    case major.array:
      return arrayOf(reader, building, info)
    case major.map:
      return mapOf(reader, building, info)
    case major.tag:
      return tagged(reader, building, argument(reader, info))
    default:
      return simpleOf(reader, building, info)
  }
}

function argument(reader: ByteReader, info: number): number | bigint {
  if (info < 24) return info
  switch (info) {
    case 24:
      return reader.byte()
    case 25:
      return reader.uint16()
    case 26:
      return reader.uint32()
    case 27:
      return reader.uint64()
    default:
      throw malformed(`additional information ${info} is not allowed there`)
  }
}

function negated(value: number | bigint): number | bigint {
  return typeof value === 'number' ? -1 - value : -1n - value
}

/** The chunks of a string that says no length are strings of the same kind that say theirs (section 3.2.3). */
function* chunks(reader: ByteReader, kind: number): Generator<number | bigint> {
  for (let initial = reader.byte(); initial !== breakByte; initial = reader.byte()) {
    if (initial >> 5 !== kind || (initial & 0x1f) === indefinite)
      throw malformed('a string has a chunk that is none')
    yield argument(reader, initial & 0x1f)
  }
}

/** Chunks are added up first, and then copied to one place: a view of each would be a hundred times what a chunk is (G7). */
function bytesOf(reader: ByteReader, info: number, lengthMax = Infinity): Buffer {
  if (info !== indefinite) return reader.take(argument(reader, info))
  const { bytes, at, end } = reader
  let length = 0
  for (const chunk of chunks(reader, major.bytes)) {
    reader.pass(chunk)
    length += Number(chunk)
    if (length > lengthMax)
      throw new DecodeFault('NUMBER_OUT_OF_RANGE', `a number has more than ${lengthMax} bytes`)
  }
  const whole = Buffer.allocUnsafe(length)
  const again = new ByteReader(bytes, at, end)
  let to = 0
  for (const chunk of chunks(again, major.bytes)) {
    const from = again.pass(chunk)
    to += bytes.copy(whole, to, from, again.at)
  }
  return whole
}

function textOf(reader: ByteReader, building: Building, info: number): string {
  if (info !== indefinite) return building.text(reader, argument(reader, info))
  let text = ''
  for (const length of chunks(reader, major.text)) text += building.text(reader, length)
  return text
}

/** By how many items are announced, or until the break. */
function hasMore(reader: ByteReader, count: number | bigint, index: number): boolean {
  if (count !== Infinity) return index < count
  if (reader.left > 0 && reader.bytes[reader.at] !== breakByte) return true
  reader.byte()
  return false
}

const countOf = (reader: ByteReader, info: number): number | bigint =>
  info === indefinite ? Infinity : argument(reader, info)

function arrayOf(reader: ByteReader, building: Building, info: number): unknown[] {
  const count = countOf(reader, info)
  const items: unknown[] = []
  building.enter()
  for (let index = 0; hasMore(reader, count, index); index += 1) items.push(readItem(reader, building))
  building.leave()
  return items
}

function mapOf(reader: ByteReader, building: Building, info: number): JsonObject {
  const count = countOf(reader, info)
  const object: JsonObject = {}
  building.enter()
  for (let index = 0; hasMore(reader, count, index); index += 1) {
    const name = keyOf(reader, building)
    building.member(object, name, readItem(reader, building))
  }
  building.leave()
  return object
}

/** Bytes would be a text as well once they are read. */
function keyOf(reader: ByteReader, building: Building): string {
  const kind = (reader.bytes[reader.at] ?? 0) >> 5
  if (kind !== major.unsigned && kind !== major.negative && kind !== major.text) throw malformed(keyFault)
  return building.nameOf(readItem(reader, building))
}

/** What a tag says that is not known here goes by, and its content stays as it is (section 3.4). */
function tagged(reader: ByteReader, building: Building, tag: number | bigint): unknown {
  const initial = reader.bytes[reader.at] ?? 0
  const isBytes = initial >> 5 === major.bytes
  if (isBytes && (tag === tags.bignum || tag === tags.negativeBignum)) {
    reader.byte()
    const value = bigInteger(bytesOf(reader, initial & 0x1f, bigNumberBytesMax), { signed: false })
    return building.integer(tag === tags.bignum ? value : -1n - value)
  }
  building.nest()
  const value = readItem(reader, building)
  building.unnest()
  return tag === tags.epoch && typeof value === 'number' ? epochText(value, building) : value
}

/** Seconds, with a fraction in a float: a double has no more than µs of the present (section 3.4.2). */
function epochText(value: number, building: Building): string | number {
  const seconds = Math.floor(value)
  const micros = Math.round((value - seconds) * 1e6)
  const text = micros === 1e6 ? timeText(seconds + 1, 0) : timeText(seconds, micros * 1000)
  return text === undefined ? value : building.ascii(text)
}

function simpleOf(reader: ByteReader, building: Building, info: number): unknown {
  switch (info) {
    case simple.false:
    case simple.true:
      return building.boolean(info === simple.true)
    case simple.null:
    case simple.undefined:
      return building.none()
    case simple.half:
      return building.float(reader.float16())
    case simple.single:
      return building.float(reader.float32())
    case simple.double:
      return building.float(reader.float64())
    default:
      throw malformed(`simple value ${info === 24 ? reader.byte() : info} has no form in JSON`)
  }
}
