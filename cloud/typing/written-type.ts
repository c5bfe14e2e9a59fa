/** A JSON Schema as it was read. */
type Schema = Readonly<Record<string, unknown>>

/** What is written of a schema: a type, and the named types that it refers to. */
export interface WrittenType {
  text: string
  /** Name and text. */
  named: ReadonlyMap<string, string>
}

/** What else a schema may be in the place of what it says, if it has no `type`. */
const scalars: Readonly<Record<string, string>> = {
  string: 'string',
  number: 'number',
  integer: 'number',
  boolean: 'boolean',
  null: 'null',
}

/**
 * The TypeScript type of what a JSON Schema allows: of all that it allows, and of more where TypeScript cannot say it (`not`, `if`, limits of
 * numbers and lengths, `patternProperties`) or where it is somewhere else (a `$ref` out of the schema). Members that the schema does not
 * name may be there and are not in the type. `prefix`: of the names of types that are referred to.
 */
export function writtenType(schema: unknown, prefix: string): WrittenType {
  const writer = new Writer(schema, prefix)
  const text = writer.write(schema, '')
  return { text, named: writer.named }
}

class Writer {
  readonly named = new Map<string, string>()
  readonly #root: unknown
  readonly #prefix: string
  readonly #nameOf = new Map<string, string>()

  constructor(root: unknown, prefix: string) {
    this.#root = root
    this.#prefix = prefix
  }

  /** `indent`: of the line it begins in. */
  write(schema: unknown, indent: string): string {
    if (schema === false) return 'never'
    if (!isSchema(schema)) return 'unknown'
    const parts = [this.#own(schema, indent), this.#referred(schema)]
    for (const [key, joint] of [
      ['allOf', ' & '],
      ['anyOf', ' | '],
      ['oneOf', ' | '],
    ] as const)
      parts.push(this.#each(schema[key], joint, indent))
    return joined(parts, ' & ')
  }

  #own(schema: Schema, indent: string): string {
    if ('const' in schema) return literal(schema['const'])
    if (Array.isArray(schema['enum'])) return joined((schema['enum'] as unknown[]).map(literal), ' | ')
    const { type } = schema
    const types: readonly unknown[] = Array.isArray(type) ? type : [type]
    return joined(
      types.map((one) => this.#ofType(one, schema, indent)),
      ' | ',
    )
  }

  #ofType(type: unknown, schema: Schema, indent: string): string {
    if (type === 'object') return this.#object(schema, indent)
    if (type === 'array') return this.#array(schema, indent)
    return (typeof type === 'string' && Object.hasOwn(scalars, type) && scalars[type]) || 'unknown'
  }

  #each(schemas: unknown, joint: ' & ' | ' | ', indent: string): string {
    if (!Array.isArray(schemas) || schemas.length === 0) return 'unknown'
    return joined(
      schemas.map((schema) => this.write(schema, indent)),
      joint,
    )
  }

