import { dataKeywords, isObject, mapsOfSchemas, resolvePointer } from './json.ts'

/** A schema with a base URI of its own (JSON Schema 2020-12, 4.3.5), and where in the document it lies. */
export interface Resource {
  /** Without a fragment; empty: it has none. */
  uri: string
  schema: unknown
  pointer: string
  /** Pointers of what has a name in it, by the name; of two the outer one. */
  anchors: ReadonlyMap<string, string>
}

/** Where a schema lies in the document, and the resources of the other versions of its type. */
export interface Placement {
  pointer: string
  others: readonly Resource[]
}

/** Names of places: within the document every reference says its place, and two of one name would be a fault. */
const naming = new Set('$schema $id $anchor $dynamicAnchor $recursiveAnchor $vocabulary'.split(' '))
const references = new Set('$ref $dynamicRef $recursiveRef'.split(' '))

/**
 * A JSON Schema as it can stand within a larger document: every reference to a place of its own or of another version
 * (`#/$defs/level`, an anchor, an `$id`) is a `$ref` to that place in the document, and what names places goes, as does `$schema`, which
 * is said beside it. A dynamic reference leads to where it leads in the schema by itself. What leads nowhere is left out, and a
 * `$comment` says so. All else is as it was.
 */
export function moveReferences(schema: unknown, { pointer, others }: Placement): unknown {
  const own = resourcesIn(schema, pointer)
  return new Mover([...own, ...others]).move(schema, own[0] as Resource)
}

/** A schema and those within it that have an `$id`, the outermost first. */
export function resourcesIn(schema: unknown, pointer: string): Resource[] {
  const found: Resource[] = []
  collect(schema, pointer, startOf(schema, pointer, '', found), found)
  return found
}

type Collected = Resource & { anchors: Map<string, string> }

function startOf(schema: unknown, pointer: string, base: string, found: Resource[]): Collected {
  const resource = {
    uri: uriOf(idOf(schema) ?? '', base),
    schema,
    pointer,
    anchors: new Map<string, string>(),
  }
  found.push(resource)
  return resource
}

function collect(schema: unknown, pointer: string, within: Collected, found: Resource[]): void {
  for (const name of namesOf(schema)) if (!within.anchors.has(name)) within.anchors.set(name, pointer)
  for (const [steps, one] of subschemasOf(schema)) {
    const at = pointer + steps.map((step) => `/${pointed(step)}`).join('')
    const isOwn = idOf(one) !== undefined
    collect(one, at, isOwn ? startOf(one, at, within.uri, found) : within, found)
  }
}

/** The base URI that a schema gives itself; `#low` is a name in draft-07, and no URI. */
function idOf(schema: unknown): string | undefined {
  const id = isObject(schema) ? schema['$id'] : undefined
  return typeof id === 'string' && !id.startsWith('#') ? id : undefined
}

function namesOf(schema: unknown): string[] {
  if (!isObject(schema)) return []
  const { $anchor, $dynamicAnchor, $id } = schema
  const old = typeof $id === 'string' && $id.startsWith('#') ? $id.slice(1) : undefined
  return [$anchor, $dynamicAnchor, old].filter((name) => typeof name === 'string' && name !== '') as string[]
}

function uriOf(reference: string, base: string): string {
  const [plain = ''] = reference.split('#')
  if (plain === '') return base
  return base !== '' && URL.canParse(plain, base) ? new URL(plain, base).href : plain
}

/** What may be a schema within one, with the steps to it. */
function subschemasOf(schema: unknown): [steps: string[], schema: unknown][] {
  if (Array.isArray(schema)) return schema.map((one, index) => [[String(index)], one])
  if (!isObject(schema)) return []
  return Object.entries(schema).flatMap(([keyword, value]): [string[], unknown][] => {
    if (dataKeywords.has(keyword)) return []
    if (!mapsOfSchemas.has(keyword) || !isObject(value)) return [[[keyword], value]]
    return Object.entries(value).map(([name, one]) => [[keyword, name], one])
  })
}

/** A step of a pointer in the fragment of a URI (RFC 6901, 6). */
function pointed(step: string): string {
  return encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1')).replaceAll('%24', '$')
}

class Mover {
  readonly #resources: readonly Resource[]

  constructor(resources: readonly Resource[]) {
    this.#resources = resources
  }

  move(schema: unknown, within: Resource): unknown {
    if (Array.isArray(schema)) return schema.map((one) => this.move(one, within))
    if (!isObject(schema)) return schema
    const own = this.#resources.find((resource) => resource.schema === schema) ?? within
    const moved = Object.entries(schema).flatMap(([keyword, value]) => this.#moveOne(keyword, value, own))
    return { ...Object.fromEntries(moved), ...besides(moved) }
  }

  #moveOne(keyword: string, value: unknown, within: Resource): [string, unknown][] {
    if (dataKeywords.has(keyword)) return [[keyword, value]]
    if (naming.has(keyword)) return []
    if (references.has(keyword) && typeof value === 'string') return [this.#placeOf(value, within)]
    if (!mapsOfSchemas.has(keyword) || !isObject(value)) return [[keyword, this.move(value, within)]]
    const moved = Object.entries(value).map(([name, one]) => [name, this.move(one, within)])
    return [[keyword, Object.fromEntries(moved)]]
  }

  #placeOf(reference: string, within: Resource): [string, string] {
    const uri = uriOf(reference, within.uri)
    const [, fragment = ''] = reference.split('#')
    const target =
      uri === within.uri ? within : this.#resources.find((one) => one.uri !== '' && one.uri === uri)
    // The meta schemas of JSON Schema are known to whoever reads it.
    if (!target && /^https?:\/\/json-schema\.org\//.test(uri)) return ['$ref', reference]
    const place = target && placeIn(target, fragment)
    return place === undefined ? ['$comment', `a reference to ${reference}`] : ['$ref', place]
  }
}

/** Of several references beside each other, which are of one name now, each holds. */
function besides(moved: readonly [string, unknown][]): { allOf?: unknown[] } {
  const [, ...more] = moved.filter(([keyword]) => keyword === '$ref').toReversed()
  if (more.length === 0) return {}
  const all = moved.find(([keyword]) => keyword === 'allOf')?.[1]
  return { allOf: [...(Array.isArray(all) ? (all as unknown[]) : []), ...more.map(([, $ref]) => ({ $ref }))] }
}

function placeIn({ schema, pointer, anchors }: Resource, fragment: string): string | undefined {
  if (fragment !== '' && !fragment.startsWith('/')) return anchors.get(decodeURIComponent(fragment))
  return resolvePointer(schema, `#${fragment}`) === undefined ? undefined : pointer + fragment
}
