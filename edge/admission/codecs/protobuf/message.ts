import { type Building, type JsonObject, setMember } from '../building.ts'
import type { ByteReader } from '../bytes.ts'
import { type Decode, type DecodeBounds, malformed } from '../decode.ts'
import { decoding } from '../decoding.ts'
import type { ProtobufSettings } from '../settings.ts'
import { type ProtobufScalar, scalars } from './scalars.ts'
import type { ProtobufField, ProtobufMessage, ProtobufType } from './schema.ts'
import { type Mapping, wellKnown } from './well-known.ts'
import { part, skip, tagOf, wire, wrongEnd } from './wire.ts'

/**
 * One message in the wire format (protobuf.dev/programming-guides/encoding), in the JSON mapping of ProtoJSON. Nothing in a
 * payload says which message it is: what has another wire type than the field of its number, or nothing of the message at all, is refused.
 */
export function protobufDecoder(
  message: ProtobufMessage,
  bounds: DecodeBounds,
  { unknown = 'keep', empty = 'quarantine' }: ProtobufSettings = {},
): Decode {
  return decoding('protobuf', bounds, (reader, building) => {
    const reading = new MessageReading(message, { building, refusesUnknown: unknown === 'quarantine' })
    reading.read(reader)
    if (!reading.hasAny && message.byNumber.size > 0 && empty !== 'zeros') throw nothingOf(message, reader)
    return reading.finish()
  })
}

function nothingOf({ fullName }: ProtobufMessage, { bytes }: ByteReader): Error {
  const why = bytes.length === 0 ? 'the payload is empty' : `nothing in it is of ${fullName.slice(1)}`
  return malformed(`${why}; if its device sends nothing of a message of zeros, the route says empty: zeros`)
}

interface Reading {
  building: Building
  refusesUnknown: boolean
}

/** One message that is being read, in one part or several, which are merged. Each byte is looked at once. */
class MessageReading {
  readonly #message: ProtobufMessage
  readonly #reading: Reading
  readonly #building: Building
  readonly #mapping: Mapping | undefined
  /** Of a message that is there once: its reading, until all of its parts are there. */
  readonly #values = new Map<ProtobufField, unknown>()
  #current: Map<string, ProtobufField> | undefined
  /** Something of it was there. */
  hasAny = false

  constructor(message: ProtobufMessage, reading: Reading) {
    this.#message = message
    this.#reading = reading
    this.#building = reading.building
    this.#mapping = wellKnown.get(message.fullName)
    if (!this.#mapping) this.#building.container()
  }

  whole(reader: ByteReader, group?: number): unknown {
    this.read(reader, group)
    return this.finish()
  }

  /** Takes what is left, or what is there until the end of the group. */
  read(reader: ByteReader, group?: number): void {
    this.#begin()
    for (;;) {
      if (group === undefined && reader.left === 0) break
      const from = reader.at
      const [number, wireType] = tagOf(reader)
      if (wireType === wire.groupEnd) {
        if (number !== group) throw wrongEnd()
        break
      }
      const field = this.#message.byNumber.get(number)
      if (field) this.#take(field, wireType, reader)
      else this.#skip(reader, from, number, wireType)
    }
    this.#end()
  }

  finish(): unknown {
    this.#begin()
    const object: JsonObject = {}
    for (const field of this.#fields()) {
      const value = this.#valueOf(field)
      if (!this.#mapping) this.#building.charge(field.name.length + 3)
      setMember(object, field.name, value)
    }
    this.#end()
    const mapped = this.#mapping?.(object, this.#building)
    if (mapped !== undefined) return mapped
    if (this.#mapping) this.#asObject(object)
    return object
  }

  /** A message whose JSON is no object of its fields is no level of it either. */
  #begin(): void {
    this.#building.nest()
    if (!this.#mapping) this.#building.deeper()
  }

  #end(): void {
    this.#building.unnest()
    if (!this.#mapping) this.#building.leave()
  }

  #asObject(object: JsonObject): void {
    this.#building.enter()
    for (const name of Object.keys(object)) this.#building.charge(name.length + 3)
    this.#building.leave()
  }

  #skip(reader: ByteReader, from: number, number: number, wireType: number): void {
    if (this.#reading.refusesUnknown)
      throw malformed(
        `there is no field ${number} in ${this.#message.fullName.slice(1)}, and the route says unknown: quarantine`,
      )
    skip(reader, number, wireType, this.#building)
    this.#building.skippedBytes += reader.at - from
  }

  #take(field: ProtobufField, wireType: number, reader: ByteReader): void {
    const { type, label } = field
    this.hasAny = true
    if (label === 'map') this.#putEntry(field, entryOf(field, wireType, reader))
    else if (type.kind === 'message') this.#takeMessage(field, type.message, wireType, reader)
    else {
      const scalar = scalarFor(type)
      // Numbers of a repeated field may come packed or one by one, whatever the schema says.
      const isPacked = label === 'repeated' && wireType === wire.length && scalar.wireType !== wire.length
      if (!isPacked) expectWire(field, wireType, scalar.wireType)
      const packed = isPacked ? part(reader) : undefined
      if (!packed) this.#put(field, scalarOf(type, scalar, reader, this.#building))
      else while (packed.left > 0) this.#put(field, scalarOf(type, scalar, packed, this.#building))
    }
  }

  #takeMessage(field: ProtobufField, message: ProtobufMessage, wireType: number, reader: ByteReader): void {
    expectWire(field, wireType, field.isGroup ? wire.groupStart : wire.length)
    const group = field.isGroup ? field.number : undefined
    const inner = field.isGroup ? reader : part(reader)
    if (field.label === 'repeated') {
      const items = this.#items(field)
      this.#building.deeper()
      items.push(new MessageReading(message, this.#reading).whole(inner, group))
      this.#building.leave()
      return
    }
    this.#choose(field)
    let child = this.#values.get(field) as MessageReading | undefined
    if (!child) this.#values.set(field, (child = new MessageReading(message, this.#reading)))
    child.read(inner, group)
  }

  #put(field: ProtobufField, value: unknown): void {
    if (field.label === 'repeated') {
      this.#items(field).push(value)
      return
    }
    this.#choose(field)
    this.#values.set(field, value)
  }

  #items(field: ProtobufField): unknown[] {
    const items = this.#values.get(field) as unknown[] | undefined
    if (items) return items
    const made: unknown[] = []
    this.#values.set(field, made)
    this.#emptyWithin()
    return made
  }

  /** An array or a map, a level deeper. */
  #emptyWithin(): void {
    this.#building.enter()
    this.#building.leave()
  }

