import type { Pattern, Reached } from '../../../src/schemas/pattern.ts'
import { characters } from './pattern-texts.ts'
import type { Random } from './random.ts'

/** Where one is in each pattern, and how one has come there. */
interface Step {
  reached: readonly Reached[]
  text: string
  length: number
}

const stepsMax = 1500

/**
 * A text that all of these patterns match, one of the shortest that are long enough; undefined: none was found. All of them are gone through together, a character
 * at a time: to match one after the other by chance takes too long.
 */
export function commonText(
  patterns: readonly Pattern[],
  { lengthMin, lengthMax }: { lengthMin: number; lengthMax: number },
  random: Random,
): string | undefined {
  const alphabet = characters.toSorted(() => random.next() - 0.5)
  let level: Step[] = [{ reached: patterns.map((one) => one.begin()), text: '', length: 0 }]
  for (let steps = 0; level.length > 0 && steps < stepsMax;) {
    const next: Step[] = []
    const seen = new Set<string>()
    for (const step of level) {
      steps += 1
      if (steps > stepsMax) return undefined
      if (step.length >= lengthMin && patterns.every((one, at) => one.isEnd(step.reached[at] as Reached)))
        return step.text
      if (step.length >= lengthMax) continue
      for (const after of stepsBehind(step, patterns, alphabet)) {
        const key = keyOf(after.reached)
        if (!seen.has(key)) next.push(after)
        seen.add(key)
      }
    }
    level = next
  }
  return undefined
}

function stepsBehind(step: Step, patterns: readonly Pattern[], alphabet: readonly string[]): Step[] {
  const found = new Map<string, Step>()
  for (const character of alphabet) {
    const code = character.codePointAt(0) as number
    const reached = patterns.map((one, at) => one.after(step.reached[at] as Reached, code))
    if (reached.includes('never')) continue
    const key = keyOf(reached)
    if (!found.has(key)) found.set(key, { reached, text: step.text + character, length: step.length + 1 })
  }
  return [...found.values()]
}

function keyOf(reached: readonly Reached[]): string {
  return reached.map((one) => (typeof one === 'string' ? one : `${one.before}${one.places.join()}`)).join(' ')
}
