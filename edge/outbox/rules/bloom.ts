import { crc32 } from 'node:zlib'

const bitsPerEntry = 12
const probes = 8

/**
 * A Bloom filter over 128-bit hashes: "certainly not" or "perhaps". 12 bits and 8 probes per entry give about
 * 0.3 % false positives when full; a positive is looked up in the store, so it costs time, never correctness.
 * A hash is hexadecimal text of at least 16 digits, uniformly distributed.
 * Source: B. Bloom, CACM 13(7), 1970; double hashing: Kirsch & Mitzenmacher, ESA 2006.
 */
export class Bloom {
  readonly #bits: Uint32Array
  readonly #size: number

  private constructor(bits: Uint32Array) {
    this.#bits = bits
    this.#size = bits.length * 32
  }

  static for(entriesMax: number): Bloom {
    return new Bloom(new Uint32Array(Math.max(32, Math.ceil((entriesMax * bitsPerEntry) / 32))))
  }

  /** undefined: it is not what `encode` gave. */
  static decode(text: string): Bloom | undefined {
    const [sum, base64 = ''] = text.split('\t')
    // A buffer of its own: its words are then where an array of words wants them.
    const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(base64, 'base64'))
    bytes.write(base64, 'base64')
    if (crc32(bytes).toString(36) !== sum || bytes.length === 0) return undefined
    return new Bloom(new Uint32Array(bytes.buffer))
  }

  encode(): string {
    const bytes = Buffer.from(this.#bits.buffer)
    return `${crc32(bytes).toString(36)}\t${bytes.toString('base64')}`
  }

  add(hash: string): void {
    let probe = number32(hash, 0)
    const step = number32(hash, 8) | 1
    for (let index = 0; index < probes; index++) {
      const bit = (probe >>> 0) % this.#size
      this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] as number) | (1 << (bit & 31))
      probe = (probe + step) >>> 0
    }
  }

  mayHave(hash: string): boolean {
    let probe = number32(hash, 0)
    const step = number32(hash, 8) | 1
    for (let index = 0; index < probes; index++) {
      const bit = (probe >>> 0) % this.#size
      if (((this.#bits[bit >>> 5] as number) & (1 << (bit & 31))) === 0) return false
      probe = (probe + step) >>> 0
    }
    return true
  }
}

// Two 32-bit numbers from the text's own randomness: four bits a digit.
function number32(hash: string, from: number): number {
  let value = 0
  for (let index = from; index < from + 8; index++)
    value = (Math.imul(value, 61) + hash.charCodeAt(index)) >>> 0
  return Math.imul(value ^ (value >>> 15), 0x2c1b3c6d) >>> 0
}
