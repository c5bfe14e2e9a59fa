import { isObject } from './json.ts'

/** Where a schema lies in the document, as a pointer, and the others of its type by their `$id`. */
export interface Placement {
  pointer: string
  others: ReadonlyMap<string, string>
}

const mapsOfSchemas = new Set('properties patternProperties $defs definitions dependentSchemas'.split(' '))
const data = new Set('const enum default examples'.split(' '))

/**
 * A JSON Schema as it can stand within a larger document: a `$ref` to a place of its own (`#/$defs/level`, an anchor, its `$id`) leads to
 * that place in the document, and one to another version's `$id` to that version. `$schema` and `$id` go: the one is said beside
 * it, the other would make references to the document lead elsewhere. All else is as it was.
 */
export function moveReferences(schema: unknown, placement: Placement): unknown {
  if (!isObject(schema)) return schema
  const { $schema: _dialect, $id: id, ...rest } = schema
  return new Mover(schema, typeof id === 'string' ? id : undefined, placement).move(rest)
}

class Mover {
  readonly #root: unknown
  readonly #id: string | undefined
  readonly #placement: Placement

  constructor(root: unknown, id: string | undefined, placement: Placement) {
    this.#root = root
    this.#id = id
    this.#placement = placement
  }

  move(schema: unknown): unknown {
    if (Array.isArray(schema)) return schema.map((one) => this.move(one))
    if (!isObject(schema)) return schema
    const moved = Object.entries(schema).map(([keyword, value]) => [keyword, this.#moveOne(keyword, value)])
    return Object.fromEntries(moved)
  }

  #moveOne(keyword: string, value: unknown): unknown {
    if (data.has(keyword)) return value
    if (keyword === '$ref' && typeof value === 'string') return this.#placeOf(value)
    if (!mapsOfSchemas.has(keyword) || !isObject(value)) return this.move(value)
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, this.move(one)]))
  }

  #placeOf(reference: string): string {
    const { base, fragment } = this.#taken(reference)
    const pointer =
      base === '' || base === this.#id ? this.#placement.pointer : this.#placement.others.get(base)
    if (pointer === undefined) return reference
    if (fragment === '' || fragment.startsWith('/')) return pointer + fragment
    const anchored = pointer === this.#placement.pointer ? anchorIn(this.#root, fragment, '') : undefined
    return anchored === undefined ? reference : pointer + anchored
  }

  #taken(reference: string): { base: string; fragment: string } {
    const [base = '', fragment = ''] = reference.split('#')
    if (base === '' || this.#id === undefined || !URL.canParse(base, this.#id)) return { base, fragment }
    return { base: new URL(base, this.#id).href, fragment }
  }
}

/** The pointer of what has this anchor. */
function anchorIn(value: unknown, anchor: string, pointer: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if ('$anchor' in value && value.$anchor === anchor) return pointer
  for (const [name, one] of Object.entries(value)) {
    const step = encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1')).replaceAll('%24', '$')
    const found = data.has(name) ? undefined : anchorIn(one, anchor, `${pointer}/${step}`)
    if (found !== undefined) return found
  }
  return undefined
}
