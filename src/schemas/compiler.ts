import {
  _,
  Ajv,
  type CodeKeywordDefinition,
  type ErrorObject,
  type Options,
  str,
  type ValidateFunction,
} from 'ajv'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { editDistance } from '../edit-distance.ts'
import {
  around,
  CheckCost,
  checkStepsMax,
  countCost,
  hasAtMost,
  oneCheck,
  type StepBudget,
  TooCostly,
} from './check-cost.ts'
import { multiplesOf } from './decimal.ts'
import { checkFormats, type Formats } from './formats.ts'

export type SchemaFault = Pick<ErrorObject, 'instancePath' | 'message' | 'keyword' | 'params'> & {
  /** Of one alternative among several (`anyOf`, `oneOf`, `if`): without what it complains of, data may be valid for another reason. */
  ofAlternative?: true
}

/**
 * What is wrong with data; nothing: it is valid. Takes time linear in the data wherever the schema allows it and at most
 * `checkStepsMax` steps, whatever the schema and the data are: what takes more is at fault (G7).
 */
export interface Validate {
  (data: unknown): readonly SchemaFault[]
  /** The first fault, at the cost of finding that one alone; undefined: it is valid. Without a keyword: the check came to no end. */
  first(data: unknown, budget?: StepBudget): SchemaFault | undefined
  /**
   * At the cost of at most so many steps, and how many it took: of what goes in loops, not of what is written once. `brief`: what shows with the first
   * fault; to have all of them a schema is compiled once more, which takes long of a long one.
   */
  within(data: unknown, stepsMax: number, brief?: 'brief'): { faults: readonly SchemaFault[]; steps: number }
}

/** JSON Schema's dialects, by what `$schema` says of them, scheme and fragment aside. */
const dialects: Readonly<Record<string, (options: Options) => Ajv>> = {
  'json-schema.org/draft/2020-12/schema': (options) => new Ajv2020(options),
  'json-schema.org/draft/2019-09/schema': (options) => new Ajv2019(options),
  'json-schema.org/draft-07/schema': (options) => new Ajv(options),
}
const standard = 'json-schema.org/draft/2020-12/schema'

export interface Compiled {
  validators: Map<number, Validate>
  /** What is wrong with a version, and where. */
  faults: Map<number, unknown>
}

/**
 * Makes validators of the versions of one type, each a JSON Schema: 2020-12, or the dialect that its `$schema` names. A keyword
 * that JSON Schema does not know is an annotation (2020-12, 4.3.1) unless it is a slip of one that it knows. Versions may refer to each other by their `$id`; a fault of one is not told of another that refers to it.
 */
export function compileVersions(
  schemas: ReadonlyMap<number, unknown>,
  formats: Formats = 'checked',
): Compiled {
  const compiled = compileEach(schemas, [...schemas.values()], formats)
  if (compiled.faults.size === 0) return compiled
  // Whose fault it is shows when who refers to one that failed finds another in its place.
  const failed = new Map([...schemas].filter(([version]) => compiled.faults.has(version)))
  const others = [...schemas].map(([version, schema]) => (failed.has(version) ? inPlaceOf(schema) : schema))
  const missed = new Set([...failed.values()].map(idOf))
  const own = [...compileEach(failed, others, formats).faults].filter(
    ([, fault]) => !(fault instanceof Ajv.MissingRefError && missed.has(fault.missingSchema)),
  )
  return own.length === 0 ? compiled : { ...compiled, faults: new Map(own) }
}

/** What allows everything; of its definitions, to which one may refer as well, there are none. */
function inPlaceOf(schema: unknown): object {
  return isObject(schema) ? { $schema: schema['$schema'], $id: schema['$id'] } : {}
}

function compileEach(
  schemas: ReadonlyMap<number, unknown>,
  others: readonly unknown[],
  formats: Formats,
): Compiled {
  const compiled: Compiled = { validators: new Map(), faults: new Map() }
  for (const [version, schema] of schemas) {
    try {
      compiled.validators.set(version, compileSchema(schema, others, formats))
    } catch (error) {
      compiled.faults.set(version, error instanceof RangeError ? tooLarge(error) : error)
    }
  }
  return compiled
}

/** Each member and alternative is a level of the code that is made, and the stack has an end. */
function tooLarge(cause: RangeError): Error {
  return new Error(
    'has more members or alternatives in one place than can be checked, which is some 2,000, or is nested too deeply: part it, or say what the members have in common by additionalProperties or patternProperties',
    { cause },
  )
}

