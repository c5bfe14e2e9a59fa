import { type Case, casesOf, spreadOf } from '../language/cases.ts'
import { evaluate, hasRepeat } from '../language/evaluate.ts'
import { type Facts, factsOf, itemSchemas, memberSchemas, nameSchemas } from '../language/facts.ts'
import { areEqual, type Json, type Kind, kindOf } from '../language/json.ts'
import { namesIn, schemasOfItem, schemasOfMember } from '../language/members.ts'
import { keyOf, type Node, valueOf } from '../language/node.ts'
import type { Work } from '../language/work.ts'
import { dependentsOf, numberAt, textsOf, valuesAt } from '../language/words.ts'
import { textOfPattern } from './pattern-texts.ts'
import type { Random } from './random.ts'
import { makeNumber, makeText } from './scalars.ts'

/** What is to be in a value that is made. */
export type Forced = { in: 'object'; name: string; value: Json } | { in: 'array'; at: number; value: Json }

const depthMax = 8
/** From this depth on there is in a value only what has to be. */
const sparseDepth = 4
const itemsMax = 40

/**
 * Makes documents that schemas accept, as a rule, with an eye on where other schemas, the hints, draw their lines. What it makes is to be judged by whoever
 * wants it.
 */
export class Maker {
  readonly #work: Work
  readonly #random: Random
  readonly #cases = new Map<string, readonly Case[]>()

  constructor(work: Work, random: Random) {
    this.#work = work
    this.#random = random
  }

  /** @throws OutOfWork */
  make(schemas: readonly Node[], hints: readonly Node[], depth = 0): Json | undefined {
    this.#work.spend(5)
    if (depth > depthMax) return undefined
    const cases = this.#casesOf(schemas)
    for (let tries = 0; tries < 3 && cases.length > 0; tries += 1) {
      const made = this.makeOf(this.#random.of(cases), hints, { depth })
      if (made !== undefined) return made
    }
    return undefined
  }

  /** The same schemas are asked for again and again. */
  #casesOf(schemas: readonly Node[]): readonly Case[] {
    const key = schemas.map(keyOf).join(' ')
    let found = this.#cases.get(key)
    if (found === undefined) this.#cases.set(key, (found = casesOf(schemas, this.#work)))
    return found
  }

  makeOf(
    one: Case,
    hints: readonly Node[],
    { depth = 0, forced }: { depth?: number; forced?: Forced } = {},
  ): Json | undefined {
    const facts = factsOf(one, this.#work)
    if (facts === undefined) return undefined
    const near = spreadOf(hints, this.#work)
    if (forced) {
      if (!facts.kinds.has(forced.in)) return undefined
      return forced.in === 'object'
        ? this.#object(one, facts, near, depth, forced)
        : this.#array(one, facts, near, depth, forced)
    }
    if (facts.values !== undefined) return facts.values.length > 0 ? this.#random.of(facts.values) : undefined
    return this.#ofKind(this.#kind(facts.kinds, near), one, facts, near, depth)
  }

  #kind(kinds: ReadonlySet<Kind>, hints: readonly Node[]): Kind {
    const all = [...kinds]
    const listed = hints.flatMap(valuesAt).flat().map(kindOf)
    const spoken = all.filter((kind) => listed.includes(kind) || hints.some((hint) => speaksOf(hint, kind)))
    return spoken.length > 0 && this.#random.isLucky(0.8) ? this.#random.of(spoken) : this.#random.of(all)
  }

  #ofKind(kind: Kind, one: Case, facts: Facts, hints: readonly Node[], depth: number): Json | undefined {
    switch (kind) {
      case 'null':
        return null
      case 'boolean':
        return this.#random.isLucky(0.5)
      case 'integer':
      case 'fraction':
        return makeNumber(
          { ...facts, kinds: new Set([kind, ...(facts.kinds.has('integer') ? (['integer'] as const) : [])]) },
          hints,
          this.#random,
        )
      case 'string':
        return makeText(facts, hints, this.#random, this.#work)
      case 'array':
        return this.#array(one, facts, hints, depth)
      case 'object':
        return this.#object(one, facts, hints, depth)
    }
  }

  #array(
    one: Case,
    facts: Facts,
    hints: readonly Node[],
    depth: number,
    forced?: Forced & { in: 'array' },
  ): Json[] | undefined {
    const items: Json[] = []
    const length = Math.max(this.#length(facts, hints, depth), forced ? forced.at + 1 : 0)
    const itemAt = (at: number, extra: readonly Node[] = []): Json | undefined =>
      this.make(
        [...itemSchemas(one, at), ...extra],
        hints.flatMap((hint) => schemasOfItem(hint, at, 'possibly')),
        depth + 1,
      )
    const wanted = facts.contains.flatMap(({ node, min }) =>
      Array.from({ length: Math.min(min, itemsMax) }, () => node),
    )
    for (let at = 0; at < length; at += 1) {
      const isAgain = items.length > 0 && !facts.isUnique && this.#random.isLucky(0.3)
      const contained = at + wanted.length >= length || this.#random.isLucky(0.5) ? wanted.pop() : undefined
      let item =
        forced?.at === at
          ? forced.value
          : isAgain && !contained
            ? items[0]
            : itemAt(at, contained ? [contained] : [])
      if (facts.isUnique && forced?.at !== at) item = this.#another(item, items, () => itemAt(at))
      if (item === undefined) return at >= facts.itemsMin && !(forced && forced.at >= at) ? items : undefined
      items.push(item)
    }
    return facts.isUnique && hasRepeat(items, this.#work) ? undefined : items
  }

  /** One that is not there yet, if that can be had. */
  #another(item: Json | undefined, items: readonly Json[], make: () => Json | undefined): Json | undefined {
    let found = item
    for (let tries = 0; tries < 4 && found !== undefined; tries += 1) {
      const made = found
      if (!items.some((other) => areEqual(other, made))) return found
      found = make()
    }
    return found
  }

  #length({ itemsMin, itemsMax: most }: Facts, hints: readonly Node[], depth: number): number {
    if (depth >= sparseDepth) return itemsMin
    const lines = hints.flatMap((hint) =>
      ['minItems', 'maxItems', 'minContains', 'maxContains'].flatMap(
        (keyword) => numberAt(hint, keyword) ?? [],
      ),
    )
    const lengths = [
      itemsMin,
      itemsMin + 1,
      most,
      0,
      1,
      2,
      3,
      ...lines.flatMap((line) => [line - 1, line, line + 1]),
    ]
    const fitting = lengths.filter(
      (length) => length >= itemsMin && length <= Math.min(most, Math.max(itemsMax, itemsMin)),
    )
    return fitting.length > 0 ? this.#random.of(fitting) : itemsMin
  }

