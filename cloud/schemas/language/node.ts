import { isMapping, type Json } from './json.ts'

export type Dialect = '2020-12' | '2019-09' | 'draft-07'

/** A schema at its place in a document. */
export interface Node {
  readonly schema: Json
  readonly document: SchemaDocument
  /** JSON Pointer. */
  readonly pointer: string
}

/** One version of a type: what its references lead to. */
export class SchemaDocument {
  readonly name: string
  readonly dialect: Dialect
  readonly root: Node
  /** What keeps references from being followed: an `$id` below the top, which moves what they mean. */
  readonly #isMoved: boolean
  readonly #anchors = new Map<string, string>()
  readonly #others: readonly Json[]
  readonly #documents = new Map<Json, SchemaDocument>()

  constructor(name: string, schema: Json, others: readonly Json[] = []) {
    this.name = name
    this.dialect = dialectOf(schema)
    this.root = { schema, document: this, pointer: '' }
    this.#others = others
    this.#isMoved = this.#index(schema)
  }

  /** What a reference leads to; undefined if that cannot be told from here. */
  resolve(reference: string): Node | undefined {
    const [address = '', fragment = ''] = reference.split('#', 2)
    const document = address === '' || sameId(address, this.root.schema) ? this : this.#other(address)
    return document === undefined ? undefined : document.#at(fragment)
  }

  #other(id: string): SchemaDocument | undefined {
    const schema = this.#others.find((one) => sameId(id, one))
    if (schema === undefined || dialectOf(schema) !== this.dialect) return undefined
    let document = this.#documents.get(schema)
    if (document === undefined) {
      document = new SchemaDocument(`${this.name}:${id}`, schema, [this.root.schema, ...this.#others])
      this.#documents.set(schema, document)
    }
    return document
  }

  #at(fragment: string): Node | undefined {
    if (this.#isMoved) return undefined
    const pointer = fragment === '' || fragment.startsWith('/') ? fragment : this.#anchors.get(fragment)
    if (pointer === undefined) return undefined
    let node: Node | undefined = this.root
    for (const step of pointer.split('/').slice(1)) node = node && childOf(node, unescaped(step))
    return node
  }

  #index(root: Json): boolean {
    let isMoved = false
    const left: [Json, string][] = [[root, '']]
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [value, pointer] = next
      if (typeof value !== 'object' || value === null) continue
      for (const [step, child] of Object.entries(value as Readonly<Record<string, Json>>))
        left.push([child, `${pointer}/${escaped(step)}`])
      if (!isMapping(value)) continue
      if (pointer !== '' && typeof value['$id'] === 'string') isMoved = true
      const anchor = value['$anchor']
      if (typeof anchor !== 'string') continue
      if (this.#anchors.has(anchor)) isMoved = true
      this.#anchors.set(anchor, pointer)
    }
    return isMoved
  }
}

function dialectOf(schema: Json): Dialect {
  const said = isMapping(schema) ? schema['$schema'] : undefined
  const named = typeof said === 'string' ? said : ''
  if (named.includes('2019-09')) return '2019-09'
  return named.includes('draft-07') ? 'draft-07' : '2020-12'
}

function sameId(address: string, schema: Json): boolean {
  const id = isMapping(schema) ? schema['$id'] : undefined
  return typeof id === 'string' && id.replace(/#$/, '') === address
}

/** A schema that stands nowhere: what is known besides. */
export function standing(schema: Json): Node {
  return new SchemaDocument(JSON.stringify(schema), schema).root
}

export function keyOf({ document, pointer }: Node): string {
  return `${document.name}#${pointer}`
}

/** What stands under a keyword of a schema, if it is there. */
export function valueOf({ schema }: Node, keyword: string): Json | undefined {
  return isMapping(schema) && Object.hasOwn(schema, keyword) ? schema[keyword] : undefined
}

export function childOf({ schema, document, pointer }: Node, step: string): Node | undefined {
  if (typeof schema !== 'object' || schema === null || !Object.hasOwn(schema, step)) return undefined
  return {
    schema: (schema as Readonly<Record<string, Json>>)[step] as Json,
    document,
    pointer: `${pointer}/${escaped(step)}`,
  }
}

/** The schemas of a keyword that holds many, by name or by number. */
export function childrenOf(node: Node, keyword: string): [string, Node][] {
  const holder = childOf(node, keyword)
  if (holder === undefined || typeof holder.schema !== 'object' || holder.schema === null) return []
  return Object.keys(holder.schema).map((step) => [step, childOf(holder, step) as Node])
}

export function escaped(step: string): string {
  return step.replaceAll('~', '~0').replaceAll('/', '~1')
}

function unescaped(step: string): string {
  let text = step
  try {
    text = decodeURIComponent(step)
  } catch {
    // It stands for itself.
  }
  return text.replaceAll('~1', '/').replaceAll('~0', '~')
}