  #object(schema: Schema, indent: string): string {
    const properties = isSchema(schema['properties']) ? schema['properties'] : {}
    const required = Array.isArray(schema['required']) ? (schema['required'] as unknown[]).map(String) : []
    const names = [...new Set([...Object.keys(properties), ...required])]
    if (names.length === 0) return `{ readonly [member: string]: ${this.#others(schema, indent)} }`
    const inner = `${indent}  `
    const members = names.map((name) => {
      const its = Object.hasOwn(properties, name) ? properties[name] : true
      const mark = required.includes(name) ? '' : '?'
      return `${commentOf(its, inner)}${inner}readonly ${keyOf(name)}${mark}: ${this.write(its, inner)}\n`
    })
    return `{\n${members.join('')}${indent}}`
  }

  /** Members that have no name in the schema: of one type only if no pattern says another. */
  #others(schema: Schema, indent: string): string {
    return 'patternProperties' in schema ? 'unknown' : this.write(schema['additionalProperties'], indent)
  }

  #array(schema: Schema, indent: string): string {
    const { items, prefixItems, additionalItems } = schema
    const first = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : []
    const rest = Array.isArray(items) ? additionalItems : items
    const restText = rest === false ? '' : `...${bracketed(this.write(rest, indent))}[]`
    if (first.length === 0) return rest === false ? 'readonly []' : `readonly ${restText.slice(3)}`
    const min = typeof schema['minItems'] === 'number' ? schema['minItems'] : 0
    const places = first.map((item, index) =>
      index < min ? this.write(item, indent) : `${bracketed(this.write(item, indent))}?`,
    )
    return `readonly [${[...places, ...(restText === '' ? [] : [restText])].join(', ')}]`
  }

  /** A type of its own, since it may refer to itself. */
  #referred(schema: Schema): string {
    const { $ref } = schema
    if (typeof $ref !== 'string') return 'unknown'
    const target = this.#resolved($ref)
    if (target === undefined) return 'unknown'
    const known = this.#nameOf.get(target.pointer)
    if (known !== undefined) return known
    const name = `${this.#prefix}${pascal(target.pointer.split('/').at(-1) ?? '')}${this.#nameOf.size || ''}`
    this.#nameOf.set(target.pointer, name)
    this.named.set(name, this.write(target.schema, ''))
    return name
  }

  /** Where a reference leads that leads within the schema, to what is no reference itself. Undefined: elsewhere, or nowhere. */
  #resolved(reference: string): { pointer: string; schema: Schema } | undefined {
    let pointer = reference
    for (const seen = new Set<string>(); !seen.has(pointer);) {
      seen.add(pointer)
      if (pointer !== '#' && !pointer.startsWith('#/')) return undefined
      const schema = pointer.slice(2).split('/').filter(Boolean).map(unescaped).reduce(memberOf, this.#root)
      if (!isSchema(schema)) return undefined
      if (typeof schema['$ref'] !== 'string' || Object.keys(schema).length > 1) return { pointer, schema }
      pointer = schema['$ref']
    }
    return undefined
  }
}

/** `unknown` adds nothing to an intersection, and takes all of a union. */
function joined(parts: readonly string[], joint: ' & ' | ' | '): string {
  const distinct = [...new Set(parts)]
  if (joint === ' | ' && distinct.includes('unknown')) return 'unknown'
  const said = distinct.filter((part) => part !== (joint === ' & ' ? 'unknown' : 'never'))
  if (said.length === 0) return joint === ' & ' ? 'unknown' : 'never'
  return said.length === 1 ? (said[0] as string) : said.map(bracketed).join(joint)
}

/** A type that stands beside another, or before `[]`. */
function bracketed(text: string): string {
  return /^(?:"(?:[^"\\]|\\.)*"|[\w.-]+|\{[^{}]*\})$/s.test(text) ? text : `(${text})`
}

function literal(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `readonly [${value.map(literal).join(', ')}]`
  const members = Object.entries(value).map(([name, one]) => `readonly ${keyOf(name)}: ${literal(one)}`)
  return members.length === 0 ? '{ readonly [member: string]: unknown }' : `{ ${members.join('; ')} }`
}

export function keyOf(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)
}

/** What the schema says of itself, in front of what is written of it. */
export function commentOf(schema: unknown, indent: string): string {
  if (!isSchema(schema)) return ''
  const said = [schema['title'], schema['description']].filter((text) => typeof text === 'string')
  const text = said.join('. ').replaceAll(/\s+/g, ' ').replaceAll('*/', '* /').trim()
  return text === '' ? '' : `${indent}/** ${text} */\n`
}

export function pascal(text: string): string {
  return text
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join('')
}

function unescaped(step: string): string {
  return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
}

function memberOf(at: unknown, step: string): unknown {
  return typeof at === 'object' && at !== null && Object.hasOwn(at, step) ? (at as Schema)[step] : undefined
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
