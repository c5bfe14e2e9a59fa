import type { Validate } from '../../../src/schemas/compiler.ts'
import { Maker } from '../documents/maker.ts'
import { Random } from '../documents/random.ts'
import type { Json } from '../language/json.ts'
import { escaped, type Node, SchemaDocument, valueOf } from '../language/node.ts'
import { OutOfWork, Work } from '../language/work.ts'
import { allRules, type Gap, gapsOf } from './prove.ts'
import type { Place, Rule } from './goal.ts'
import { smaller, witnessOf } from './witness.ts'

/** A version of a type, as it lies on the disk and as it is checked. */
export interface Version {
  version: number
  schema: Json
  validate: Validate
}

/**
 * `compatible`: by rule, and no generated document says otherwise. `incompatible`: there is a document, confirmed by the validators of
 * `src/schemas`, that the writer accepts and the reader refuses. `unknown`: neither was shown within the work that a comparison may take.
 */
export type Answer = 'compatible' | 'incompatible' | 'unknown'

export interface Finding {
  answer: 'incompatible' | 'unknown'
  /** The keyword that refuses, as a rule; `work`: the comparison took too much; `generated`: no rule told of it. */
  rule: string
  /** Where in the data, as JSON Pointer; `*`: any item, or any other name. */
  path: string
  /** Where in the reader's schema, as JSON Pointer. */
  schemaPath: string
  /** What the two say under the keyword; undefined: nothing. */
  writerSays: Json | undefined
  readerSays: Json | undefined
  /**
   * It concerns a member that the writer lets be whatever it likes and the reader describes: Confluent's refusal of an optional property on an
   * open model. A break of documents that carry that name with something else, which may be none.
   */
  isUndeclared: boolean
  witness?: Json
  /** What the reader's validator says of the witness. */
  fault?: string
}

export interface Comparison {
  answer: Answer
  findings: Finding[]
  /** Generated documents that the writer accepts and that were shown to the reader. */
  tried: number
}

export interface CompareOptions {
  /** Other versions of the type, to which references may lead. */
  others?: readonly Json[]
  /** Documents that are generated when the rules find nothing. */
  documents?: number
  seed?: number
  /** Of a proof, and of each search. */
  stepsMax?: number
  rules?: Readonly<Record<string, Rule>>
}

const defaultDocuments = 1000
/** A second or so, for schemas that were made to take long. */
const defaultStepsMax = 200_000
const searchStepsMax = 15_000
/** Witnesses are looked for so many of the gaps: where there are more, they are much alike. */
const searchedMax = 20

/** Whether every document that `writer` accepts `reader` accepts as well. Ends for any two schemas; the same for the same seed. */
export function compare(writer: Version, reader: Version, options: CompareOptions = {}): Comparison {
  const {
    others = [],
    documents = defaultDocuments,
    seed = 1,
    stepsMax = defaultStepsMax,
    rules = allRules,
  } = options
  const from = new SchemaDocument('writer', writer.schema, others).root
  const to = new SchemaDocument('reader', reader.schema, others).root
  const random = new Random(seed)
  const confirms = (document: Json): boolean => accepts(writer, document) && refuses(reader, document)
  const { gaps, isWhole } = proven(from, to, new Work(stepsMax), rules)
  const findings = gaps.map((gap, at) => {
    const isSearched = at < searchedMax
    const witness = isSearched
      ? witnessOf(gap, { work: new Work(searchStepsMax), random, confirms })
      : undefined
    return findingOf(gap, witness, reader)
  })
  if (!isWhole) findings.push(tooMuch(stepsMax))
  const isFound = findings.some(({ answer }) => answer === 'incompatible')
  const count = isFound ? 0 : documents
  const { tried, witness } = generated(from, to, { count, random, writer, confirms, stepsMax })
  if (witness !== undefined) findings.push(unexplained(witness, reader))
  return { answer: answerOf(findings), findings: onlyOnce(findings), tried }
}

function answerOf(findings: readonly Finding[]): Answer {
  if (findings.some(({ answer }) => answer === 'incompatible')) return 'incompatible'
  return findings.length > 0 ? 'unknown' : 'compatible'
}

function accepts({ validate }: Version, document: Json): boolean {
  return validate(document).length === 0
}

/** What takes too much to be judged is not refused. */
function refuses({ validate }: Version, document: Json): boolean {
  return validate(document).some(({ keyword }) => keyword !== '')
}

