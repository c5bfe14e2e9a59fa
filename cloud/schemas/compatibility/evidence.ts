import { isEndless, type SchemaFault } from '../../../src/schemas/compiler.ts'
import { evaluate } from '../language/evaluate.ts'
import { isMapping, type Json } from '../language/json.ts'
import { escaped, valueOf } from '../language/node.ts'
import { OutOfWork, type Work } from '../language/work.ts'
import { textsOf } from '../language/words.ts'
import type { Place } from './goal.ts'
import type { Gap } from './prove.ts'
import type { Version } from './version.ts'
import { isIn } from './witness.ts'

/** What is written in a schema is gone through for each value, as a rule in part. */
const wordsPerStep = 20
/** Of schemas with more words than this not all faults of a document are told. */
const toldWordsMax = 3000
/** Of a check that came to no end: when the stack ends, most of the time has gone into that. */
const endlessSteps = 2_000_000

/** The validators of two versions, which may take so many steps together (G7). */
export class Judges {
  readonly #writer: Version
  readonly #reader: Version
  readonly #words: number
  #left: number

  constructor(writer: Version, reader: Version, stepsMax: number) {
    this.#writer = writer
    this.#reader = reader
    this.#words = valuesIn(writer.schema) + valuesIn(reader.schema)
    this.#left = stepsMax
  }

  /** @throws OutOfWork */
  accepts(document: Json): boolean {
    return this.#faultsBy(this.#writer, document).length === 0
  }

  /** What the reader refuses a document for; what takes too much to be judged is not refused. @throws OutOfWork */
  refusals(document: Json): readonly SchemaFault[] {
    return this.#faultsBy(this.#reader, document).filter((fault) => !isEndless(fault))
  }

  #faultsBy({ validate }: Version, document: Json): readonly SchemaFault[] {
    if (this.#left <= 0) throw new OutOfWork()
    const brief = this.#words > toldWordsMax ? 'brief' : undefined
    const { faults, steps } = validate.within(document, this.#left, brief)
    if (faults.some(isEndless)) this.#left -= endlessSteps
    const values = valuesIn(document)
    this.#left -= steps + this.#words + values + (this.#words * values) / wordsPerStep
    return faults
  }
}

function valuesIn(document: Json): number {
  if (typeof document !== 'object' || document === null) return 1
  let count = 1
  for (const value of Object.values(document)) count += valuesIn(value)
  return count
}

/** Whether a document lies in a gap: its writer's case has it, and one of these faults of the reader is what the gap is about. @throws OutOfWork */
export function showsIn(
  { rule, one, part, place }: Gap,
  document: Json,
  faults: readonly SchemaFault[],
  work: Work,
): boolean {
  for (const { value, path, member } of reached(document, place.way, work)) {
    if (!faults.some((fault) => isAbout(fault, { rule, part, path, member }))) continue
    if (isIn(one, value, work) && evaluate(part, value, work) !== true) return true
  }
  return false
}

/** Whether all of these faults lie in what a gap that a document lies in is about. @throws OutOfWork */
export function explains(gap: Gap, document: Json, fault: SchemaFault, work: Work): boolean {
  for (const { value, path, member } of reached(document, gap.place.way, work)) {
    if (!isAt(fault, path) && !isNamed(fault, member)) continue
    if (isIn(gap.one, value, work)) return true
  }
  return false
}

interface Reached {
  value: Json
  /** JSON Pointer, as faults have it. */
  path: string
  /** Of what it is a member or an item. */
  member: { of: string; step: string } | undefined
}

/** What of a document lies at a place: several, where any name will do. */
function* reached(
  value: Json,
  [next, ...way]: Place['way'],
  work: Work,
  at: Omit<Reached, 'value'> = { path: '', member: undefined },
): Generator<Reached> {
  if (next === undefined) {
    yield { value, ...at }
    return
  }
  const { from, step } = next
  if (!isIn(from, value, work)) return
  const within = (name: string): Omit<Reached, 'value'> => ({
    path: `${at.path}/${escaped(name)}`,
    member: { of: at.path, step: name },
  })
  if (step.in === 'array') {
    const item = Array.isArray(value) ? (value as readonly Json[])[step.at] : undefined
    if (item !== undefined) yield* reached(item, way, work, within(String(step.at)))
    return
  }
  if (!isMapping(value)) return
  for (const [name, member] of Object.entries(value)) {
    if (step.in === 'names') yield* reached(name, way, work, at)
    else if (typeof step.name === 'string' ? step.name === name : isOfClass(step.name, name, work))
      yield* reached(member, way, work, within(name))
  }
}

function isOfClass(patterns: ReadonlySet<string>, name: string, work: Work): boolean {
  return [...patterns].every((source) => work.matches(source, name) === true)
}

/** Rules that go by the name of the keyword that refuses. */
const ofKeyword = new Set(
  'type enum const minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern format minItems maxItems uniqueItems contains minProperties maxProperties anyOf oneOf not'.split(
    ' ',
  ),
)
const ofRequired = new Set(['required', 'dependentRequired', 'dependencies'])

function isAbout(
  fault: SchemaFault,
  { rule, part, path, member }: Pick<Gap, 'rule' | 'part'> & Omit<Reached, 'value'>,
): boolean {
  if (rule === 'required') {
    const missing: unknown = fault.params['missingProperty']
    const names = textsOf(valueOf(part, 'required'))
    return fault.instancePath === path && ofRequired.has(fault.keyword) && names.includes(String(missing))
  }
  if (ofKeyword.has(rule)) return fault.instancePath === path && fault.keyword === rule
  return isAt(fault, path) || isNamed(fault, member)
}

function isAt({ instancePath }: SchemaFault, path: string): boolean {
  return instancePath === path || instancePath.startsWith(`${path}/`)
}

const ofItems = new Set(['items', 'prefixItems', 'additionalItems', 'unevaluatedItems'])

/** What may not be there at all is told of what it is in. */
function isNamed({ instancePath, keyword, params }: SchemaFault, member: Reached['member']): boolean {
  if (member === undefined || instancePath !== member.of) return false
  if (ofItems.has(keyword)) return true
  return ['additionalProperty', 'unevaluatedProperty', 'propertyName'].some(
    (name) => params[name] === member.step,
  )
}
