import { Kinds, type Side } from './pattern-kinds.ts'
import { type Assertion, parsePattern, type PatternNode } from './pattern-parser.ts'

/** What a text is held against. */
export interface Pattern {
  test(text: string): boolean
  /** Its source. */
  toString(): string
  /** Where one is in front of a text's first code point; */
  begin(): Reached
  /** where behind one more: `match` and `never`, whatever follows; */
  after(reached: Reached, code: number): Reached
  /** and whether a text that ends there matches. */
  isEnd(reached: Reached): boolean
}

/** Where one is in a pattern: the same for texts that it cannot tell apart. */
export type Reached = State | 'match' | 'never'

/** Instructions of one pattern: `{1,5000}` makes as many of what it repeats. */
const instructionsMax = 10_000
/** Places of all states that are remembered of one pattern; then it begins anew. */
const placesMax = 100_000

type Instruction =
  | { op: 'one'; set: number; next: number }
  | { op: 'split'; next: number; other: number }
  | { op: 'assert'; holds: Assertion; next: number }
  | { op: 'match' }

/** The places in the pattern that may have been reached in front of a character. */
interface State {
  places: readonly number[]
  before: Side
  /** By the kind of the next character. */
  arcs: (Arc | undefined)[]
  end?: Arc
}

interface Arc {
  to: State | 'match' | 'never'
  /** How many places were looked at: the same whether or not it is remembered. */
  steps: number
}

/**
 * A regular expression as JSON Schema means it (ECMA-262 with `u`, found anywhere in the text), matched in time linear in the text, whatever
 * the pattern: all ways through it are gone at once (K. Thompson, 1968), and what comes of a character is remembered.
 * `spend` is told of the work; what it throws ends the test.
 * @throws SyntaxError it is none; Error it has what needs more: look-around, a back-reference, too many repeats
 */
export function compilePattern(source: string, spend: (steps: number) => void): Pattern {
  return new LinearPattern(source, spend)
}

class LinearPattern implements Pattern {
  readonly #source: string
  readonly #spend: (steps: number) => void
  readonly #program: Program
  readonly #kinds: Kinds
  readonly #states = new Map<string, State>()
  #remembered = 0
  /** Which round an instruction was looked at last. */
  readonly #seen: Float64Array
  /** In which round it became one of the next places last. */
  readonly #listed: Float64Array
  #round = 0

  constructor(source: string, spend: (steps: number) => void) {
    this.#source = source
    this.#spend = spend
    this.#program = new Program(parsePattern(source))
    this.#kinds = new Kinds(this.#program.sets)
    this.#seen = new Float64Array(this.#program.instructions.length)
    this.#listed = new Float64Array(this.#program.instructions.length)
  }

  toString(): string {
    return this.#source
  }