function compileSchema(schema: unknown, others: readonly unknown[], formats: Formats): Validate {
  if (typeof schema !== 'boolean' && !isObject(schema))
    throw new Error('a schema is an object, true or false')
  const dialect = dialectOf(schema)
  const plain = withoutDialect(schema)
  void judgeOf(dialect).validateSchema(plain, true)
  const unknownKeywords: string[] = []
  const cost = new CheckCost()
  const isLong = textOf(plain, others).length > optimizedLengthMax
  const compile = (allErrors: boolean): ValidateFunction => {
    const ajv = createAjv(dialect, { allErrors, formats, isLong }, (keyword) => unknownKeywords.push(keyword))
    countCost(ajv, cost, [plain, others])
    if (formats === 'checked') checkFormats(ajv, cost, [plain, others])
    for (const other of othersOf(schema, others)) addTo(ajv, other, dialect)
    return ajv.compile(plain)
  }
  const validate = compile(false)
  const known = Object.keys(judgeOf(dialect).RULES.keywords)
  const slips = unknownKeywords.flatMap((keyword) => slipOf(keyword, known) ?? [])
  if (slips.length > 0) throw new Error([...new Set(slips)].join('; '))
  return withAllFaults(validate, () => compile(true), cost, alternativesIn(plain, others))
}

/**
 * Of a schema as people write them ajv makes the code better that it has made. That goes through all of it for each level of it, which of
 * thousands of members or alternatives in one place, each a level within the one before, took a minute.
 */
const optimizedLengthMax = 16_384

/** Of data with more values than this the first fault is told and no other: every one costs memory. */
const toldWholeMax = 1000
/** The same of data that takes more steps. */
const toldStepsMax = 100_000

/** Whether data is valid shows with its first fault; which others it has is looked for only then, by what is made when it is needed. */
function withAllFaults(
  validate: ValidateFunction,
  compileTelling: () => ValidateFunction,
  cost: CheckCost,
  alternatives: Alternatives,
): Validate {
  let tellingAll: ValidateFunction | undefined
  const faultsBy = (by: ValidateFunction, data: unknown, budget: StepBudget): readonly SchemaFault[] => {
    try {
      return cost.runWithin(budget, () => by(data)) ? [] : (by.errors ?? [])
    } catch (error) {
      return [endless(error)]
    }
  }
  const first = (data: unknown, budget = oneCheck()): SchemaFault | undefined => {
    const [found, ...more] = faultsBy(validate, data, budget)
    // It ends with the first fault: where there are several, those of alternatives are told with the keyword that has them.
    const isOne =
      more.length > 0 ||
      alternatives === 'by condition' ||
      (alternatives !== 'none' && found?.keyword === 'unevaluatedProperties')
    return found && isOne ? { ...found, ofAlternative: true } : found
  }
  const within: Validate['within'] = (data, stepsMax, brief) => {
    const budget = { steps: stepsMax }
    const faults = faultsBy(validate, data, budget)
    const [found] = faults
    const steps = stepsMax - budget.steps
    if (found === undefined || brief) return { faults, steps }
    if (isEndless(found) || !hasAtMost(data, toldWholeMax)) return { faults: [found], steps }
    const telling = { steps: toldStepsMax }
    const all = faultsBy((tellingAll ??= compileTelling()), data, telling)
    return { faults: all.some(isEndless) ? [found] : all, steps: steps + toldStepsMax - telling.steps }
  }
  const whole = (data: unknown): readonly SchemaFault[] => within(data, checkStepsMax).faults
  return Object.assign(whole, { first, within })
}

/** `by choice`: what counts as evaluated depends on which of them data has taken. `by condition`: of a fault nothing shows whether it is of one. */
type Alternatives = 'none' | 'by choice' | 'by condition'

function alternativesIn(schema: unknown, others: readonly unknown[]): Alternatives {
  const text = textOf(schema, others)
  if (/"(?:if|dependentSchemas)":/.test(text)) return 'by condition'
  return /"(?:anyOf|oneOf)":/.test(text) ? 'by choice' : 'none'
}

/** All that goes into a check: the others as well where one of them may be referred to. */
function textOf(schema: unknown, others: readonly unknown[]): string {
  const own = JSON.stringify(schema)
  return /"\$(?:r|dynamicR|recursiveR)ef":"(?!#)/.test(own) ? own + JSON.stringify(others) : own
}

/** Of a check that came to no end: it is nothing that one keyword says. */
export function isEndless({ keyword }: SchemaFault): boolean {
  return keyword === ''
}

/** A fault that is none of the data's. */
function told(message: string): SchemaFault {
  return { instancePath: '', keyword: '', params: {}, message }
}

/** What ends a check before it has an answer. RangeError: the stack has an end. */
function endless(error: unknown): SchemaFault {
  if (error instanceof TooCostly) return told(error.message)
  if (error instanceof RangeError)
    return told('is nested too deeply for its schema, or its schema refers to itself without end')
  // Of some schemas, with unevaluatedProperties over alternatives that have patternProperties, ajv makes code that fails.
  if (error instanceof ReferenceError || error instanceof TypeError)
    return told(`cannot be checked by its schema: ${error.message}`)
  throw error
}

