/**
 * A Bloom filter over 128-bit hashes: "certainly not" or "perhaps". 12 bits and 8 probes per entry give about
 * 0.3 % false positives when full; a positive is looked up in the store, so it costs time, never correctness.
 * Source: B. Bloom, CACM 13(7), 1970; double hashing: Kirsch & Mitzenmacher, ESA 2006.
 */
export interface Bloom {
  add(hash: string): void
  mayHave(hash: string): boolean
}

const bitsPerEntry = 12
const probes = 8

/** `hash` is base64url text of at least 16 characters, uniformly distributed. */
export function createBloom(entriesMax: number): Bloom {
  const words = Math.max(32, Math.ceil((entriesMax * bitsPerEntry) / 32))
  const bits = new Uint32Array(words)
  const size = words * 32

  return {
    add(hash) {
      let probe = number32(hash, 0)
      const step = number32(hash, 8) | 1
      for (let index = 0; index < probes; index++) {
        const bit = (probe >>> 0) % size
        bits[bit >>> 5] = (bits[bit >>> 5] as number) | (1 << (bit & 31))
        probe = (probe + step) >>> 0
      }
    },
    mayHave(hash) {
      let probe = number32(hash, 0)
      const step = number32(hash, 8) | 1
      for (let index = 0; index < probes; index++) {
        const bit = (probe >>> 0) % size
        if (((bits[bit >>> 5] as number) & (1 << (bit & 31))) === 0) return false
        probe = (probe + step) >>> 0
      }
      return true
    },
  }
}

// Two 32-bit numbers from the text's own randomness: six bits a character.
function number32(hash: string, from: number): number {
  let value = 0
  for (let index = from; index < from + 8; index++)
    value = (Math.imul(value, 61) + hash.charCodeAt(index)) >>> 0
  return Math.imul(value ^ (value >>> 15), 0x2c1b3c6d) >>> 0
}