  #object(
    one: Case,
    facts: Facts,
    hints: readonly Node[],
    depth: number,
    forced?: Forced & { in: 'object' },
  ): Json | undefined {
    const members = new Map<string, Json>()
    if (forced) members.set(forced.name, forced.value)
    const add = (name: string): boolean => {
      if (members.has(name)) return true
      if (nameSchemas(one).some((schema) => evaluate(schema, name, this.#work) === false)) return false
      const near = hints.flatMap((hint) => schemasOfMember(hint, name, 'possibly', this.#work))
      const made = this.make(memberSchemas(one, name, this.#work), near, depth + 1)
      if (made !== undefined) members.set(name, made)
      return made !== undefined
    }
    for (const name of facts.required) if (!add(name)) return undefined
    const optional = this.#names(one, hints)
    const chance = depth >= sparseDepth ? 0 : this.#random.of([0, 0.4, 0.9])
    for (const name of optional) {
      this.#work.spend(1)
      if (members.size < facts.membersMax && this.#random.isLucky(chance)) add(name)
    }
    const least = this.#random.isLucky(0.5)
      ? facts.membersMin
      : Math.min(facts.membersMax, this.#count(facts, hints))
    for (let at = 0; members.size < least && at < least + optional.length + 5; at += 1)
      add(optional[at] ?? `m${at}`)
    return members.size < facts.membersMin ? undefined : Object.fromEntries(members)
  }

  /** Of members, near to where a hint draws its line. */
  #count({ membersMin }: Facts, hints: readonly Node[]): number {
    const lines = hints.flatMap((hint) => (numberAt(hint, 'maxProperties') ?? -1) + 1)
    return Math.min(itemsMax, Math.max(membersMin, ...lines))
  }

  /** Names that members may have. */
  #names(one: Case, hints: readonly Node[]): string[] {
    const all = [...one.nodes, ...hints]
    const names = new Set<string>()
    for (const node of all) {
      const found = namesIn(node, this.#work)
      for (const name of found.names) names.add(name)
      for (const source of found.patterns) names.add(textOfPattern(source, this.#random) ?? 'x')
      for (const name of textsOf(valueOf(node, 'required'))) names.add(name)
      for (const [trigger] of dependentsOf(node)) names.add(trigger)
    }
    for (const schemas of [nameSchemas(one), nameSchemas({ ...one, nodes: hints })]) {
      const made = schemas.length > 0 ? this.make(schemas, [], depthMax - 1) : undefined
      if (typeof made === 'string') names.add(made)
    }
    if (this.#random.isLucky(0.5)) names.add(this.#random.of(['other', 'x', 'A', '0', 'a b']))
    return [...names].toSorted(() => this.#random.next() - 0.5)
  }
}

const words: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  fraction: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  string: ['minLength', 'maxLength', 'pattern'],
  array: 'items prefixItems contains minItems maxItems uniqueItems unevaluatedItems additionalItems'.split(
    ' ',
  ),
  object:
    'properties required additionalProperties patternProperties propertyNames minProperties maxProperties dependentRequired dependentSchemas dependencies unevaluatedProperties'.split(
      ' ',
    ),
}

function speaksOf(hint: Node, kind: Kind): boolean {
  return words[kind]?.some((word) => valueOf(hint, word) !== undefined) ?? false
}