  #choose(field: ProtobufField): void {
    if (field.oneof === undefined) return
    this.#current ??= new Map()
    const before = this.#current.get(field.oneof)
    if (before === field) return
    if (before) this.#drop(before)
    this.#current.set(field.oneof, field)
  }

  /** A message that was made for nothing counts as one all the same. */
  #drop(field: ProtobufField): void {
    if (this.#values.get(field) instanceof MessageReading) this.#building.container()
    this.#values.delete(field)
  }

  /** A message of two fields, key and value, either of which may be missing. Of several with one key the last counts. */
  #putEntry(field: ProtobufField, reader: ByteReader): void {
    const { type, keyType = scalars.string } = field
    const building = this.#building
    let object = this.#values.get(field) as JsonObject | undefined
    if (!object) {
      this.#values.set(field, (object = {}))
      this.#emptyWithin()
    }
    let key: unknown
    let value: unknown
    // What is in a map is a level deeper.
    building.deeper()
    const child = type.kind === 'message' ? new MessageReading(type.message, this.#reading) : undefined
    while (reader.left > 0) {
      const from = reader.at
      const [number, wireType] = tagOf(reader)
      if (number === 1) {
        expectWire(field, wireType, keyType.wireType)
        key = keyType.read(reader, building)
      } else if (number === 2) {
        expectWire(field, wireType, child ? wire.length : scalarFor(type).wireType)
        if (child) child.read(part(reader))
        else value = scalarOf(type, scalarFor(type), reader, building)
      } else this.#skip(reader, from, number, wireType)
    }
    key ??= keyType.zero(building)
    if (child) value = child.finish()
    building.leave()
    // Its quotes, of what is none in itself.
    if (typeof key !== 'string') building.charge(2)
    setMember(object, String(key), value === undefined ? zeroOf(type, building) : value)
  }

  /** Those that are in the JSON, in the order of the file. */
  #fields(): readonly ProtobufField[] {
    const sent: ProtobufField[] = []
    for (const field of this.#values.keys()) if (field.hasPresence && !field.isRequired) sent.push(field)
    const { always } = this.#message
    return sent.length === 0 ? always : [...always, ...sent].toSorted((one, other) => one.index - other.index)
  }

  #valueOf(field: ProtobufField): unknown {
    const value = this.#values.get(field)
    if (value instanceof MessageReading) return value.finish()
    if (value !== undefined) return value
    if (field.isRequired) throw malformed(`the required field ${field.name} is missing`)
    if (field.label === 'single') return zeroOf(field.type, this.#building)
    this.#emptyWithin()
    return field.label === 'repeated' ? [] : {}
  }
}

function expectWire({ name, number }: ProtobufField, wireType: number, wanted: number): void {
  if (wireType === wanted) return
  throw malformed(
    `${name} (${number}) has the wire type ${wireType}, and its type in the .proto file has ${wanted}: the file is not what it was written with`,
  )
}

function entryOf(field: ProtobufField, wireType: number, reader: ByteReader): ByteReader {
  expectWire(field, wireType, wire.length)
  return part(reader)
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
  if (type.kind === 'message') throw malformed('a message has no zero')
  const name = type.names.get(type.first)
  return name === undefined ? building.integer(type.first) : building.ascii(name)
}
