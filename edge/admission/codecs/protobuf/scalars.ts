import type { Building } from '../building.ts'
import { type ByteReader, unzigzag } from '../bytes.ts'

/** One of the scalar types: how it stands on the wire, and in JSON. */
export interface ProtobufScalar {
  wireType: number
  read(reader: ByteReader, building: Building): unknown
  /** Its default. */
  zero(building: Building): unknown
}

const number = (wireType: number, read: (reader: ByteReader) => number): ProtobufScalar => ({
  wireType,
  read: (reader, building) => building.float(read(reader)),
  zero: (building) => building.float(0),
})

/** 64 bits are texts in JSON, whatever their size, so that a field is always of one type. */
const long = (wireType: number, read: (reader: ByteReader) => number | bigint): ProtobufScalar => ({
  wireType,
  read: (reader, building) => building.decimal(read(reader)),
  zero: (building) => building.decimal(0),
})

const signed = (bits: number, value: number | bigint): bigint => BigInt.asIntN(bits, BigInt(value))
const low = (value: number | bigint): number =>
  typeof value === 'number' ? value : Number(BigInt.asUintN(32, value))

/** By their names in .proto files. */
export const scalars = {
  double: number(1, (reader) => reader.bytes.readDoubleLE(reader.pass(8))),
  float: number(5, (reader) => reader.bytes.readFloatLE(reader.pass(4))),
  int32: number(0, (reader) => low(reader.varint()) | 0),
  uint32: number(0, (reader) => low(reader.varint())),
  sint32: number(0, (reader) => Number(unzigzag(BigInt(low(reader.varint())))) | 0),
  fixed32: number(5, (reader) => reader.bytes.readUInt32LE(reader.pass(4))),
  sfixed32: number(5, (reader) => reader.bytes.readInt32LE(reader.pass(4))),
  int64: long(0, (reader) => signed(64, reader.varint())),
  uint64: long(0, (reader) => reader.varint()),
  sint64: long(0, (reader) => unzigzag(reader.varint())),
  fixed64: long(1, (reader) => reader.bytes.readBigUInt64LE(reader.pass(8))),
  sfixed64: long(1, (reader) => reader.bytes.readBigInt64LE(reader.pass(8))),
  bool: {
    wireType: 0,
    read: (reader, building) => building.boolean(Number(reader.varint()) !== 0),
    zero: (building) => building.boolean(false),
  },
  enum: number(0, (reader) => Number(signed(32, reader.varint()))),
  string: {
    wireType: 2,
    read: (reader, building) => building.text(reader, reader.varint()),
    zero: (building) => building.ascii(''),
  },
  bytes: {
    wireType: 2,
    read: (reader, building) => building.base64(reader.take(reader.varint())),
    zero: (building) => building.ascii(''),
  },
} as const satisfies Record<string, ProtobufScalar>
