const hashBytes = 16
const wordsPerHash = 4
const shardCount = 256

/**
 * An exact set of 128-bit hashes in 32 to 64 bytes each: open addressing with linear probing in typed arrays that are at most half full.
 * There is one for each first byte of a hash, so that none is long to grow or to sort. Source: Knuth, TAOCP 3, 6.4, algorithm L. A hash is 32
 * hexadecimal digits; the one of zeros, which no event has, marks a free place.
 */
export class IdSet {
  readonly #shards = Array.from({ length: shardCount }, () => new Shard())
  readonly #bytes = Buffer.alloc(hashBytes)
  readonly #hash = new Uint32Array(this.#bytes.buffer, this.#bytes.byteOffset, wordsPerHash)

  get size(): number {
    return this.#shards.reduce((sum, shard) => sum + shard.size, 0)
  }

  has(hash: string): boolean {
    return this.#shardOf(hash).has(this.#hash)
  }

  add(hash: string): void {
    this.#shardOf(hash).add(this.#hash)
  }

  /** All of it in ascending order, which is also that of the texts. */
  *sorted(): Generator<string> {
    for (const shard of this.#shards) yield* shard.hashes().toSorted()
  }

  /** Where the hash belongs, which `#hash` is from here on. */
  #shardOf(hash: string): Shard {
    this.#bytes.write(hash, 'hex')
    return this.#shards[this.#bytes[0] as number] as Shard
  }
}

/** Those of one first byte. */
class Shard {
  #places = 8
  #words = new Uint32Array(this.#places * wordsPerHash)
  size = 0

  has(hash: Uint32Array): boolean {
    return this.#isTaken(this.#find(hash))
  }

  add(hash: Uint32Array): void {
    if (2 * (this.size + 1) > this.#places) this.#grow()
    const place = this.#find(hash)
    if (this.#isTaken(place)) return
    this.#words.set(hash, place)
    this.size += 1
  }

  hashes(): string[] {
    const bytes = Buffer.from(this.#words.buffer)
    return this.#taken().map((place) => bytes.toString('hex', 4 * place, 4 * place + hashBytes))
  }

  #taken(): number[] {
    const taken: number[] = []
    for (let place = 0; place < this.#words.length; place += wordsPerHash)
      if (this.#isTaken(place)) taken.push(place)
    return taken
  }

  #isTaken(place: number): boolean {
    const words = this.#words
    for (let word = place; word < place + wordsPerHash; word++) if (words[word] !== 0) return true
    return false
  }

  /** Where the hash is, or the free place where it belongs. */
  #find(hash: Uint32Array): number {
    const words = this.#words
    const mask = this.#places - 1
    for (let index = (hash[1] as number) & mask; ; index = (index + 1) & mask) {
      const place = index * wordsPerHash
      if (
        words[place] === hash[0] &&
        words[place + 1] === hash[1] &&
        words[place + 2] === hash[2] &&
        words[place + 3] === hash[3]
      )
        return place
      if (!this.#isTaken(place)) return place
    }
  }

  #grow(): void {
    const before = this.#words
    const taken = this.#taken()
    this.#places *= 2
    this.#words = new Uint32Array(this.#places * wordsPerHash)
    for (const place of taken) {
      const hash = before.subarray(place, place + wordsPerHash)
      this.#words.set(hash, this.#find(hash))
    }
  }
}
