import type { Random } from '../../../src/clock.ts'
import { parsePattern, type PatternNode } from '../../../src/schemas/pattern-parser.ts'
import { between, pick } from './random.ts'

/** What texts are made of: of each kind of which one is known to make trouble in SQL, JSON or UTF-16. */
const characters = ['a', 'Z', '0', ' ', "'", '"', '\\', '%', '_', 'é', 'ß', '中', '😀', '\n'] as const
const printable = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))
/** Longer ones are for those who ask for them. */
const lengthMaxUnasked = 300
const repeatMaxUnasked = 4

/** A text of a length in code points, from the shortest to the longest that is allowed. */
export function textOf(random: Random, lengthMin = 0, lengthMax = lengthMaxUnasked): string {
  const most = Math.min(lengthMax, Math.max(lengthMin, 20_000))
  const length = pick(random, [lengthMin, most, between(random, lengthMin, Math.min(most, lengthMin + 8))])
  return Array.from({ length }, () => pick(random, characters)).join('')
}

/** A text that matches, most likely: what stands around it is not looked at. Undefined: it cannot be made. */
export function matching(pattern: string, random: Random): string | undefined {
  try {
    return written(parsePattern(pattern), random)
  } catch {
    return undefined
  }
}

function written(node: PatternNode, random: Random): string {
  switch (node.kind) {
    case 'one':
      return oneOf(node.source, random)
    case 'assertion':
      return ''
    case 'sequence':
      return node.parts.map((part) => written(part, random)).join('')
    case 'choice':
      return written(pick(random, node.options as [PatternNode, ...PatternNode[]]), random)
    case 'repeat': {
      const most = Math.min(node.max, node.min + repeatMaxUnasked, 1_000)
      const times = pick(random, [node.min, most, between(random, node.min, most)])
      return Array.from({ length: times }, () => written(node.node, random)).join('')
    }
  }
}

function oneOf(source: string, random: Random): string {
  const set = new RegExp(`^(?:${source})$`, 'u')
  const fits = [...printable, ...characters].filter((character) => set.test(character))
  const [first, ...others] = fits
  if (first === undefined) throw new Error(`nothing that is tried matches ${source}`)
  return pick(random, [first, ...others])
}
