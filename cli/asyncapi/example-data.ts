import { isObject, resolvePointer } from './json.ts'

const depthMax = 16
/** Deeper, what may be left out is, and of several kinds of values the simplest is taken: for what recurses. The second, if the first is too much. */
const fullDepths = [4, 1] as const
/** Parts of schemas that one example is made of; what needs more has none. A small schema can ask for eight of itself in each of itself. */
const nodesMax = 2000
const textLengthMax = 4096

/**
 * Data that a person can take for an example of a schema: its own `examples` where it has them, else one that is made of what it says,
 * the same every time; none if that were too large. What is made need not conform (`not`, `pattern` and their like are not looked at):
 * whoever shows it asks the gateway's own admission first.
 */
export function exampleData(schema: unknown): unknown[] {
  const own = isObject(schema) ? schema['examples'] : undefined
  if (Array.isArray(own) && own.length > 0) return own
  for (const fullDepth of fullDepths) {
    const maker = new Maker(schema, fullDepth)
    const made = maker.make(schema, 0)
    if (!maker.isSpent) return [made]
  }
  return []
}

class Maker {
  readonly #root: unknown
  readonly #fullDepth: number
  #nodes = 0

  constructor(root: unknown, fullDepth: number) {
    this.#root = root
    this.#fullDepth = fullDepth
  }

  get isSpent(): boolean {
    return this.#nodes > nodesMax
  }

  make(schema: unknown, depth: number): unknown {
    this.#nodes += 1
    if (!isObject(schema) || depth > depthMax || this.isSpent) return {}
    const given = givenBy(schema)
    if (given !== undefined) return given.value
    const { $ref: reference, ...beside } = schema
    if (typeof reference === 'string') {
      const target = reference.startsWith('#') ? resolvePointer(this.#root, reference) : undefined
      return this.make({ ...(isObject(target) ? target : {}), ...beside }, depth + 1)
    }
    const choices = [schema['oneOf'], schema['anyOf']].find((one) => Array.isArray(one)) as
      unknown[] | undefined
    const choice = depth < this.#fullDepth ? choices?.[0] : (choices?.find(isSimple) ?? choices?.[0])
    const all = Array.isArray(schema['allOf']) ? (schema['allOf'] as unknown[]) : []
    const parts = [...all, choice].filter(isObject)
    if (parts.length > 0) {
      const { allOf: _, oneOf: __, anyOf: ___, ...own } = schema
      return this.make([...parts, own].reduce(joined), depth + 1)
    }
    return this.#ofType(schema, depth)
  }

  #ofType(schema: Record<string, unknown>, depth: number): unknown {
    const types: unknown[] = [schema['type'] ?? ('properties' in schema ? 'object' : 'number')].flat()
    const type = depth < this.#fullDepth ? types[0] : (types.find((one) => one === 'null') ?? types[0])
    switch (type) {
      case 'object':
        return this.#objectOf(schema, depth)
      case 'array':
        return this.#arrayOf(schema, depth)
      case 'string':
        return textOf(schema)
      case 'integer':
        return Math.ceil(numberOf(schema, 21))
      case 'boolean':
        return true
      case 'null':
        return null
      default:
        return numberOf(schema, 21.5)
    }
  }

  #objectOf(schema: Record<string, unknown>, depth: number): unknown {
    const properties = isObject(schema['properties']) ? schema['properties'] : {}
    const required = new Set(Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : [])
    return Object.fromEntries(
      Object.entries(properties)
        .filter(([name]) => depth < this.#fullDepth || required.has(name))
        .map(([name, one]) => [name, this.make(dated(name, one), depth + 1)]),
    )
  }

  #arrayOf(schema: Record<string, unknown>, depth: number): unknown[] {
    const least = Number(schema['minItems'] ?? 0)
    if (depth >= this.#fullDepth && least === 0) return []
    return [schema['prefixItems'] ?? schema['items']].flat().map((item) => this.make(item, depth + 1))
  }
}

/** Whether what it takes has no parts. */
function isSimple(schema: unknown): boolean {
  if (!isObject(schema)) return false
  const types = [schema['type']].flat()
  return (
    Object.hasOwn(schema, 'const') ||
    Object.hasOwn(schema, 'enum') ||
    (types[0] !== undefined && !types.includes('object') && !types.includes('array'))
  )
}

/** What a schema itself says its value is, or may be. */
function givenBy(schema: Record<string, unknown>): { value: unknown } | undefined {
  if (Object.hasOwn(schema, 'const')) return { value: schema['const'] }
  for (const keyword of ['examples', 'enum']) {
    const values = schema[keyword]
    if (Array.isArray(values) && values.length > 0) return { value: values[0] as unknown }
  }
  return Object.hasOwn(schema, 'default') ? { value: schema['default'] } : undefined
}

function joined(one: Record<string, unknown>, other: Record<string, unknown>): Record<string, unknown> {
  const properties = { ...(one['properties'] as object), ...(other['properties'] as object) }
  return { ...one, ...other, ...(Object.keys(properties).length > 0 && { properties }) }
}

/** A text that is called a time is one. */
function dated(name: string, schema: unknown): unknown {
  const isTime = /time$/i.test(name) && isObject(schema) && schema['type'] === 'string'
  return isTime ? { format: 'date-time', ...schema } : schema
}

/** What is wished for, if the bounds allow it; else what is in their middle. */
function numberOf(schema: Record<string, unknown>, wished: number): number {
  const bound = (...keywords: string[]): number | undefined =>
    keywords.map((keyword) => schema[keyword]).find((value) => typeof value === 'number')
  const min = bound('minimum', 'exclusiveMinimum') ?? -Infinity
  const max = bound('maximum', 'exclusiveMaximum') ?? Infinity
  const step = bound('multipleOf')
  if (step !== undefined) return step * Math.max(1, Math.ceil((Number.isFinite(min) ? min : 0) / step))
  if (wished > min && wished < max) return wished
  if (Number.isFinite(min) && Number.isFinite(max)) return (min + max) / 2
  return Number.isFinite(min) ? min + 1 : max - 1
}

const texts: Readonly<Record<string, string>> = {
  'date-time': '2026-01-31T12:00:00Z',
  date: '2026-01-31',
  time: '12:00:00Z',
  duration: 'PT1M',
  email: 'name@example.com',
  hostname: 'host.example',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uri: 'https://example.com/',
  'uri-reference': '/',
  uuid: '0b9de2f4-2f6c-4c58-9a0e-6f3d1f6d2a11',
}

function textOf({ format, minLength = 0, maxLength = Infinity }: Record<string, unknown>): string {
  const text = texts[String(format)] ?? 'text'
  return text.padEnd(Math.min(Number(minLength), textLengthMax), '-').slice(0, Number(maxLength))
}
