import { type Building, type JsonObject, setMember } from '../building.ts'
import { ByteReader } from '../bytes.ts'
import { type Decode, type DecodeBounds, malformed } from '../decode.ts'
import { decoding } from '../decoding.ts'
import { type ProtobufScalar, scalars } from './scalars.ts'
import { wellKnown } from './well-known.ts'

/** A message as it is read: fields in the order of the file. */
export interface ProtobufMessage {
  fullName: string
  fields: readonly ProtobufField[]
  byNumber: ReadonlyMap<number, ProtobufField>
}

export interface ProtobufField {
  /** Its place among the fields. */
  index: number
  number: number
  /** As in JSON. */
  name: string
  type: ProtobufType
  label: 'single' | 'repeated' | 'map'
  /** Of a map. */
  keyType?: ProtobufScalar
  /** Absent is something else than zero: what is not there is not in the JSON either. */
  hasPresence: boolean
  isRequired: boolean
  /** The other fields of its oneof, of which the last one counts. */
  others: readonly number[]
}

export type ProtobufType =
  | { kind: 'scalar'; scalar: ProtobufScalar }
  | { kind: 'enum'; names: ReadonlyMap<number, string>; first: number }
  | { kind: 'message'; message: ProtobufMessage }

/** One message in the wire format (protobuf.dev/programming-guides/encoding), in the JSON mapping of ProtoJSON. */
export function protobufDecoder(message: ProtobufMessage, bounds: DecodeBounds): Decode {
  return decoding('protobuf', bounds, (reader, building) =>
    new MessageReading(message, building).whole(reader),
  )
}

