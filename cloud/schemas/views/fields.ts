import { isText } from '../../../src/schemas/upcast/pointer.ts'
import { type Case, casesOf } from '../language/cases.ts'
import { type Facts, factsOf } from '../language/facts.ts'
import type { Json, Kind } from '../language/json.ts'
import { namesIn, schemasOfMember } from '../language/members.ts'
import { keyOf, type Node, SchemaDocument } from '../language/node.ts'
import { OutOfWork, Work } from '../language/work.ts'
import { textAt } from '../language/words.ts'
import { storableText } from './sql-text.ts'

/** What a column holds; each is a function of schema step 24, `tidegate.typed_…`, but for `json`. */
export type FieldKind = 'double' | 'bigint' | 'whole' | 'text' | 'boolean' | 'instant' | 'json'

/** A member of the data that has a column. */
export interface Field {
  /** Names of members, from the data inwards. */
  path: readonly string[]
  kind: FieldKind
  /** What the schema says of it, its unit included. */
  said: string | undefined
}

export interface Fields {
  fields: readonly Field[]
  /** There are more than have columns. */
  isCut: boolean
}

/** Of one view. PostgreSQL has room for 1600 columns, and nobody reads as many. */
const fieldsMax = 400
const depthMax = 8
const casesMax = 64
const stepsMax = 500_000
const saidMax = 1000
/** The greatest whole number that is in JavaScript what it is in JSON; all of them fit into a bigint. */
const wholeMax = Number.MAX_SAFE_INTEGER

/**
 * The members that a schema names, those of objects within it included, each with what every document that the schema accepts has there:
 * where that may be of several kinds, is an array or is not said, it is JSON. `formats`: whether texts are checked, so that a `date-time` is one.
 */
export function fieldsOf(name: string, schema: unknown, formats: 'checked' | 'annotation'): Fields {
  const visit = new Visit(formats)
  try {
    const { root } = new SchemaDocument(name, schema as Json)
    visit.members(casesOf([root], visit.work), [], new Set())
  } catch (error) {
    if (!(error instanceof OutOfWork)) throw error
    visit.isCut = true
  }
  return { fields: visit.fields, isCut: visit.isCut }
}

class Visit {
  readonly fields: Field[] = []
  readonly work = new Work(stepsMax)
  isCut = false
  readonly #isChecked: boolean

  constructor(formats: 'checked' | 'annotation') {
    this.#isChecked = formats === 'checked'
  }

  /** `within`: the objects that this one is in, by their schemas: one that is in itself again ends there. */
  members(cases: readonly Case[], path: readonly string[], within: ReadonlySet<string>): void {
    const around = new Set([...within, this.#placeOf(cases)])
    // What some of the alternatives say is left out of the cases.
    if (cases.some((one) => one.isCut)) this.isCut = true
    for (const name of this.#namesOf(cases)) {
      if (this.fields.length >= fieldsMax) {
        this.isCut = true
        return
      }
      const member = this.#memberOf(cases, name)
      if (member !== undefined) this.#field(member, [...path, name], around)
    }
  }

  #field(cases: readonly Case[], path: readonly string[], within: ReadonlySet<string>): void {
    const isCrowded = cases.length > casesMax
    const facts = isCrowded ? [] : cases.flatMap((one) => factsOf(one, this.work) ?? [])
    const kinds = new Set(facts.flatMap((one) => [...one.kinds]))
    kinds.delete('null')
    const isObject = kinds.size === 1 && kinds.has('object') && path.length < depthMax
    if (isObject && !within.has(this.#placeOf(cases)) && this.#namesOf(cases).length > 0)
      this.members(cases, path, within)
    else this.fields.push({ path, kind: this.#kindOf(kinds, facts), said: saidOf(cases) })
  }

  /** Every name that some case writes down, as the schema has them. Others are in the column `data`. */
  #namesOf(cases: readonly Case[]): string[] {
    const names = new Set<string>()
    for (const { nodes } of cases)
      for (const node of nodes) for (const name of namesIn(node, this.work).names) names.add(name)
    return [...names].filter((name) => name !== '' && isText(name))
  }

  /** An object by the schemas that name its members. */
  #placeOf(cases: readonly Case[]): string {
    const naming = cases.flatMap(({ nodes }) =>
      nodes.filter((node) => namesIn(node, this.work).names.size > 0).map(keyOf),
    )
    return [...new Set(naming)].toSorted().join(' ')
  }

  /** What a member may be, in whatever case; undefined: it cannot be there. */
  #memberOf(cases: readonly Case[], name: string): Case[] | undefined {
    const found = cases.flatMap(({ nodes }) => {
      const schemas = nodes.flatMap((node) => schemasOfMember(node, name, 'possibly', this.work))
      return casesOf(schemas, this.work)
    })
    return found.length === 0 ? undefined : found
  }

  #kindOf(kinds: ReadonlySet<Kind>, facts: readonly Facts[]): FieldKind {
    const [only, ...others] = kinds
    if (only === undefined) return 'json'
    if ([...kinds].every((kind) => kind === 'integer' || kind === 'fraction'))
      return kinds.has('fraction') ? 'double' : facts.every(isInRange) ? 'bigint' : 'whole'
    if (others.length > 0) return 'json'
    if (only === 'boolean') return 'boolean'
    if (only !== 'string') return 'json'
    return this.#isChecked && facts.every(isInstant) ? 'instant' : 'text'
  }
}

function isInRange({ kinds, least, most }: Facts): boolean {
  return !kinds.has('integer') || (least.value >= -wholeMax && most.value <= wholeMax)
}

function isInstant({ kinds, formats }: Facts): boolean {
  return !kinds.has('string') || formats.includes('date-time')
}

function saidOf(cases: readonly Case[]): string | undefined {
  const nodes = cases.flatMap((one) => one.nodes)
  const description = firstText(nodes, 'description') ?? firstText(nodes, 'title')
  const unit = firstText(nodes, 'unit') ?? firstText(nodes, 'x-unit')
  const said = [description, unit === undefined ? undefined : `Unit: ${unit}`].filter(
    (text) => text !== undefined,
  )
  return said.length === 0 ? undefined : storableText(said.join('. ').slice(0, saidMax))
}

function firstText(nodes: readonly Node[], keyword: string): string | undefined {
  for (const node of nodes) {
    const text = textAt(node, keyword)
    if (text !== undefined) return text
  }
  return undefined
}
