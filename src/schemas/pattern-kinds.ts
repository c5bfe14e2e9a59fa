/** What stands on one side of a place in a text: nothing, a character of a word, or another. */
export type Side = 'nothing' | 'word' | 'other'

/** Code points beyond ASCII whose kind is remembered of one pattern. */
const kindsMax = 4096

/** Code points that a pattern cannot tell apart are of one kind. What is in a set is asked of the engine itself, a code point at a time. */
export class Kinds {
  readonly #tests: readonly RegExp[]
  readonly #kinds: { isIn: readonly boolean[]; side: Side }[] = []
  readonly #byMembers = new Map<string, number>()
  readonly #ascii: readonly number[]
  readonly #others = new Map<number, number>()

  constructor(sets: readonly string[]) {
    this.#tests = sets.map((set) => new RegExp(`^(?:${set})$`, 'u'))
    this.#ascii = Array.from({ length: 128 }, (_, code) => this.#find(code))
  }

  of(code: number): number {
    if (code < 128) return this.#ascii[code] as number
    const known = this.#others.get(code)
    if (known !== undefined) return known
    if (this.#others.size >= kindsMax) this.#others.clear()
    const kind = this.#find(code)
    this.#others.set(code, kind)
    return kind
  }

  /** By set, whether a code point of a kind is in it. */
  membersOf(kind: number): readonly boolean[] {
    return this.#kinds[kind]?.isIn ?? []
  }

  sideOf(kind: number): Side {
    return this.#kinds[kind]?.side ?? 'other'
  }

  #find(code: number): number {
    const character = String.fromCodePoint(code)
    const isIn = this.#tests.map((set) => set.test(character))
    const side = /^\w$/.test(character) ? 'word' : 'other'
    const members = `${side} ${isIn.map(Number).join('')}`
    let kind = this.#byMembers.get(members)
    if (kind === undefined) {
      kind = this.#kinds.push({ isIn, side }) - 1
      this.#byMembers.set(members, kind)
    }
    return kind
  }
}
