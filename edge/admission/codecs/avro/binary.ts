import { fingerprintOf } from './fingerprint.ts'
import { decimalText, fixedText, intTexts, longTexts, type NumberText } from './logical.ts'
import type { AvroFixed, AvroPrimitive, AvroRecord, AvroSchema } from './schema.ts'
import { type Building, type JsonObject, setMember } from '../building.ts'
import { type ByteReader, unzigzag } from '../bytes.ts'
import { type Decode, type DecodeBounds, DecodeFault, malformed } from '../decode.ts'
import { decoding, type Read } from '../decoding.ts'

/** The binary encoding and nothing else: of one schema, which nothing in the payload names. */
export function avroBinaryDecoder(schema: AvroSchema, bounds: DecodeBounds): Decode {
  return decoding('avro', bounds, compile(schema))
}

const marker = [0xc3, 0x01] as const

/** The single-object encoding: two bytes, the fingerprint of the schema it was written with, and the binary encoding. */
export function avroSingleObjectDecoder(schemas: readonly AvroSchema[], bounds: DecodeBounds): Decode {
  const byFingerprint = new Map(schemas.map((one) => [fingerprintOf(one).toString('hex'), compile(one)]))
  return decoding('avro', bounds, (reader, building) => {
    if (reader.bytes[0] !== marker[0] || reader.bytes[1] !== marker[1])
      throw malformed(
        'it does not begin with C3 01; what has no such header is for a route with encoding: binary',
      )
    reader.pass(marker.length)
    const fingerprint = reader.take(8).toString('hex')
    const read = byFingerprint.get(fingerprint)
    if (!read)
      throw new DecodeFault(
        'WRITER_SCHEMA_UNKNOWN',
        `it was written with the schema of the fingerprint ${fingerprint}, which is none of the route's: add that schema's file`,
      )
    return read(reader, building)
  })
}

/** A record that holds itself is compiled once. */
function compile(schema: AvroSchema, known = new Map<AvroSchema, Read>()): Read {
  switch (schema.kind) {
    case 'record':
      return known.get(schema) ?? readRecord(schema, known)
    case 'enum':
      return (reader, building) => {
        const symbol = schema.symbols[indexOf(reader)]
        if (symbol === undefined) throw malformed(`${schema.name} has no such symbol`)
        return building.ascii(symbol)
      }
    case 'fixed':
      return readFixed(schema)
    case 'array':
      return readArray(compile(schema.items, known))
    case 'map':
      return readMap(compile(schema.values, known))
    case 'union':
      return readUnion(schema.branches.map((one) => compile(one, known)))
    default:
      return readPrimitive(schema)
  }
}

function readRecord(record: AvroRecord, known: Map<AvroSchema, Read>): Read {
  const fields: { name: string; textBytes: number; read: Read }[] = []
  const read: Read = (reader, building) => {
    const object: JsonObject = {}
    building.enter()
    for (const field of fields) {
      const value = field.read(reader, building)
      if (value === undefined) continue
      building.charge(field.textBytes)
      setMember(object, field.name, value)
    }
    building.leave()
    return object
  }
  known.set(record, read)
  for (const { name, type } of record.fields)
    fields.push({ name, textBytes: name.length + 3, read: readField(type, known) })
  return read
}

/** The null of a union is how Avro leaves a field out: it is not in the JSON, as where a device leaves it out there. */
function readField(type: AvroSchema, known: Map<AvroSchema, Read>): Read {
  if (type.kind !== 'union') return compile(type, known)
  return readUnion(type.branches.map((one) => (one.kind === 'null' ? () => undefined : compile(one, known))))
}

function readUnion(branches: readonly Read[]): Read {
  return (reader, building) => {
    const read = branches[indexOf(reader)]
    if (!read) throw malformed('a union has no such branch')
    return read(reader, building)
  }
}

function readArray(read: Read): Read {
  return (reader, building) => {
    const items: unknown[] = []
    building.enter()
    eachOfBlocks(reader, () => items.push(read(reader, building)))
    building.leave()
    return items
  }
}

function readMap(read: Read): Read {
  return (reader, building) => {
    const object: JsonObject = {}
    building.enter()
    eachOfBlocks(reader, () => {
      const name = building.text(reader, lengthOf(reader))
      building.member(object, name, read(reader, building))
    })
    building.leave()
    return object
  }
}

/** Blocks of items until one of none. A count below zero has the length of the block in bytes behind it. */
function eachOfBlocks(reader: ByteReader, one: () => void): void {
  for (;;) {
    const count = longOf(reader)
    // Also one that was written in more bytes than it needs.
    if (Number(count) === 0) return
    if (count < 0) longOf(reader)
    const items = count < 0 ? -count : count
    for (let index = 0; index < items; index += 1) one()
  }
}

function readFixed({ size, logicalType, scale = 0 }: AvroFixed): Read {
  return (reader, building) => {
    const bytes = reader.take(size)
    const text = fixedText(bytes, logicalType, scale)
    return text === undefined ? building.base64(bytes) : building.ascii(text)
  }
}

function readPrimitive({ kind, logicalType, scale = 0 }: AvroPrimitive): Read {
  switch (kind) {
    case 'null':
      return (_, building) => building.none()
    case 'boolean':
      return readBoolean
    case 'int':
      return readNumber(intOf, intTexts.get(logicalType ?? ''))
    case 'long':
      return readNumber(longOf, longTexts.get(logicalType ?? ''))
    case 'float':
      return (reader, building) => building.float(reader.bytes.readFloatLE(reader.pass(4)))
    case 'double':
      return (reader, building) => building.float(reader.bytes.readDoubleLE(reader.pass(8)))
    case 'string':
      return (reader, building) => building.text(reader, lengthOf(reader))
    case 'bytes':
      return (reader, building) => {
        const bytes = reader.take(lengthOf(reader))
        return logicalType === 'decimal' ? building.ascii(decimalText(bytes, scale)) : building.base64(bytes)
      }
  }
}

function readBoolean(reader: ByteReader, building: Building): boolean {
  const byte = reader.byte()
  if (byte > 1) throw malformed('a boolean is neither 0 nor 1')
  return building.boolean(byte === 1)
}

function readNumber(read: (reader: ByteReader) => number | bigint, textOf: NumberText | undefined): Read {
  if (!textOf) return (reader, building) => building.integer(read(reader))
  return (reader, building) => {
    const value = read(reader)
    const text = textOf(value)
    return text === undefined ? building.integer(value) : building.ascii(text)
  }
}

function longOf(reader: ByteReader): number | bigint {
  return unzigzag(reader.varint())
}

function intOf(reader: ByteReader): number {
  const value = Number(longOf(reader))
  if ((value | 0) !== value) throw malformed('an int has more than 32 bits')
  return value
}

function indexOf(reader: ByteReader): number {
  return Number(longOf(reader))
}

function lengthOf(reader: ByteReader): number | bigint {
  const length = longOf(reader)
  if (length < 0) throw malformed('a length is below zero')
  return length
}