  test(text: string): boolean {
    let state = this.#stateOf([], 'nothing')
    let steps = 0
    for (let at = 0; at < text.length;) {
      const code = text.codePointAt(at) as number
      at += code > 0xffff ? 2 : 1
      const kind = this.#kinds.of(code)
      const arc = (state.arcs[kind] ??= this.#arcOf(state, kind))
      steps += arc.steps
      if (steps > spentAtOnce) {
        this.#spend(steps)
        steps = 0
      }
      if (typeof arc.to === 'string') {
        this.#spend(steps)
        return arc.to === 'match'
      }
      state = arc.to
    }
    const end = (state.end ??= this.#arcOf(state, undefined))
    this.#spend(steps + end.steps)
    return end.to === 'match'
  }

  begin(): Reached {
    return this.#stateOf([], 'nothing')
  }

  after(reached: Reached, code: number): Reached {
    if (typeof reached === 'string') return reached
    const kind = this.#kinds.of(code)
    const arc = (reached.arcs[kind] ??= this.#arcOf(reached, kind))
    this.#spend(arc.steps)
    return arc.to
  }

  isEnd(reached: Reached): boolean {
    if (typeof reached === 'string') return reached === 'match'
    return (reached.end ??= this.#arcOf(reached, undefined)).to === 'match'
  }

  #arcOf({ places, before }: State, kind: number | undefined): Arc {
    const after = kind === undefined ? 'nothing' : this.#kinds.sideOf(kind)
    const isIn = kind === undefined ? [] : this.#kinds.membersOf(kind)
    const { next, isMatched, steps } = this.#follow(places, before, after, isIn)
    if (isMatched) return { to: 'match', steps }
    if (kind === undefined || (next.length === 0 && this.#program.isAnchored)) return { to: 'never', steps }
    return { to: this.#stateOf(next, after), steps }
  }

  #stateOf(places: readonly number[], before: Side): State {
    // Each place is a code unit: they are fewer than those.
    const key = before + String.fromCharCode(...places)
    let state = this.#states.get(key)
    if (state === undefined) {
      this.#remembered += 1 + places.length
      if (this.#remembered > placesMax) this.#forget()
      this.#states.set(key, (state = { places, before, arcs: [] }))
    }
    return state
  }

  /** States that lead to each other keep each other alive. */
  #forget(): void {
    for (const state of this.#states.values()) state.arcs = []
    this.#states.clear()
    this.#remembered = 0
  }

  /** A match may begin at each character: so the beginning is always among the places. */
  #follow(places: readonly number[], before: Side, after: Side, isIn: readonly boolean[]): Followed {
    this.#round += 1
    const { instructions, begin } = this.#program
    const left = [begin]
    for (const place of places) left.push(place)
    const next: number[] = []
    let isMatched = false
    let steps = 0
    for (let at = left.pop(); at !== undefined; at = left.pop()) {
      if (this.#seen[at] === this.#round) continue
      this.#seen[at] = this.#round
      steps += 1
      const instruction = instructions[at] as Instruction
      if (instruction.op === 'match') isMatched = true
      else if (instruction.op === 'split') left.push(instruction.other, instruction.next)
      else if (instruction.op === 'assert') {
        if (holdsBetween(instruction.holds, before, after)) left.push(instruction.next)
      } else if (isIn[instruction.set] === true && this.#isNew(instruction.next)) next.push(instruction.next)
    }
    return { next, isMatched, steps }
  }

  #isNew(place: number): boolean {
    const isNew = this.#listed[place] !== this.#round
    this.#listed[place] = this.#round
    return isNew
  }
}

interface Followed {
  /** Where one may be behind the character. */
  next: number[]
  isMatched: boolean
  steps: number
}

/** The counter is asked from time to time. */
const spentAtOnce = 100_000

function holdsBetween(holds: Assertion, before: Side, after: Side): boolean {
  if (holds === 'start') return before === 'nothing'
  if (holds === 'end') return after === 'nothing'
  return ((before === 'word') !== (after === 'word')) === (holds === 'boundary')
}

/** Made from its end to its beginning. */
class Program {
  readonly instructions: Instruction[] = [{ op: 'match' }]
  /** What one code point may be, as it is written. */
  readonly sets: string[] = []
  readonly begin: number
  /** Whether it can match nowhere but at the beginning of a text. */
  readonly isAnchored: boolean
  #copies = 0

  constructor(node: PatternNode) {
    this.begin = this.#add(node, 0)
    this.isAnchored = beginsWithStart(node)
  }

  #add(node: PatternNode, next: number): number {
    switch (node.kind) {
      case 'one':
        return this.#push({ op: 'one', set: this.#setOf(node.source), next })
      case 'assertion':
        return this.#push({ op: 'assert', holds: node.holds, next })
      case 'sequence':
        return node.parts.reduceRight((after, part) => this.#add(part, after), next)
      case 'choice':
        return node.options
          .map((option) => this.#add(option, next))
          .reduceRight((other, option) => this.#push({ op: 'split', next: option, other }))
      case 'repeat':
        return this.#addRepeat(node, next)
    }
  }

  #addRepeat({ node, min, max }: PatternNode & { kind: 'repeat' }, next: number): number {
    let begin = next
    if (max === Infinity) {
      const loop = { op: 'split' as const, next, other: next }
      begin = this.#push(loop)
      loop.next = this.#add(node, begin)
    } else {
      for (let count = min; count < max; count += 1)
        begin = this.#push({ op: 'split', next: this.#copy(node, begin), other: next })
    }
    for (let count = 0; count < min; count += 1) begin = this.#copy(node, begin)
    return begin
  }

  #copy(node: PatternNode, next: number): number {
    this.#copies += 1
    this.#bound(this.#copies)
    return this.#add(node, next)
  }

  #push(instruction: Instruction): number {
    this.#bound(this.instructions.length)
    return this.instructions.push(instruction) - 1
  }

  #bound(count: number): void {
    if (count >= instructionsMax)
      throw new Error(`it repeats too much: more than ${instructionsMax} places; use maxLength or maxItems`)
  }

  #setOf(source: string): number {
    const known = this.sets.indexOf(source)
    return known === -1 ? this.sets.push(source) - 1 : known
  }
}

function beginsWithStart(node: PatternNode): boolean {
  if (node.kind === 'assertion') return node.holds === 'start'
  if (node.kind === 'sequence') return node.parts[0] !== undefined && beginsWithStart(node.parts[0])
  if (node.kind === 'choice') return node.options.every(beginsWithStart)
  return node.kind === 'repeat' && node.min > 0 && beginsWithStart(node.node)
}
