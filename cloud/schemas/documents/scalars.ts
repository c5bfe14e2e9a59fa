import type { Facts } from '../language/facts.ts'
import { lengthOf } from '../language/json.ts'
import type { Node } from '../language/node.ts'
import type { Work } from '../language/work.ts'
import { numberAt, textAt, valuesAt } from '../language/words.ts'
import { commonText } from './common-text.ts'
import { textOfFormat } from './format-texts.ts'
import { textOfPattern } from './pattern-texts.ts'
import type { Random } from './random.ts'

const bounds = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']
const usual = [0, 1, -1, 0.5, 7, 100, -273.25, 1e6]
/** Texts that are longer are not made, but where a schema asks for them. */
const lengthMax = 2000

/** A number of a case, near to where a hint draws a line. */
export function makeNumber(facts: Facts, hints: readonly Node[], random: Random): number | undefined {
  const { least, most, divisors } = facts
  const lines = hints.flatMap((hint) => bounds.flatMap((keyword) => numberAt(hint, keyword) ?? []))
  const listed = hints
    .flatMap(valuesAt)
    .flat()
    .filter((value) => typeof value === 'number')
  const own = [least.value, most.value].filter(Number.isFinite)
  const near = [...lines, ...own].flatMap((line) => [
    line,
    line + 1,
    line - 1,
    line + 0.5,
    line - 0.5,
    line * 2,
  ])
  const between = own.length === 2 ? [least.value + (most.value - least.value) * random.next()] : []
  const pool = [...near, ...listed, ...usual, ...between]
  for (let tries = 0; tries < 12; tries += 1) {
    const found = fitted(random.of(pool), facts, random)
    const isWhole = found % 1 === 0
    if (!facts.kinds.has(isWhole ? 'integer' : 'fraction') && divisors.length === 0) continue
    if (found >= least.value && found <= most.value) return found
  }
  return own.length > 0 ? fitted(random.of(own), facts, random) : undefined
}

function fitted(value: number, { kinds, divisors }: Facts, random: Random): number {
  if (divisors.length === 0) return kinds.has('fraction') ? value : Math.round(value)
  // Most often it is the product that all of them divide.
  const divisor = random.isLucky(0.7)
    ? divisors.reduce((product, one) => product * one, 1)
    : random.of(divisors)
  return Number((Math.round(value / divisor) * divisor).toPrecision(15))
}

/** A text of a case, of a length near to where a hint draws a line. */
export function makeText(facts: Facts, hints: readonly Node[], random: Random, work: Work): string {
  const { patterns } = facts
  // Nothing but what has the format will do, and of several patterns hardly a text by chance.
  const formatted = facts.formats.flatMap((format) => textOfFormat(format, random) ?? [])
  if (formatted.length > 0) return random.of(formatted)
  if (patterns.length > 1 || (patterns.length === 1 && random.isLucky(0.2))) {
    const common = commonText(
      patterns.flatMap((source) => work.pattern(source) ?? []),
      facts,
      random,
    )
    if (common !== undefined) return common
  }
  const listed = hints
    .flatMap(valuesAt)
    .flat()
    .filter((value) => typeof value === 'string')
  if (listed.length > 0 && random.isLucky(0.4)) return random.of(listed)
  const theirs = hints.flatMap((hint) => textAt(hint, 'pattern') ?? [])
  const pattern = facts.patterns.length > 0 ? random.of(facts.patterns) : undefined
  if (pattern !== undefined || (theirs.length > 0 && random.isLucky(0.3))) {
    const text = textOfPattern(pattern ?? random.of(theirs), random)
    if (text !== undefined) return pattern === undefined || random.isLucky(0.7) ? text : altered(text, random)
  }
  const { lengthMin } = facts
  const most = Math.min(facts.lengthMax, Math.max(lengthMax, lengthMin))
  const lines = hints.flatMap((hint) =>
    ['minLength', 'maxLength'].flatMap((keyword) => numberAt(hint, keyword) ?? []),
  )
  const lengths = [lengthMin, facts.lengthMax, 1, 5, ...lines.flatMap((line) => [line - 1, line, line + 1])]
  const fitting = lengths.filter((length) => length >= lengthMin && length <= most)
  return wordOf(fitting.length > 0 ? random.of(fitting) : lengthMin, random)
}

const letters = 'abcxyzABZ0189 _-'.split('')

function wordOf(length: number, random: Random): string {
  // Nobody is shown a longer one.
  return Array.from({ length: Math.min(length, lengthMax) }, () => random.of(letters)).join('')
}

function altered(text: string, random: Random): string {
  const at = random.upTo(lengthOf(text))
  return random.of([
    `${text}${random.of(letters)}`,
    `${random.of(letters)}${text}`,
    text.slice(0, at) + text.slice(at + 1),
    text.toUpperCase(),
    `${text}\n`,
  ])
}
