import { isUtf8 } from 'node:buffer'
import type { ByteReader } from './bytes.ts'
import { containersMax, DecodeFault, type DecodeBounds, depthMax, malformed } from './decode.ts'

export type JsonObject = Record<string, unknown>

export const keyFault = 'a key of a map is neither a text nor a whole number'

/** As deep as Protobuf itself reads (protobuf.dev, "recursion limit"): of a Struct each level of JSON is two messages. */
const nestingMax = 100

/** Longer ones are refused: to write a number of bytes in decimal digits takes a time that grows with its square (G7). */
export const bigNumberBytesMax = 128

/** Texts up to so long are looked at byte by byte, which is faster than asking. */
const shortTextBytes = 48

/**
 * The JSON value that is made of one payload: what goes into it is counted before it is made, so that what a few bytes can
 * claim is bounded (G7). What JSON has no form for gets the one that Protobuf's JSON mapping gives it
 * (protobuf.dev/programming-guides/json): bytes are base64, integers that a double does not hold exactly, NaN and infinity are texts.
 */
export class Building {
  readonly #textBytesMax: number
  #textBytes = 0
  #containers = 0
  #depth = 0
  #nesting = 0
  skippedBytes = 0

  constructor({ textBytesMax }: DecodeBounds) {
    this.#textBytesMax = textBytesMax
  }

  /** An object or an array begins, and what follows is in it until it is left. */
  enter(): void {
    this.deeper()
    this.container()
  }

  /** One more object or array. */
  container(): void {
    this.#containers += 1
    if (this.#containers > containersMax)
      throw new DecodeFault('TOO_MANY_VALUES', `there are more than ${containersMax} objects and arrays`)
    this.charge(3)
  }

  /** What follows is one level deeper, until it is left. */
  deeper(): void {
    this.#depth += 1
    if (this.#depth > depthMax)
      throw new DecodeFault('TOO_DEEP', `values are nested more than ${depthMax} levels deep`)
  }

  leave(): void {
    this.#depth -= 1
  }

  /** What follows is within something that JSON may have no level for: who has a thousand is refused before the stack is full. */
  nest(): void {
    this.#nesting += 1
    if (this.#nesting > nestingMax)
      throw new DecodeFault(
        'TOO_DEEP',
        `there are more than ${nestingMax} messages, groups or tags within one another`,
      )
  }

  unnest(): void {
    this.#nesting -= 1
  }

  /** So many bytes of JSON more. */
  charge(textBytes: number): void {
    this.#textBytes += textBytes
    if (this.#textBytes > this.#textBytesMax)
      throw new DecodeFault(
        'PAYLOAD_TOO_LARGE',
        `as JSON it has more than the ${this.#textBytesMax} bytes that are allowed`,
      )
  }

  /** Text that was counted, and of which something else is made. */
  giveBack(value: unknown): void {
    this.#textBytes -= typeof value === 'string' ? value.length + 3 : String(value).length + 1
  }

  none(): null {
    this.charge(5)
    return null
  }

  boolean(value: boolean): boolean {
    this.charge(6)
    return value
  }

  float(value: number): number | string {
    const text = String(value)
    if (Number.isFinite(value)) {
      this.charge(text.length + 1)
      return value
    }
    this.charge(text.length + 3)
    return text
  }

  integer(value: number | bigint): number | string {
    if (typeof value === 'number' ? Number.isSafeInteger(value) : isSafe(value))
      return this.float(Number(value))
    return this.decimal(value)
  }

  /** As text, whatever its size. */
  decimal(value: number | bigint): string {
    return this.ascii(String(value))
  }

  /** Text of ours, in which there is nothing to escape. */
  ascii(text: string): string {
    this.charge(text.length + 3)
    return text
  }

  base64(bytes: Buffer): string {
    this.charge(Math.ceil(bytes.length / 3) * 4 + 3)
    return bytes.toString('base64')
  }

  /** The next bytes, as text that every store behind us can keep. */
  text(reader: ByteReader, length: number | bigint): string {
    const from = reader.pass(length)
    const { bytes, at } = reader
    this.charge(at - from + 3)
    if (at - from <= shortTextBytes && isPlain(bytes, from, at)) return bytes.toString('latin1', from, at)
    if (!isUtf8(bytes.subarray(from, at))) throw new DecodeFault('NOT_UTF8', 'a text is not UTF-8')
    const text = bytes.toString('utf8', from, at)
    this.#chargeEscapes(text)
    return text
  }

  /** Of a member, by the key of a map: a text, or a whole number as its digits. @throws DecodeFault it is another key. */
  nameOf(key: unknown): string {
    if (typeof key === 'string') return key
    if (typeof key === 'number' && Number.isSafeInteger(key)) return this.ascii(String(key))
    throw malformed(keyFault)
  }

  /** @throws DecodeFault there is a member of that name: one of the two would be lost. */
  member(object: JsonObject, name: string, value: unknown): void {
    if (Object.hasOwn(object, name)) throw malformed('a key of a map is there twice')
    setMember(object, name, value)
  }

  #chargeEscapes(text: string): void {
    // oxlint-disable-next-line no-control-regex -- control characters are what JSON escapes
    if (!/["\\\u0000-\u001f]/.test(text)) return
    if (text.includes('\u0000')) throw new DecodeFault('UNSTORABLE_TEXT', 'a text holds U+0000')
    this.charge(JSON.stringify(text).length - text.length)
  }
}

/** Also one that is called `__proto__`, as JSON.parse does. */
export function setMember(object: JsonObject, name: string, value: unknown): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
}

/** A whole number of any size, as it stands in bytes: the highest first, two's complement or without a sign. */
export function bigInteger(bytes: Buffer, { signed }: { signed: boolean }): bigint {
  if (bytes.length > bigNumberBytesMax)
    throw new DecodeFault('NUMBER_OUT_OF_RANGE', `a number has more than ${bigNumberBytesMax} bytes`)
  if (bytes.length === 0) return 0n
  const value = BigInt(`0x${bytes.toString('hex')}`)
  return signed ? BigInt.asIntN(bytes.length * 8, value) : value
}

function isSafe(value: bigint): boolean {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
}

const quote = 0x22
const backslash = 0x5c

/** ASCII that JSON does not escape. */
function isPlain(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number
    if (byte < 0x20 || byte > 0x7e || byte === quote || byte === backslash) return false
  }
  return true
}
