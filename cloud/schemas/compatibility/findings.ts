import type { SchemaFault } from '../../../src/schemas/compiler.ts'
import type { Json } from '../language/json.ts'
import { escaped, valueOf } from '../language/node.ts'
import type { Place } from './goal.ts'
import type { Gap } from './prove.ts'

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
   * It concerns a member that the writer lets be whatever it likes, in every way it may be written, and the reader describes: Confluent's refusal of an
   * optional property on an open model. A break of documents that carry that name with something else, which may be none.
   */
  isUndeclared: boolean
  witness?: Json
  /** What the reader's validator says of the witness. */
  fault?: string
}

/** A document that shows a finding, and what the reader refuses it for. */
export interface Shown {
  witness: Json
  faults: readonly SchemaFault[]
}

export function findingOf({ rule, one, part, place }: Gap, shown: Shown | undefined): Finding {
  const keyword = saidUnder(part, rule)
  const refusing = rule === 'false' ? keywordOf(part.pointer) : rule
  return {
    answer: shown === undefined ? 'unknown' : 'incompatible',
    rule: refusing,
    path: pathOf(place),
    schemaPath: keyword === undefined ? part.pointer : `${part.pointer}/${escaped(keyword)}`,
    writerSays:
      keyword === undefined
        ? undefined
        : one.nodes.map((node) => valueOf(node, keyword)).find((said) => said !== undefined),
    readerSays: keyword === undefined ? part.schema : valueOf(part, keyword),
    isUndeclared: place.isUndeclared,
    ...(shown !== undefined && { witness: shown.witness, fault: faultText(shown.faults) }),
  }
}

/** The ways into one place are many where there are alternatives: gaps of one key say the same of it. */
export function keyOfGap(gap: Gap): string {
  const { rule, path, schemaPath, readerSays } = findingOf(gap, undefined)
  return JSON.stringify([rule, path, schemaPath, readerSays])
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

function saidUnder(part: Gap['part'], rule: string): string | undefined {
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

function faultText([fault]: readonly SchemaFault[]): string {
  return fault ? `${fault.instancePath || '/'} ${fault.message ?? fault.keyword}` : ''
}

export function tooMuch(stepsMax: number): Finding {
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

/** Of a document that no rule has told of. */
export function unexplained({ witness, faults }: Shown): Finding {
  const [fault] = faults
  return {
    answer: 'incompatible',
    rule: fault?.keyword || 'generated',
    path: fault?.instancePath ?? '',
    schemaPath: 'generated',
    writerSays: undefined,
    readerSays: undefined,
    isUndeclared: false,
    witness,
    fault: faultText(faults),
  }
}

/** What lies at the top is told first. */
export function inOrder(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((one, other) => depthOf(one) - depthOf(other))
}

function depthOf({ path }: Finding): number {
  return path.split('/').length
}
