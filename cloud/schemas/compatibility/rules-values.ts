import { multiplesOf } from '../../../src/schemas/decimal.ts'
import { evaluate } from '../language/evaluate.ts'
import { type Goal, outcomeOf, type Rule } from './goal.ts'
import { numberAt, textAt, typesOf } from '../language/words.ts'
import { isTrivial } from '../language/pattern-lengths.ts'

/** A rule of a keyword with a number, for values of some kinds. */
function bound(keyword: string, holds: (goal: Goal, bound: number) => boolean): Rule {
  return {
    of: [keyword],
    holds(goal) {
      const value = numberAt(goal.reader, keyword)
      return outcomeOf(value === undefined || holds(goal, value))
    },
  }
}

const isNumber = ({ facts: { kinds } }: Goal): boolean => kinds.has('integer') || kinds.has('fraction')
const isText = ({ facts: { kinds } }: Goal): boolean => kinds.has('string')

/** Values that are listed are judged one by one: these rules see those that are not. */
const listed: Rule['holds'] = ({ facts: { values }, reader }, { work }) =>
  outcomeOf(values !== undefined && values.every((value) => evaluate(reader, value, work) === true))

export const rulesOfValues: Readonly<Record<string, Rule>> = {
  type: {
    of: ['type', 'nullable'],
    holds({ facts, reader }) {
      const types = typesOf(reader)
      const isIn = (kind: string): boolean =>
        types === undefined ||
        types.includes(kind) ||
        ((kind === 'integer' || kind === 'fraction') && types.includes('number'))
      return outcomeOf([...facts.kinds].every(isIn))
    },
  },
  enum: { of: ['enum'], holds: listed },
  const: { of: ['const'], holds: listed },
  minimum: bound('minimum', (goal, value) => !isNumber(goal) || goal.facts.least.value >= value),
  exclusiveMinimum: bound('exclusiveMinimum', (goal, value) => {
    const { least } = goal.facts
    return !isNumber(goal) || least.value > value || (least.value === value && least.isOpen)
  }),
  maximum: bound('maximum', (goal, value) => !isNumber(goal) || goal.facts.most.value <= value),
  exclusiveMaximum: bound('exclusiveMaximum', (goal, value) => {
    const { most } = goal.facts
    return !isNumber(goal) || most.value < value || (most.value === value && most.isOpen)
  }),
  multipleOf: bound('multipleOf', (goal, value) => {
    const { kinds, divisors } = goal.facts
    const isMultiple = multiplesOf(value)
    return !isNumber(goal) || divisors.some(isMultiple) || (!kinds.has('fraction') && isMultiple(1))
  }),
  minLength: bound('minLength', (goal, value) => !isText(goal) || goal.facts.lengthMin >= value),
  maxLength: bound('maxLength', (goal, value) => !isText(goal) || goal.facts.lengthMax <= value),
  /** One that nobody knows is an annotation: that cannot be told from here, and shows in that there is no witness. */
  format: {
    of: ['format'],
    holds: ({ one, reader, facts }) =>
      outcomeOf(
        !facts.kinds.has('string') ||
          one.nodes.some((node) => textAt(node, 'format') === textAt(reader, 'format')),
      ),
  },
  pattern: {
    of: ['pattern'],
    holds(goal) {
      const source = textAt(goal.reader, 'pattern')
      return outcomeOf(
        source === undefined || !isText(goal) || goal.facts.patterns.includes(source) || isTrivial(source),
      )
    },
  },
}