function proven(
  from: Node,
  to: Node,
  work: Work,
  rules: Readonly<Record<string, Rule>>,
): { gaps: Gap[]; isWhole: boolean } {
  try {
    return { gaps: gapsOf(from, to, work, rules), isWhole: true }
  } catch (error) {
    if (!(error instanceof OutOfWork)) throw error
    return { gaps: [], isWhole: false }
  }
}

interface Generating {
  count: number
  random: Random
  writer: Version
  confirms: (document: Json) => boolean
  stepsMax: number
}

/** What no rule has told shows here, if it does. */
function generated(
  from: Node,
  to: Node,
  { count, random, writer, confirms, stepsMax }: Generating,
): { tried: number; witness: Json | undefined } {
  const maker = new Maker(new Work(stepsMax), random)
  let tried = 0
  try {
    for (let made = 0; made < count; made += 1) {
      const document = maker.make([from], [to])
      if (document === undefined || !accepts(writer, document)) continue
      tried += 1
      if (confirms(document)) return { tried, witness: smaller(document, confirms) }
    }
  } catch (error) {
    if (!(error instanceof OutOfWork)) throw error
  }
  return { tried, witness: undefined }
}

function findingOf({ rule, one, part, place }: Gap, witness: Json | undefined, reader: Version): Finding {
  const keyword = saidUnder(part, rule)
  const refusing = rule === 'false' ? keywordOf(part.pointer) : rule
  return {
    answer: witness === undefined ? 'unknown' : 'incompatible',
    rule: refusing,
    path: pathOf(place),
    schemaPath: keyword === undefined ? part.pointer : `${part.pointer}/${escaped(keyword)}`,
    writerSays:
      keyword === undefined
        ? undefined
        : one.nodes.map((node) => valueOf(node, keyword)).find((said) => said !== undefined),
    readerSays: keyword === undefined ? part.schema : valueOf(part, keyword),
    isUndeclared: place.isUndeclared,
    ...(witness !== undefined && { witness, fault: faultOf(reader, witness) }),
  }
}

/** The keyword under which a schema stands that refuses everything. */
function keywordOf(pointer: string): string {
  const steps = pointer.split('/')
  const [above = '', last = ''] = steps.slice(-2)
  return /^(?:properties|patternProperties|prefixItems|allOf|anyOf|oneOf|\$defs|definitions|dependentSchemas|dependencies)$/.test(
    above,
  )
    ? above
    : last || 'false'
}

function saidUnder(part: Node, rule: string): string | undefined {
  if (typeof part.schema !== 'object' || part.schema === null) return undefined
  const keywords = Object.keys(part.schema)
  return keywords.includes(rule) ? rule : keywords.length === 1 ? keywords[0] : undefined
}

function pathOf({ way }: Place): string {
  const steps = way.map(({ step }) => {
    if (step.in === 'array') return `/${step.at}`
    if (step.in === 'names') return '/*'
    return typeof step.name === 'string' ? `/${escaped(step.name)}` : '/*'
  })
  return steps.join('')
}

function faultOf({ validate }: Version, document: Json): string {
  const [fault] = validate(document)
  return fault ? `${fault.instancePath || '/'} ${fault.message ?? fault.keyword}` : ''
}

function tooMuch(stepsMax: number): Finding {
  return {
    answer: 'unknown',
    rule: 'work',
    path: '',
    schemaPath: '',
    writerSays: undefined,
    readerSays: `more than ${stepsMax} steps`,
    isUndeclared: false,
  }
}

function unexplained(witness: Json, reader: Version): Finding {
  const [fault] = reader.validate(witness)
  return {
    answer: 'incompatible',
    rule: fault?.keyword || 'generated',
    path: fault?.instancePath ?? '',
    schemaPath: 'generated',
    writerSays: undefined,
    readerSays: undefined,
    isUndeclared: false,
    witness,
    fault: faultOf(reader, witness),
  }
}

/** The ways into one place are many where there are alternatives: what has a witness is told before what has none. */
function onlyOnce(findings: readonly Finding[]): Finding[] {
  const found = new Map<string, Finding>()
  for (const finding of findings) {
    const key = JSON.stringify([finding.rule, finding.path, finding.schemaPath, finding.readerSays])
    const before = found.get(key)
    if (before === undefined || (before.answer === 'unknown' && finding.answer === 'incompatible'))
      found.set(key, finding)
  }
  return [...found.values()].toSorted((one, other) => depthOf(one) - depthOf(other))
}

function depthOf({ path }: Finding): number {
  return path.split('/').length
}
