import { malformed } from './decode.ts'

/** Bits of a base 128 number that are summed up without a BigInt. */
const smallBits = 28

/** The bytes of one payload, from the front. Every read that would go beyond the end is a fault of the payload. */
export class ByteReader {
  readonly bytes: Buffer
  readonly end: number
  at: number

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  byte(): number {
    if (this.at >= this.end) throw endsEarly()
    return this.bytes[this.at++] as number
  }

  /** Passes over so many bytes and answers where they begin. */
  pass(length: number | bigint): number {
    if (length > this.left) throw endsEarly()
    const from = this.at
    this.at += Number(length)
    return from
  }

  /** They are a view: the payload's memory. */
  take(length: number | bigint): Buffer {
    const from = this.pass(length)
    return this.bytes.subarray(from, this.at)
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.pass(2))
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.pass(4))
  }

  uint64(): bigint {
    return this.bytes.readBigUInt64BE(this.pass(8))
  }

  /** RFC 8949, appendix D. */
  float16(): number {
    const half = this.uint16()
    const exponent = (half >> 10) & 0x1f
    const mantissa = half & 0x3ff
    const sign = half & 0x8000 ? -1 : 1
    if (exponent === 0) return sign * mantissa * 2 ** -24
    if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN
    return sign * (mantissa + 1024) * 2 ** (exponent - 25)
  }

  float32(): number {
    return this.bytes.readFloatBE(this.pass(4))
  }

  float64(): number {
    return this.bytes.readDoubleBE(this.pass(8))
  }

  /** Base 128, the lowest seven bits first, as Avro and Protobuf have it: 64 bits, of what is more the lowest. */
  varint(): number | bigint {
    let value = 0
    for (let shift = 0; shift < smallBits; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    return this.#longVarint(BigInt(value))
  }

  #longVarint(low: bigint): bigint {
    let value = low
    for (let shift = smallBits; shift < 70; shift += 7) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << BigInt(shift)
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw malformed('a number has more than ten bytes')
  }
}

/** A number whose lowest bit is its sign. */
export function unzigzag(value: number | bigint): number | bigint {
  if (typeof value === 'number') return (value >>> 1) ^ -(value & 1)
  return (value >> 1n) ^ -(value & 1n)
}

function endsEarly(): Error {
  return malformed('the payload ends before what it begins')
}
