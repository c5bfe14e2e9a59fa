import { parsePattern, type PatternNode } from '../../../src/schemas/pattern-parser.ts'

/** How many characters a text has at least and at most that matches a pattern. */
export function lengthsOf(source: string): { min: number; max: number } {
  let node: PatternNode
  try {
    node = parsePattern(source)
  } catch {
    return { min: 0, max: Infinity }
  }
  const { min, max } = ofNode(node)
  const options = node.kind === 'choice' ? node.options : [node]
  return { min, max: options.every(isWhole) ? max : Infinity }
}

/** Whether every text matches. */
export function isTrivial(source: string): boolean {
  try {
    return matchesNothing(parsePattern(source))
  } catch {
    return false
  }
}

function matchesNothing(node: PatternNode): boolean {
  if (node.kind === 'repeat') return node.min === 0 || matchesNothing(node.node)
  if (node.kind === 'sequence') return node.parts.every(matchesNothing)
  return node.kind === 'choice' && node.options.some(matchesNothing)
}

/** Whether it is held to both ends of the text. */
function isWhole(node: PatternNode): boolean {
  if (node.kind !== 'sequence') return false
  const [first, last] = [node.parts[0], node.parts.at(-1)]
  return (
    first?.kind === 'assertion' &&
    first.holds === 'start' &&
    last?.kind === 'assertion' &&
    last.holds === 'end'
  )
}

function ofNode(node: PatternNode): { min: number; max: number } {
  switch (node.kind) {
    case 'one':
      return { min: 1, max: 1 }
    case 'assertion':
      return { min: 0, max: 0 }
    case 'sequence': {
      const parts = node.parts.map(ofNode)
      return { min: sum(parts.map(({ min }) => min)), max: sum(parts.map(({ max }) => max)) }
    }
    case 'choice': {
      const options = node.options.map(ofNode)
      return {
        min: Math.min(...options.map(({ min }) => min)),
        max: Math.max(...options.map(({ max }) => max)),
      }
    }
    case 'repeat': {
      const { min, max } = ofNode(node.node)
      return { min: min * node.min, max: max === 0 || node.max === 0 ? 0 : max * node.max }
    }
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
