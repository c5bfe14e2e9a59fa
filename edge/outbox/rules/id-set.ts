const hashBytes = 16
const wordsPerHash = 4

/**
 * An exact set of 128-bit hashes in 32 bytes each, or less: open addressing with linear probing in one typed array, at most
 * half full. Source: Knuth, TAOCP 3, 6.4, algorithm L. A hash is 32 hexadecimal digits; the one of zeros, which no event
 * has, marks a free place.
 */
export class IdSet {
  #words: Uint32Array
  #places: number
  #size = 0
  readonly #bytes = Buffer.alloc(hashBytes)
  readonly #hash = new Uint32Array(this.#bytes.buffer, this.#bytes.byteOffset, wordsPerHash)

  constructor(expected = 0) {
    this.#places = placesFor(expected)
    this.#words = new Uint32Array(this.#places * wordsPerHash)
  }

  get size(): number {
    return this.#size
  }

  has(hash: string): boolean {
    this.#bytes.write(hash, 'hex')
    return this.#isTaken(this.#find(this.#hash))
  }

  add(hash: string): void {
    this.#bytes.write(hash, 'hex')
    if (2 * (this.#size + 1) > this.#places) this.#grow()
    this.#insert(this.#hash)
  }

  /** All of it in ascending order, which is also that of the texts. */
  *sorted(): Generator<string> {
    const bucketOf = (place: number): number => swapped(this.#words[place] as number) >>> 16
    const ends = new Uint32Array(2 ** 16 + 1)
    for (const place of this.#taken()) ends[bucketOf(place) + 1]! += 1
    for (let bucket = 0; bucket < 2 ** 16; bucket++) ends[bucket + 1]! += ends[bucket]!
    const next = ends.slice()
    const places = new Uint32Array(this.#size)
    for (const place of this.#taken()) places[next[bucketOf(place)]!++] = place
    const bytes = Buffer.from(this.#words.buffer)
    for (let bucket = 0; bucket < 2 ** 16; bucket++) {
      const hashes = [...places.subarray(ends[bucket], ends[bucket + 1])].map((place) =>
        bytes.toString('hex', 4 * place, 4 * place + hashBytes),
      )
      yield* hashes.toSorted()
    }
  }

  *#taken(): Generator<number> {
    for (let place = 0; place < this.#words.length; place += wordsPerHash)
      if (this.#isTaken(place)) yield place
  }

  #isTaken(place: number): boolean {
    const words = this.#words
    return (words[place]! | words[place + 1]! | words[place + 2]! | words[place + 3]!) !== 0
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

  #insert(hash: Uint32Array): void {
    const place = this.#find(hash)
    if (!this.#isTaken(place)) this.#size += 1
    this.#words.set(hash, place)
  }

  #grow(): void {
    const before = this.#words
    const taken = [...this.#taken()]
    this.#places *= 2
    this.#words = new Uint32Array(this.#places * wordsPerHash)
    this.#size = 0
    for (const place of taken) this.#insert(before.subarray(place, place + wordsPerHash))
  }
}

function placesFor(expected: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(512, 2 * expected)))
}

/** The number that the bytes of a word spell, the first byte first. */
function swapped(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0
}
