const hashBytes = 16
const wordsPerHash = 4
const digitsPerWord = 8
const shardCount = 256
/** For each of the shards. */
const placesMin = 8

/** Value of each hexadecimal digit, by its character; 0 of what is none, as damage makes it. */
const valueOfDigit = new Uint8Array(128)
for (let value = 0; value < 16; value++) valueOfDigit[value.toString(16).charCodeAt(0)] = value

/**
 * An exact set of 128-bit hashes in 32 to 64 bytes each: open addressing with linear probing in typed arrays that are at most half full.
 * There is one for each first byte of a hash, so that none is long to grow or to sort. Source: Knuth, TAOCP 3, 6.4, algorithm L. A hash is 32
 * hexadecimal digits; the one of zeros, which no event has, marks a free place.
 */
export class IdSet {
  readonly #shards: readonly Shard[]
  readonly #hash = new Int32Array(wordsPerHash)

  /** @param expected so many need not grow on the way */
  constructor(expected = 0) {
    let places = placesMin
    while (places * shardCount < 2 * expected) places *= 2
    this.#shards = Array.from({ length: shardCount }, () => new Shard(places))
  }

  get size(): number {
    return this.#shards.reduce((sum, shard) => sum + shard.size, 0)
  }

  has(hash: string): boolean {
    return this.#shardOf(hash, 0).has(this.#hash)
  }

  add(hash: string): void {
    this.#shardOf(hash, 0).add(this.#hash)
  }

  /** @param hashes one behind the other */
  addAll(hashes: string): void {
    const digits = wordsPerHash * digitsPerWord
    for (let at = 0; at + digits <= hashes.length; at += digits) this.#shardOf(hashes, at).add(this.#hash)
  }

  /** All of it in ascending order, which is also that of the texts. */
  *sorted(): Generator<string> {
    for (const shard of this.#shards) yield* shard.hashes().toSorted()
  }

  /** Where the hash that stands in a text belongs, which `#hash` is from here on. */
  #shardOf(text: string, from: number): Shard {
    for (let word = 0; word < wordsPerHash; word++) {
      const end = from + (word + 1) * digitsPerWord
      let value = 0
      for (let at = end - digitsPerWord; at < end; at++)
        value = (value << 4) | (valueOfDigit[text.charCodeAt(at)] ?? 0)
      this.#hash[word] = value
    }
    return this.#shards[(this.#hash[0] as number) >>> 24] as Shard
  }
}

/** Those of one first byte. */
class Shard {
  #places: number
  #words: Int32Array
  size = 0

  constructor(places: number) {
    this.#places = places
    this.#words = new Int32Array(places * wordsPerHash)
  }

  has(hash: Int32Array): boolean {
    return isTaken(this.#words, this.#find(hash, 0))
  }

  add(hash: Int32Array): void {
    if (2 * (this.size + 1) > this.#places) this.#grow()
    if (this.#put(hash, 0)) this.size += 1
  }

  hashes(): string[] {
    const bytes = Buffer.alloc(hashBytes)
    const hashes: string[] = []
    for (let place = 0; place < this.#words.length; place += wordsPerHash) {
      if (!isTaken(this.#words, place)) continue
      for (let word = 0; word < wordsPerHash; word++)
        bytes.writeInt32BE(this.#words[place + word] as number, 4 * word)
      hashes.push(bytes.toString('hex'))
    }
    return hashes
  }

  /** Where the hash is that stands at `from` in `hashes`, or the free place where it belongs. */
  #find(hashes: Int32Array, from: number): number {
    const words = this.#words
    const mask = this.#places - 1
    for (let index = (hashes[from + 1] as number) & mask; ; index = (index + 1) & mask) {
      const place = index * wordsPerHash
      if (
        words[place] === hashes[from] &&
        words[place + 1] === hashes[from + 1] &&
        words[place + 2] === hashes[from + 2] &&
        words[place + 3] === hashes[from + 3]
      )
        return place
      if (!isTaken(words, place)) return place
    }
  }

  /** false: it was there. Word by word: to set a few at once takes many times as long. */
  #put(hashes: Int32Array, from: number): boolean {
    const place = this.#find(hashes, from)
    if (isTaken(this.#words, place)) return false
    for (let word = 0; word < wordsPerHash; word++) this.#words[place + word] = hashes[from + word] as number
    return true
  }

  #grow(): void {
    const before = this.#words
    this.#places *= 2
    this.#words = new Int32Array(this.#places * wordsPerHash)
    for (let from = 0; from < before.length; from += wordsPerHash)
      if (isTaken(before, from)) this.#put(before, from)
  }
}

function isTaken(words: Int32Array, place: number): boolean {
  for (let word = place; word < place + wordsPerHash; word++) if (words[word] !== 0) return true
  return false
}
