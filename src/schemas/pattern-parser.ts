/** What a pattern is made of, as far as whether a text matches depends on it. */
export type PatternNode =
  /** One code point: a character, an escape or a class, as it is written. */
  | { kind: 'one'; source: string }
  | { kind: 'assertion'; holds: Assertion }
  | { kind: 'sequence'; parts: readonly PatternNode[] }
  | { kind: 'choice'; options: readonly PatternNode[] }
  | { kind: 'repeat'; node: PatternNode; min: number; max: number }

export type Assertion = 'start' | 'end' | 'boundary' | 'no boundary'

const assertions: Readonly<Record<string, Assertion>> = {
  '^': 'start',
  $: 'end',
  '\\b': 'boundary',
  '\\B': 'no boundary',
}

/**
 * Reads a regular expression of ECMA-262 with the flag `u`, which is what JSON Schema's patterns are (2020-12 Core, 6.4).
 * @throws SyntaxError it is none; Error it holds what cannot be matched in linear time: look-around, a back-reference
 */
export function parsePattern(pattern: string): PatternNode {
  // The grammar is the engine's own: what is left to be read here is known to be right.
  void new RegExp(pattern, 'u')
  return new Parser(pattern).choice()
}

class Parser {
  readonly #pattern: string
  #at = 0

  constructor(pattern: string) {
    this.#pattern = pattern
  }

  choice(): PatternNode {
    const options = [this.#sequence()]
    while (this.#takes('|')) options.push(this.#sequence())
    return options.length === 1 ? (options[0] as PatternNode) : { kind: 'choice', options }
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = []
    while (this.#at < this.#pattern.length && !this.#sees('|') && !this.#sees(')'))
      parts.push(this.#repeated(this.#atom()))
    return parts.length === 1 ? (parts[0] as PatternNode) : { kind: 'sequence', parts }
  }

  #atom(): PatternNode {
    if (this.#takes('(')) return this.#group()
    const source = this.#match(
      /\[(?:\\.|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\x..|\\c.|\\k<[^>]*>|\\[0-9]+|\\.|./suy,
    )
    if (/^\\(?:[1-9]|k)/.test(source)) throw unusable(`the back-reference ${source}`)
    const holds = assertions[source]
    return holds === undefined ? { kind: 'one', source } : { kind: 'assertion', holds }
  }

  /** Whether it is captured, and under which name, is of no matter. */
  #group(): PatternNode {
    const opening = this.#match(/\?(?:<?[=!]|<[^>]*>|[^:]*:)|/suy)
    if (/^\?<?[=!]/.test(opening)) throw unusable(`look-around, (${opening}…)`)
    if (/^\?[^:<]/.test(opening)) throw unusable(`flags of its own, (${opening}…)`)
    const node = this.choice()
    this.#at += 1
    return node
  }

  /** That a quantifier is lazy changes what is found, and not whether. */
  #repeated(node: PatternNode): PatternNode {
    const quantifier = this.#match(/(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??|/suy)
    if (quantifier === '') return node
    if (quantifier.startsWith('*')) return { kind: 'repeat', node, min: 0, max: Infinity }
    if (quantifier.startsWith('+')) return { kind: 'repeat', node, min: 1, max: Infinity }
    if (quantifier.startsWith('?')) return { kind: 'repeat', node, min: 0, max: 1 }
    const [min = '', max = min] = quantifier.replace(/^\{|\}\??$/g, '').split(',')
    return { kind: 'repeat', node, min: Number(min), max: max === '' ? Infinity : Number(max) }
  }

  #sees(character: string): boolean {
    return this.#pattern.startsWith(character, this.#at)
  }

  #takes(character: string): boolean {
    const sees = this.#sees(character)
    if (sees) this.#at += character.length
    return sees
  }

  #match(expression: RegExp): string {
    expression.lastIndex = this.#at
    const [found = ''] = expression.exec(this.#pattern) ?? []
    this.#at += found.length
    return found
  }
}

function unusable(what: string): Error {
  return new Error(
    `${what} cannot be matched in linear time; say it in another way, such as with allOf and not`,
  )
}
