import { _, type Ajv, type CodeKeywordDefinition, str } from 'ajv'
import { messageOf } from '../errors.ts'
import { compilePattern, type Pattern } from './pattern.ts'

/** What it costs to begin with what a reference names, as a rule with the forming of a fault; a step is some 20 ns. */
const callSteps = 20
/** Of one check of data against a schema: some quarter of a second where a pattern is made for that, and never reached by one that is not. */
export const checkStepsMax = 10_000_000

/** Data takes more work than a check may. */
export class TooCostly extends Error {
  constructor() {
    super(`takes more than ${checkStepsMax} steps to check`)
  }
}

/** Counts the work of one check at a time. The same data and schema always take the same. */
export class CheckCost {
  #left = checkStepsMax
  #stepsMax = checkStepsMax
  /** Of what `uniqueItems` has compared in this check. */
  #alike: Alike | undefined

  /** @throws TooCostly, and what the check throws */
  run<T>(check: () => T, stepsMax = checkStepsMax): T {
    this.#left = stepsMax
    this.#stepsMax = stepsMax
    try {
      return check()
    } finally {
      this.#alike = undefined
    }
  }

  /** What the last check took. */
  get taken(): number {
    return Math.min(this.#stepsMax, this.#stepsMax - this.#left)
  }

  get alike(): Alike {
    return (this.#alike ??= new Alike(this.spend))
  }

  /** @throws TooCostly */
  readonly spend = (steps: number): void => {
    this.#left -= steps
    if (this.#left < 0) throw new TooCostly()
  }
}

/** What goes by references may be gone through again and again: how often depends on the data. */
const references = ['$ref', '$dynamicRef', '$recursiveRef']
/** What goes through all of a text, an array or an object; all else costs what is written in the schema. */
const loops =
  'minLength maxLength items additionalItems prefixItems contains unevaluatedItems minProperties maxProperties patternProperties additionalProperties propertyNames unevaluatedProperties'.split(
    ' ',
  )
const withPatterns = ['pattern', 'patternProperties', 'additionalProperties']

/** Makes a compiler whose patterns, and what else could take more than time linear in the data, count what they cost. */
export function countCost(ajv: Ajv, cost: CheckCost, schemas: readonly unknown[]): void {
  const engine = (pattern: string): Pattern => patternOf(pattern, cost)
  ajv.opts.code.regExp = Object.assign(engine, { code: 'compilePattern' })
  ajv.removeKeyword('uniqueItems')
  ajv.addKeyword(uniqueItems(cost))
  for (const keyword of withPatterns) around(ajv, keyword, placed(keyword))
  // Without references, the work is at most the schema's size times the data's.
  if (!/"\$(?:r|dynamicR|recursiveR)ef":/.test(JSON.stringify(schemas))) return
  const spendOn = (data: unknown): void => cost.spend(callSteps + sizeOf(data))
  for (const keyword of [...references, ...loops])
    around(ajv, keyword, (code) => (cxt, ruleType) => {
      cxt.gen.code(_`${cxt.gen.scopeValue('func', { ref: spendOn })}(${cxt.data})`)
      code(cxt, ruleType)
    })
}

type MakesCode = CodeKeywordDefinition['code']

/** Changes how ajv makes the code of one of its keywords. */
export function around(ajv: Ajv, keyword: string, change: (code: MakesCode) => MakesCode): void {
  const definition = ajv.getKeyword(keyword)
  if (typeof definition === 'object' && 'code' in definition) definition.code = change(definition.code)
}

class PatternFault extends Error {}

function patternOf(pattern: string, cost: CheckCost): Pattern {
  try {
    return compilePattern(pattern, cost.spend)
  } catch (error) {
    throw new PatternFault(`${JSON.stringify(pattern)}: ${messageOf(error)}`)
  }
}

function placed(keyword: string): (code: MakesCode) => MakesCode {
  return (code) => (cxt, ruleType) => {
    try {
      code(cxt, ruleType)
    } catch (error) {
      if (!(error instanceof PatternFault)) throw error
      throw new Error(`${cxt.it.errSchemaPath}/${keyword}: ${error.message}`, { cause: error })
    }
  }
}

function sizeOf(data: unknown): number {
  if (typeof data === 'string' || Array.isArray(data)) return data.length
  return typeof data === 'object' && data !== null ? Object.keys(data).length : 0
}

/** The keyword's own compares every item with every other. */
function uniqueItems(cost: CheckCost): CodeKeywordDefinition {
  const repeatIn = (items: readonly unknown[]): [number, number] | undefined => firstRepeat(items, cost)
  return {
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    code(cxt) {
      if (cxt.schema !== true) return
      const repeat = cxt.gen.const('repeat', _`${cxt.gen.scopeValue('func', { ref: repeatIn })}(${cxt.data})`)
      cxt.setParams({ repeat })
      cxt.fail(_`${repeat} !== undefined`)
    },
    error: {
      message: ({ params: { repeat } }) =>
        str`must NOT have duplicate items (items ## ${_`${repeat}[0]`} and ${_`${repeat}[1]`} are identical)`,
    },
  }
}

/** The places of two items that are equal as JSON Schema has it: numbers by value, objects in whatever order. */
function firstRepeat(items: readonly unknown[], cost: CheckCost): [number, number] | undefined {
  if (items.length < 2) return undefined
  cost.spend(items.length)
  const whole: [number, object][] = []
  const places = new Map<unknown, number>()
  for (const [at, item] of items.entries()) {
    if (typeof item === 'object' && item !== null) {
      whole.push([at, item])
      continue
    }
    const before = places.get(item)
    if (before !== undefined) return [before, at]
    places.set(item, at)
  }
  if (whole.length < 2) return undefined
  const placesOfWhole = new Map<number, number>()
  for (const [at, item] of whole) {
    const number = cost.alike.numberOf(item)
    const before = placesOfWhole.get(number)
    if (before !== undefined) return [before, at]
    placesOfWhole.set(number, at)
  }
  return undefined
}

/** What it costs to number an array or an object, without what is in it. */
const numberingSteps = 20

/** Numbers arrays and objects, alike where they are equal as JSON Schema has it, each once: it is written with the numbers of what is in it. */
class Alike {
  readonly #spend: (steps: number) => void
  readonly #numbers = new Map<object, number>()
  readonly #numbersOfTexts = new Map<string, number>()

  constructor(spend: (steps: number) => void) {
    this.#spend = spend
  }

  /** @throws TooCostly */
  numberOf(value: object): number {
    const known = this.#numbers.get(value)
    if (known !== undefined) return known
    this.#spend(numberingSteps)
    const text = Array.isArray(value)
      ? `[${value.map((one) => this.#textOf(one)).join()}]`
      : this.#membersOf(value)
    const number = this.#numbersOfTexts.get(text) ?? this.#numbersOfTexts.size
    this.#numbersOfTexts.set(text, number)
    this.#numbers.set(value, number)
    return number
  }

  #membersOf(value: object): string {
    const members = Object.entries(value).map(([name, one]) => {
      this.#spend(name.length)
      return `${JSON.stringify(name)}:${this.#textOf(one)}`
    })
    return `{${members.toSorted().join()}}`
  }

  #textOf(value: unknown): string {
    this.#spend(numberingSteps)
    if (typeof value === 'object' && value !== null) return `#${this.numberOf(value)}`
    if (typeof value !== 'string') return String(value)
    this.#spend(value.length)
    return JSON.stringify(value)
  }
}

/** Whether data has at most so many values, however deep. */
export function hasAtMost(data: unknown, valuesMax: number): boolean {
  const left = [data]
  for (let count = 0; left.length > 0; count += 1) {
    if (count + left.length > valuesMax) return false
    const value = left.pop()
    if (typeof value === 'object' && value !== null) {
      const values: unknown[] = Array.isArray(value) ? value : Object.values(value)
      if (values.length > valuesMax) return false
      left.push(...values)
    }
  }
  return true
}