/** By dialect, who looks whether a schema is one: to make one takes some 30 ms, ten times as long as a schema. */
const judges = new Map<string, Ajv>()

function judgeOf(dialect: string): Ajv {
  let judge = judges.get(dialect)
  if (!judge)
    judges.set(
      dialect,
      (judge = creatorOf(dialect)({ strict: false, validateFormats: false, logger: false })),
    )
  return judge
}

function creatorOf(dialect: string): (options: Options) => Ajv {
  const create = dialects[dialect]
  if (create) return create
  throw new Error(
    `$schema: ${dialect} is none that is known here: https://${Object.keys(dialects).join(', https://')}`,
  )
}

function createAjv(
  dialect: string,
  { allErrors, formats, isLong }: { allErrors: boolean; formats: Formats; isLong: boolean },
  onUnknown: (keyword: string) => void,
): Ajv {
  const tell = (...about: unknown[]): void => {
    const keyword = /unknown keyword: "(.*)"$/.exec(String(about[0]))?.[1]
    if (keyword !== undefined) onUnknown(keyword)
  }
  const ajv = creatorOf(dialect)({
    allErrors,
    strict: false,
    strictSchema: 'log',
    validateSchema: false,
    validateFormats: formats === 'checked',
    ...(isLong && { code: { optimize: false } }),
    logger: { log: tell, warn: tell, error: tell },
  })
  ajv.removeKeyword('multipleOf')
  ajv.addKeyword({
    keyword: 'multipleOf',
    type: 'number',
    schemaType: 'number',
    compile: multiplesOf,
    error: { message: ({ schemaCode }) => str`must be multiple of ${schemaCode}` },
  })
  for (const keyword of ['prefixItems', 'items']) around(ajv, keyword, goingOn)
  return ajv
}

/** Where an array ends before a tuple does, ajv takes what was not looked at for a fault that was told, and does not go on to `contains` and `uniqueItems`. */
function goingOn(code: CodeKeywordDefinition['code']): CodeKeywordDefinition['code'] {
  return (cxt, ruleType) => {
    const ok = cxt.ok.bind(cxt)
    cxt.ok = (condition) => ok(typeof condition === 'boolean' ? condition : _`${condition} !== false`)
    code(cxt, ruleType)
  }
}

function dialectOf(schema: object | boolean): string {
  const named: unknown = typeof schema === 'object' && '$schema' in schema ? schema.$schema : undefined
  if (named === undefined) return standard
  if (typeof named !== 'string') throw new Error('$schema: must be a text')
  return named.replace(/^https?:\/\//, '').replace(/#$/, '')
}

/** Which dialect it is has been looked at. */
function withoutDialect(schema: object | boolean): object | boolean {
  if (typeof schema === 'boolean') return schema
  const { $schema: _dialect, ...rest } = schema as Record<string, unknown>
  return rest
}

/** What is wrong with another schema is told of itself. */
function addTo(ajv: Ajv, other: object, dialect: string): void {
  try {
    if (dialectOf(other) === dialect) ajv.addSchema(withoutDialect(other))
  } catch {
    // Who refers to it misses it.
  }
}

/** Two versions of a type may have one `$id`: each then means itself. */
function othersOf(schema: object | boolean, others: readonly unknown[]): object[] {
  const taken = new Set([idOf(schema)])
  const found: object[] = []
  for (const other of others) {
    const id = idOf(other)
    if (id === undefined || taken.has(id)) continue
    taken.add(id)
    found.push(other as object)
  }
  return found
}

function idOf(schema: unknown): string | undefined {
  return isObject(schema) && typeof schema['$id'] === 'string' ? schema['$id'] : undefined
}

/** A slip in one of these loses no check. */
const annotations = new Set(
  'title description default examples deprecated readOnly writeOnly $comment contentEncoding contentMediaType contentSchema'.split(
    ' ',
  ),
)

/** Words of everyday, of which others are only a letter away. */
const everyday = new Set(['then', 'else'])
/** Of shorter names as well. */
const slipLengthMin = 4

function slipOf(keyword: string, known: readonly string[]): string | undefined {
  const meant = known.find(
    (name) =>
      !annotations.has(name) &&
      (name.toLowerCase() === keyword.toLowerCase() || (!everyday.has(name) && isNear(keyword, name))),
  )
  if (meant === undefined) return undefined
  return `there is no keyword "${keyword}"; did you mean "${meant}"? (an annotation of that name may be written x-${keyword})`
}

/** But a letter away, or two of a long name. */
function isNear(keyword: string, name: string): boolean {
  const max = name.length < 9 ? 1 : 2
  return name.length >= slipLengthMin && editDistance(keyword, name, max) <= max
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
