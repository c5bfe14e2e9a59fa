import { parsePattern, type PatternNode } from '../../../src/schemas/pattern-parser.ts'
import type { Random } from './random.ts'

/** Repeats beyond what is asked for. */
const repeatsMax = 3
const charactersMax = 2000

const ascii = Array.from({ length: 95 }, (_, at) => String.fromCodePoint(at + 32))
/** One of each kind that patterns tell apart, as a rule. */
export const characters: readonly string[] = [...ascii, '\n', '\t', 'é', 'ß', 'Ω', '中', '😀']

/** A text that matches a pattern, as a rule: what stands around a place is not looked at. */
export function textOfPattern(source: string, random: Random): string | undefined {
  let node: PatternNode
  try {
    node = parsePattern(source)
  } catch {
    return undefined
  }
  return textOf(node, random, { left: charactersMax })
}

function textOf(node: PatternNode, random: Random, room: { left: number }): string {
  room.left -= 1
  if (room.left < 0) return ''
  switch (node.kind) {
    case 'one':
      return characterOf(node.source, random)
    case 'assertion':
      return ''
    case 'sequence':
      return node.parts.map((part) => textOf(part, random, room)).join('')
    case 'choice':
      return textOf(random.of(node.options), random, room)
    case 'repeat': {
      const more = random.upTo(Math.min(node.max - node.min, repeatsMax))
      return Array.from({ length: Math.min(node.min + more, charactersMax) }, () =>
        textOf(node.node, random, room),
      ).join('')
    }
  }
}

const known = new Map<string, readonly string[]>()
const knownMax = 1000

function characterOf(source: string, random: Random): string {
  let found = known.get(source)
  if (found === undefined) {
    const set = new RegExp(`^(?:${source})$`, 'u')
    found = characters.filter((one) => set.test(one))
    if (known.size > knownMax) known.clear()
    known.set(source, found)
  }
  return found.length === 0 ? '' : random.of(found)
}
