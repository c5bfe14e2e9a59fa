import { countOf, type ShapeRow, shapeKinds, wayOf } from '../../projections/built-in/shape-row.ts'
import { allRules, gapsOf } from '../compatibility/prove.ts'
import type { Rule } from '../compatibility/goal.ts'
import { isInherited, type Json } from '../language/json.ts'
import { SchemaDocument } from '../language/node.ts'
import { OutOfWork, Work } from '../language/work.ts'

type Schema = Record<string, Json> | true

interface Place {
  row: ShapeRow
  members: Map<string, Place>
  items?: Place
}

/**
 * A JSON Schema (2020-12) that each document accepts that a shape was made of: what lies in history is compared with a version as another version is, by the
 * same rules.
 */
export function schemaOf(rows: readonly ShapeRow[]): Json {
  const [top, ...below] = rows.toSorted((one, other) => one.pointer.length - other.pointer.length)
  // Of nothing everything can be said.
  if (top === undefined || top.pointer !== '') return false
  const root: Place = { row: top, members: new Map() }
  for (const row of below) put(root, row)
  return schemaAt(root)
}

function put(root: Place, row: ShapeRow): void {
  const place: Place = { row, members: new Map() }
  const way = wayOf(row.pointer)
  const last = way.pop()
  let above: Place | undefined = root
  for (const part of way) above = part === undefined ? above?.items : above?.members.get(part)
  if (above === undefined) return
  if (last === undefined) above.items = place
  else above.members.set(last, place)
}

function schemaAt(place: Place): Schema {
  const { row } = place
  if (row.isStrange) return true
  const scalars = scalarsIn(row)
  const structures = row.arrays + row.objects === 0 ? undefined : { ...arraysOf(place), ...objectsOf(place) }
  const types = [...(row.arrays > 0 ? ['array'] : []), ...(row.objects > 0 ? ['object'] : [])]
  if (structures === undefined) return scalars ?? true
  if (scalars === undefined) return { type: types, ...structures }
  if ('enum' in scalars) return { anyOf: [scalars, { type: types, ...structures }] }
  return { ...scalars, ...structures, type: [...(scalars['type'] as string[]), ...types] }
}

const typeOf = {
  nulls: 'null',
  booleans: 'boolean',
  integers: 'integer',
  fractions: 'number',
  strings: 'string',
} as const

/** What is neither array nor object; undefined: there was none. */
function scalarsIn(row: ShapeRow): Record<string, Json> | undefined {
  const kinds = shapeKinds.filter(
    (kind): kind is keyof typeof typeOf => kind !== 'arrays' && kind !== 'objects' && row[kind] > 0,
  )
  if (kinds.length === 0) return undefined
  if (row.values !== null) return { enum: row.values, ...formatsOf(row) }
  return {
    type: kinds.map((kind) => typeOf[kind]),
    ...bound('minimum', row.least),
    ...bound('maximum', row.greatest),
    ...bound('minLength', row.leastLength),
    ...bound('maxLength', row.greatestLength),
    ...formatsOf(row),
  }
}

function formatsOf({ formats }: ShapeRow): Record<string, Json> {
  const [format, ...others] = formats
  if (format === undefined) return {}
  return { format, ...(others.length > 0 && { allOf: others.map((other) => ({ format: other })) }) }
}

function bound(keyword: string, value: number | null): Record<string, Json> {
  return value === null ? {} : { [keyword]: value }
}

function arraysOf({ row, items }: Place): Record<string, Json> {
  if (row.arrays === 0) return {}
  return {
    ...bound('minItems', row.leastItems),
    ...bound('maxItems', row.greatestItems),
    // Of a place that is open the items may be what was not listed.
    ...(items && { items: schemaAt(items) }),
  }
}

function objectsOf({ row, members }: Place): Record<string, Json> {
  if (row.objects === 0) return {}
  // What every object has by its name ajv finds in data that has it not: nothing is said of such a member.
  const listed = [...members].filter(([name]) => !isInherited(name))
  const isOpen = row.isOpen || listed.length < members.size
  return {
    properties: Object.fromEntries(listed.map(([name, member]) => [name, schemaAt(member)])),
    required: listed.filter(([, member]) => countOf(member.row) === row.objects).map(([name]) => name),
    ...(!isOpen && { additionalProperties: false }),
  }
}

const stepsMax = 200_000

/**
 * Whether a version takes every document of a shape for sure: shown by rule. False: one of them may be refused, and somebody has to look.
 * @param others other versions of the type, to which its references may lead
 */
export function takesAll(
  shape: Json,
  schema: Json,
  others: readonly Json[],
  rules: Readonly<Record<string, Rule>> = allRules,
): boolean {
  try {
    const writer = new SchemaDocument('shape', shape).root
    const reader = new SchemaDocument('version', schema, others).root
    return gapsOf(writer, reader, new Work(stepsMax), rules).length === 0
  } catch (error) {
    if (error instanceof OutOfWork) return false
    throw error
  }
}