const wire = { varint: 0, fixed64: 1, length: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const
const fieldNumberMax = 2 ** 29 - 1

class MessageReading {
  readonly #message: ProtobufMessage
  readonly #building: Building
  /** By the fields' places. Of a message that is there once: the bytes of all of its parts, which are merged. */
  readonly #values: unknown[] = []

  constructor(message: ProtobufMessage, building: Building) {
    this.#message = message
    this.#building = building
  }

  whole(reader: ByteReader): unknown {
    this.#building.enter()
    this.#read(reader)
    const value = this.#finish()
    this.#building.leave()
    return value
  }

  #read(reader: ByteReader): void {
    while (reader.left > 0) {
      const from = reader.at
      const [number, wireType] = tagOf(reader)
      const field = this.#message.byNumber.get(number)
      if (field && this.#take(field, wireType, reader)) continue
      skip(reader, number, wireType, this.#building)
      this.#building.skippedBytes += reader.at - from
    }
  }

  /** False: it has another wire type than the schema's, and is as good as unknown. */
  #take(field: ProtobufField, wireType: number, reader: ByteReader): boolean {
    const { type, label } = field
    if (type.kind === 'message' || label === 'map') return this.#takeMessage(field, wireType, reader)
    const scalar = type.kind === 'scalar' ? type.scalar : scalars.enum
    if (wireType === scalar.wireType) {
      this.#put(field, scalarOf(type, scalar, reader, this.#building))
      return true
    }
    // Numbers of a repeated field may come packed or one by one, whatever the schema says.
    if (label !== 'repeated' || wireType !== wire.length || scalar.wireType === wire.length) return false
    const packed = part(reader)
    while (packed.left > 0) this.#put(field, scalarOf(type, scalar, packed, this.#building))
    return true
  }

  #takeMessage(field: ProtobufField, wireType: number, reader: ByteReader): boolean {
    if (wireType !== wire.length && wireType !== wire.groupStart) return false
    const inner = wireType === wire.length ? part(reader) : groupOf(reader, field.number, this.#building)
    if (field.label === 'map') this.#putEntry(field, inner)
    else if (field.label === 'repeated') this.#put(field, this.#deeper(field.type, inner))
    else this.#putPart(field, inner)
    return true
  }

  /** An array or a map is a level of its own. */
  #deeper(type: ProtobufType, reader: ByteReader): unknown {
    this.#building.deeper()
    const value = messageOf(type, reader, this.#building)
    this.#building.leave()
    return value
  }

  #put(field: ProtobufField, value: unknown): void {
    if (field.label !== 'repeated') {
      this.#values[field.index] = value
      for (const other of field.others) this.#values[other] = undefined
      return
    }
    const values = (this.#values[field.index] ??= []) as unknown[]
    values.push(value)
  }

  #putPart(field: ProtobufField, { bytes, at, end }: ByteReader): void {
    for (const other of field.others) this.#values[other] = undefined
    const parts = (this.#values[field.index] ??= []) as Buffer[]
    if (parts.push(bytes.subarray(at, end)) === 1) return
    // Each part counts as what it may be.
    this.#building.enter()
    this.#building.leave()
  }

  /** A message of two fields, key and value, either of which may be missing. Of several with one key the last counts. */
  #putEntry(field: ProtobufField, reader: ByteReader): void {
    const { type, keyType = scalars.string } = field
    const building = this.#building
    const object = (this.#values[field.index] ??= {}) as JsonObject
    let key: unknown
    let value: unknown
    while (reader.left > 0) {
      const from = reader.at
      const [number, wireType] = tagOf(reader)
      if (number === 1 && wireType === keyType.wireType) key = keyType.read(reader, building)
      else if (number === 2 && type.kind === 'message' && wireType === wire.length)
        value = this.#deeper(type, part(reader))
      else if (number === 2 && type.kind !== 'message' && wireType === scalarFor(type).wireType)
        value = scalarOf(type, scalarFor(type), reader, building)
      else {
        skip(reader, number, wireType, building)
        building.skippedBytes += reader.at - from
      }
    }
    const name = key === undefined ? keyType.zero(building) : key
    setMember(object, String(name), value === undefined ? zeroOf(type, building) : value)
  }

  #finish(): unknown {
    const object: JsonObject = {}
    for (const field of this.#message.fields) {
      const value = this.#valueOf(field)
      if (value === undefined) continue
      this.#building.charge(field.name.length + 3)
      setMember(object, field.name, value)
    }
    const mapped = wellKnown.get(this.#message.fullName)?.(object, this.#building)
    return mapped === undefined ? object : mapped
  }

  #valueOf(field: ProtobufField): unknown {
    const value = this.#values[field.index]
    const { label, type } = field
    if (value === undefined) {
      if (field.isRequired) throw malformed(`the required field ${field.name} is missing`)
      if (label === 'single') return field.hasPresence ? undefined : zeroOf(type, this.#building)
      this.#building.charge(3)
      return label === 'repeated' ? [] : {}
    }
    if (label !== 'single' || type.kind !== 'message') return value
    const parts = value as Buffer[]
    const all = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
    return messageOf(type, new ByteReader(all), this.#building)
  }
}

function messageOf(type: ProtobufType, reader: ByteReader, building: Building): unknown {
  if (type.kind !== 'message') throw malformed('a message is where none can be')
  return new MessageReading(type.message, building).whole(reader)
}

function scalarFor(type: ProtobufType): ProtobufScalar {
  return type.kind === 'scalar' ? type.scalar : scalars.enum
}

function scalarOf(
  type: ProtobufType,
  scalar: ProtobufScalar,
  reader: ByteReader,
  building: Building,
): unknown {
  return type.kind === 'enum' ? enumOf(type.names, reader, building) : scalar.read(reader, building)
}

/** By its name; a number that has none stays it. */
function enumOf(names: ReadonlyMap<number, string>, reader: ByteReader, building: Building): unknown {
  const number = Number(BigInt.asIntN(32, BigInt(reader.varint())))
  const name = names.get(number)
  return name === undefined ? building.integer(number) : building.ascii(name)
}

/** What a field has that is not there, and whose absence says nothing else. */
function zeroOf(type: ProtobufType, building: Building): unknown {
  if (type.kind === 'scalar') return type.scalar.zero(building)
  if (type.kind === 'message') return messageOf(type, new ByteReader(Buffer.alloc(0)), building)
  const name = type.names.get(type.first)
  return name === undefined ? building.integer(type.first) : building.ascii(name)
}

function tagOf(reader: ByteReader): [number: number, wireType: number] {
  const tag = Number(reader.varint())
  const number = Math.floor(tag / 8)
  if (number < 1 || number > fieldNumberMax) throw malformed('a field has a number that none can have')
  return [number, tag % 8]
}

/** The bytes of a field that says how many it has. */
function part(reader: ByteReader): ByteReader {
  const length = reader.varint()
  const from = reader.pass(length)
  return new ByteReader(reader.bytes, from, reader.at)
}

/** What is between the start of a group and its end. */
function groupOf(reader: ByteReader, number: number, building: Building): ByteReader {
  const from = reader.at
  const end = skipGroup(reader, number, building)
  return new ByteReader(reader.bytes, from, end)
}

function skip(reader: ByteReader, number: number, wireType: number, building: Building): void {
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

/** Answers where its content ends. Groups are skipped with what is in them, which may be groups. */
function skipGroup(reader: ByteReader, number: number, building: Building): number {
  building.deeper()
  for (;;) {
    const end = reader.at
    const [inner, wireType] = tagOf(reader)
    if (wireType !== wire.groupEnd) {
      skip(reader, inner, wireType, building)
      continue
    }
    if (inner !== number) throw malformed('a group ends that has not begun')
    building.leave()
    return end
  }
}
